"""Beam search: the most likely texts, as far as a search of a given width finds them.

transformers' rules. Of every prompt `beams` texts are kept that go on; each step looks at the
2 * beams best continuations of all of them; those that end are finished with the score sum of log p
over length^penalty, the end token counted. The search stops when the best running text would not,
at its present length, beat the worst of `beams` finished ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from sensorium.nn.generate.loop import Start, read
from sensorium.nn.generate.pick import Rule, penalised, wide
from sensorium.nn.generate.speaks import Request, Speaks, check, laid
from sensorium.nn.slots import Cache


class Found(NamedTuple):
    """A text that was found.

    Attributes:
        ids: what follows the prompt, the token that ended it included.
        logprob: the sum of log p of its tokens.
        score: what texts are ranked by.
        ended: whether it ended by itself, and not by its length.
    """

    ids: tuple[int, ...]
    logprob: float
    score: float
    ended: bool


class _Hunt:
    """The search of one prompt: texts that go on, best first, and finished ones, best first."""

    def __init__(self, request: Request, beams: int, penalty: float):
        self.request, self.beams, self.penalty = request, beams, penalty
        self.running: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        self.done: list[Found] = []

    def finish(self, ids: tuple[int, ...], total: float, ended: bool) -> None:
        score = total / len(ids) ** self.penalty
        self.done.append(Found(ids, total, score, ended))
        self.done.sort(key=lambda one: -one.score)
        del self.done[self.beams :]

    def advance(self, scores: torch.Tensor, rules: Sequence[Rule]) -> list[int]:
        """Takes the next step; gives which running text each of the new ones continues."""
        totals = []
        for (total, ids), row in zip(self.running, scores, strict=True):
            chances = wide(row).log_softmax(0)
            text = [*self.request.ids, *ids]
            shaped = penalised(chances, text, self.request.how.repetition)
            for rule in rules:
                shaped = rule(shaped, text)
            totals.append(shaped + total)
        flat = torch.stack(totals).flatten()
        count = min((len(self.request.ends) + 1) * self.beams, len(flat))
        best = flat.topk(count)
        new: list[tuple[float, tuple[int, ...]]] = []
        parents: list[int] = []
        for rank, (total, place) in enumerate(
            zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ):
            parent, token = divmod(place, scores.shape[1])
            if total == float("-inf"):
                break
            ids = (*self.running[parent][1], token)
            if token in self.request.ends:
                if rank < self.beams:  # one that ends far down says nothing of the best
                    self.finish(ids, total, True)
            elif len(new) < self.beams:
                new.append((total, ids))
                parents.append(parent)
        self.running = new
        if not new or len(new[0][1]) >= self.request.how.max_tokens or self._settled():
            if not self._settled():
                for total, ids in self.running:
                    self.finish(ids, total, False)
            self.running, parents = [], []
        return parents

    def _settled(self) -> bool:
        if len(self.done) < self.beams or not self.running:
            return len(self.done) >= self.beams
        total, ids = self.running[0]
        return total / len(ids) ** self.penalty <= self.done[-1].score


@torch.inference_mode()
def beam(
    net: Speaks,
    requests: Sequence[Request],
    beams: int,
    penalty: float = 1.0,
    start: Start | None = None,
    rules: Sequence[Rule] = (),
) -> list[list[Found]]:
    """The best `beams` texts of every prompt, best first. Nothing is drawn.

    Args:
        penalty: of the length: 0 ranks by the sum of log p, 1 by the mean, below 0 favours short.

    Raises:
        ValueError: see `speaks.check`; fewer than one beam; a temperature was asked for.
    """
    check(net, requests)
    if beams < 1:
        raise ValueError(f"beams is {beams}: at least one text must be kept")
    if any(one.how.temperature for one in requests):
        raise ValueError("beam search draws nothing: leave the temperature at 0")
    cache, scores = read(net, requests) if start is None else start
    hunts = [_Hunt(one, beams, penalty) for one in requests]
    rows = [(hunt, 1) for hunt in hunts]
    device = cache.layers[0].k.device
    while rows:
        index: list[int] = []
        after: list[tuple[_Hunt, int]] = []
        first = 0
        for hunt, count in rows:
            parents = hunt.advance(scores[first : first + count], rules)
            index += [first + parent for parent in parents]
            if parents:
                after.append((hunt, len(parents)))
            first += count
        rows = after
        if rows:
            cache = reordered(cache, index)
            last = [ids[-1:] for hunt, _ in rows for _, ids in hunt.running]
            scores = net.extend(laid(last, device), cache)
    return [hunt.done for hunt in hunts]


def reordered(cache: Cache, index: list[int]) -> Cache:
    """The rows in another order; the cache itself where that changes nothing."""
    return cache if index == list(range(len(cache.lengths))) else cache.take(index)
