"""Speculative decoding: a small model drafts, the large one checks several tokens at once.

Leviathan et al. 2022, arXiv 2211.17192, algorithm 1. What is said has exactly the distribution of
the large model alone; with temperature 0 it is, token by token, what it would say alone.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.generate.loop import Step
from sensorium.nn.generate.pick import Dice, Rule, shaped, wide
from sensorium.nn.generate.speaks import How, Request, Speaks, check, laid
from sensorium.nn.slots import Cache


class Counts(NamedTuple):
    """How often the large model was asked, how many tokens were drafted, and how many accepted."""

    calls: int
    drafted: int
    accepted: int


class Speculation:
    """Continues one text with the help of a draft.

    Args:
        draft: a model of the same vocabulary.
        ahead: how many tokens are drafted at a time.

    Raises:
        ValueError: other vocabularies, or nothing is to be drafted.
    """

    def __init__(self, net: Speaks, draft: Speaks, ahead: int = 4, rules: Sequence[Rule] = ()):
        if net.vocab != draft.vocab:
            raise ValueError(f"a draft of {draft.vocab} ids for a model of {net.vocab}")
        if ahead < 1:
            raise ValueError(f"ahead is {ahead}: at least one token must be drafted")
        self.net, self.draft, self.ahead, self.rules = net, draft, ahead, rules
        self.counts = Counts(0, 0, 0)

    def speak(self, request: Request, dice: Dice | None = None) -> Iterator[Step]:
        """The text, token by token.

        Raises:
            ValueError: see `speaks.check`, for either model.
        """
        for one in (self.net, self.draft):
            check(one, [request])
        how, dice = request.how, dice or Dice(request.how.seed)
        room, text = len(request.ids) + how.max_tokens, list(request.ids)
        large, small = self.net.blank(1, room), self.draft.blank(1, room)
        device = large.layers[0].k.device
        while True:
            left = how.max_tokens - (len(text) - len(request.ids))
            with torch.inference_mode():
                guesses, q = self._drafts(small, text, min(self.ahead, left - 1), how, dice)
                unread = [*text[large.lengths[0] :], *guesses]
                p = list(self.net.extend_all(laid([unread], device), large)[-len(guesses) - 1 :])
                new, kept = self._judged(text, guesses, q, p, how, dice)
            old = self.counts
            self.counts = Counts(old.calls + 1, old.drafted + len(guesses), old.accepted + kept)
            for place, token in enumerate(new):
                text.append(token)
                said = len(text) - len(request.ids)
                end = "length" if said >= how.max_tokens else None
                end = "end" if token in request.ends else end
                chance = float(wide(p[place]).log_softmax(0)[token])
                yield Step(0, token, chance, end)
                if end is not None:
                    return
            large.rewind([min(large.lengths[0], len(text) - 1)])
            small.rewind([min(small.lengths[0], len(text) - 1)])

    def _drafts(
        self, cache: Cache, text: list[int], count: int, how: How, dice: Dice
    ) -> tuple[list[int], list[Float[Tensor, " v"]]]:
        """Tokens that the small model says, and the distributions they were drawn from."""
        guesses: list[int] = []
        shares: list[Tensor] = []
        for _ in range(count):
            whole = [*text, *guesses]
            rest = whole[cache.lengths[0] :]
            scores = self.draft.extend(laid([rest], cache.layers[0].k.device), cache)[0]
            share = distribution(scores, whole, how, self.rules)
            shares.append(share)
            guesses.append(dice.draw(share))
        return guesses, shares

    def _judged(
        self,
        text: list[int],
        guesses: list[int],
        q: list[Float[Tensor, " v"]],
        p: list[Float[Tensor, " v"]],
        how: How,
        dice: Dice,
    ) -> tuple[list[int], int]:
        """The tokens that hold, and one more of the large model's; how many guesses held."""
        for place, token in enumerate(guesses):
            whole = [*text, *guesses[:place]]
            share = distribution(p[place], whole, how, self.rules)
            if dice.uniform() * float(q[place][token]) < float(share[token]):
                continue
            rest = (share - q[place]).clamp(min=0)
            rest = rest if float(rest.sum()) > 0 else share
            return [*guesses[:place], dice.draw(rest)], place
        share = distribution(p[len(guesses)], [*text, *guesses], how, self.rules)
        return [*guesses, dice.draw(share)], len(guesses)


def distribution(
    scores: Float[Tensor, " v"], text: Sequence[int], how: How, rules: Sequence[Rule]
) -> Float[Tensor, " v"]:
    """The distribution that the next token is drawn from; all on one where nothing is drawn."""
    made = shaped(scores, text, how, rules)
    if how.temperature == 0:
        return torch.zeros_like(made).index_fill(0, made.argmax(), 1.0)
    return made.softmax(0)
