"""Choosing among given continuations: their log-probabilities, the common beginning read once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from sensorium.nn.generate.pick import Rule, wide
from sensorium.nn.generate.speaks import Speaks, laid


class Likely(NamedTuple):
    """How likely a continuation is: log p of each of its tokens after those before it."""

    logprobs: tuple[float, ...]

    @property
    def total(self) -> float:
        """log p of the whole continuation."""
        return sum(self.logprobs)

    @property
    def mean(self) -> float:
        """The mean over its tokens."""
        return self.total / len(self.logprobs)


@torch.inference_mode()
def likely(net: Speaks, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> list[Likely]:
    """The log-probability of every option behind the prompt, which is read once for all of them.

    Raises:
        ValueError: no options, an empty one, an empty prompt, or one too long with the prompt.
    """
    if not prompt or not options or not all(options):
        raise ValueError("a choice needs a prompt and options, none of them empty")
    room = len(prompt) + max(map(len, options)) - 1
    cache = net.blank(1, room)
    device = cache.layers[0].k.device
    first = wide(net.extend(laid([prompt], device), cache))[0].log_softmax(0)
    out = [[float(first[one[0]])] for one in options]
    long = [i for i, one in enumerate(options) if len(one) > 1]
    if long:
        spread = cache.take([0] * len(long))
        parts = [options[i][:-1] for i in long]
        scores = wide(net.extend_all(laid(parts, device), spread)).log_softmax(1)
        for i, rows in zip(long, scores.split([len(p) for p in parts]), strict=True):
            after = torch.tensor(options[i][1:], device=device)
            out[i] += rows.gather(1, after[:, None])[:, 0].tolist()
    return [Likely(tuple(one)) for one in out]


@torch.inference_mode()
def losses(net: Speaks, texts: Sequence[Sequence[int]]) -> list[tuple[float, ...]]:
    """-log p of every token of each text given those before it, from the second on.

    Raises:
        ValueError: a text of fewer than two tokens, or one too long.
    """
    if not texts or min(map(len, texts)) < 2:
        raise ValueError("a text needs two tokens at least: the first is given, the next is told")
    cache = net.blank(len(texts), max(map(len, texts)))
    parts = [text[:-1] for text in texts]
    device = cache.layers[0].k.device
    scores = wide(net.extend_all(laid(parts, device), cache)).log_softmax(1)
    after = torch.tensor([i for text in texts for i in text[1:]], device=device)
    said = -scores.gather(1, after[:, None])[:, 0]
    return [tuple(rows.tolist()) for rows in said.split([len(p) for p in parts])]


class Among:
    """A rule under which a text can only become the prompt and one of some token sequences.

    Where a sequence is complete and none goes on, `end` is forced; where another goes on, both are
    possible. Made for one prompt's length.
    """

    def __init__(self, prompt: int, options: Sequence[Sequence[int]], end: int):
        if not options or not all(options):
            raise ValueError("a choice needs options, none of them empty")
        self.prompt, self.end = prompt, end
        self.after: dict[tuple[int, ...], set[int]] = {}
        for one in options:
            for i, token in enumerate(one):
                self.after.setdefault(tuple(one[:i]), set()).add(token)
            self.after.setdefault(tuple(one), set()).add(end)

    def __call__(self, scores: torch.Tensor, text: Sequence[int]) -> torch.Tensor:
        allowed = self.after.get(tuple(text[self.prompt :]), {self.end})
        out = torch.full_like(scores, float("-inf"))
        place = torch.tensor(sorted(allowed), device=scores.device)
        out[place] = scores[place]
        return out


def among(prompt: Sequence[int], options: Sequence[Sequence[int]], end: int) -> Rule:
    """`Among` for this prompt."""
    return Among(len(prompt), options, end)
