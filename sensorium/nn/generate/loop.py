"""The loop: prompts are read once, then every live row gets one token a step.

Rows that end leave the batch, so the work is that of the rows that go on; each row's tokens are
what they would be alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.generate.pick import Dice, Rule, choose, shaped, wide
from sensorium.nn.generate.speaks import Request, Speaks, check, laid
from sensorium.nn.slots import Cache

Ended = Callable[[int, int], bool]  # the row and its new token -> whether its text ends here


class Step(NamedTuple):
    """One token of one row.

    Attributes:
        logprob: of the token, by the model alone: no penalty, no temperature, no cut.
        end: why the row ends with it: "end" (a token that ends), "stop" (the caller's), "length";
            None: it goes on.
    """

    row: int
    token: int
    logprob: float
    end: str | None


class Start(NamedTuple):
    """Rows that were read, and the scores of what follows each."""

    cache: Cache
    scores: Float[Tensor, "b v"]


@torch.inference_mode()
def read(net: Speaks, requests: Sequence[Request], cache: Cache | None = None) -> Start:
    """Reads the prompts; equal ones once, where there is no cache.

    Args:
        cache: holds the beginning of every prompt already, at least one token less than all of it;
            it is written to. An encoder-decoder's holds its memory.

    Raises:
        ValueError: see `speaks.check`; or the cache is of other prompts' lengths.
    """
    room = check(net, requests)
    if cache is not None:
        if len(cache.lengths) != len(requests):
            raise ValueError(f"a cache of {len(cache.lengths)} rows for {len(requests)} prompts")
        rest = [r.ids[n:] for r, n in zip(requests, cache.lengths, strict=True)]
        if cache.room < room:
            cache = cache.take(range(len(rest)), room)
        return Start(cache, net.extend(laid(rest, cache.layers[0].k.device), cache))
    first: dict[tuple[int, ...], int] = {}
    index = [first.setdefault(tuple(r.ids), len(first)) for r in requests]
    cache = net.blank(len(first), room)
    scores = net.extend(laid(list(first), cache.layers[0].k.device), cache)
    if len(first) == len(requests):
        return Start(cache, scores)
    return Start(cache.take(index), scores[index])


def speak(
    net: Speaks,
    requests: Sequence[Request],
    start: Start | None = None,
    rules: Sequence[Rule] = (),
    dice: Sequence[Dice] | None = None,
    ended: Ended | None = None,
) -> Iterator[Step]:
    """Continues texts, token by token, all rows together.

    Args:
        start: the prompts as `read` gives them; read here when None. Its cache is written to.
        rules: what else changes scores (a grammar, forbidden tokens), in order.
        dice: each row's draws; by default of its seed.
        ended: asked after every token, for ends that tokens alone do not show (stop strings).
    """
    check(net, requests)
    cache, scores = read(net, requests) if start is None else start
    dice = [Dice(r.how.seed) for r in requests] if dice is None else dice
    texts = [list(r.ids) for r in requests]
    live, device = list(range(len(requests))), cache.layers[0].k.device

    @torch.inference_mode()
    def step() -> list[Step]:
        made = []
        plain = wide(scores)
        norms = plain.logsumexp(dim=1)
        if bool(norms.isnan().any()):
            raise ValueError("the model's scores are not numbers: its weights are damaged")
        best = plain.argmax(dim=1).tolist()
        for place, row in enumerate(live):
            one = requests[row]
            token = best[place]
            if rules or one.how.temperature or one.how.repetition != 1:
                chosen = shaped(plain[place], texts[row], one.how, rules)
                token = choose(chosen, one.how, dice[row])
            texts[row].append(token)
            end = "length" if len(texts[row]) - len(one.ids) >= one.how.max_tokens else None
            if ended is not None and ended(row, token):
                end = "stop"
            if token in one.ends:
                end = "end"
            made.append(Step(row, token, float(plain[place, token] - norms[place]), end))
        return made

    while live:
        steps = step()
        yield from steps
        kept = [place for place, step in enumerate(steps) if step.end is None]
        with torch.inference_mode():
            if 0 < len(kept) < len(live):
                cache = cache.take(kept)
            live = [live[place] for place in kept]
            if live:
                scores = net.extend(laid([texts[row][-1:] for row in live], device), cache)
