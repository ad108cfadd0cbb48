"""From scores to the next token: penalties, cuts, and draws that depend on their request alone.

The order is transformers': repetition penalty, then other rules, then temperature, top-k, top-p,
min-p. Everything is worked out in at least float32.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.generate.speaks import How

# The scores of one row, and the tokens of its text so far -> changed scores (-inf: forbidden).
Rule = Callable[[Float[Tensor, " v"], Sequence[int]], Float[Tensor, " v"]]


def wide(scores: Float[Tensor, "*b v"]) -> Float[Tensor, "*b v"]:
    """Scores in at least float32."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def penalised(
    scores: Float[Tensor, " v"], text: Sequence[int], penalty: float
) -> Float[Tensor, " v"]:
    """Scores with those of tokens already in the text made smaller, once each."""
    if penalty == 1.0 or not text:
        return scores
    seen = torch.tensor(sorted(set(text)), device=scores.device)
    old = scores[seen]
    return scores.index_put((seen,), torch.where(old > 0, old / penalty, old * penalty))


def cut(scores: Float[Tensor, " v"], how: How) -> Float[Tensor, " v"]:
    """Scores over the temperature, with the tokens that are not drawn from at -inf."""
    scores = scores / how.temperature
    if 0 < how.top_k < len(scores):
        least = scores.topk(how.top_k).values[-1]
        scores = scores.masked_fill(scores < least, float("-inf"))
    if how.top_p < 1:
        ordered, order = scores.sort(stable=True)
        below = ordered.softmax(0).cumsum(0) <= 1 - how.top_p
        below[-1] = False
        scores = scores.index_fill(0, order[below], float("-inf"))
    if how.min_p > 0:
        chances = scores.softmax(0)
        scores = scores.masked_fill(chances < how.min_p * chances.max(), float("-inf"))
    return scores


def shaped(
    scores: Float[Tensor, " v"], text: Sequence[int], how: How, rules: Sequence[Rule] = ()
) -> Float[Tensor, " v"]:
    """All that a request asks for, up to the draw; the best score is its greedy choice.

    Raises:
        ValueError: no token is left.
    """
    scores = penalised(wide(scores), text, how.repetition)
    for rule in rules:
        scores = rule(scores, text)
    if not bool((scores > float("-inf")).any()):
        raise ValueError("every token is forbidden: no text can follow")
    return scores if how.temperature == 0 else cut(scores, how)


class Dice:
    """The draws of one request: the same whatever else is in the batch, and however it is cut.

    Sample `number` of a request has its own; that of number 0 is the request's seed itself.
    """

    def __init__(self, seed: int, number: int = 0):
        if number:
            told = hashlib.sha256(f"{seed} {number}".encode()).digest()
            seed = int.from_bytes(told[:8], "little")
        self.g = torch.Generator().manual_seed(seed % (1 << 63))

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return float(torch.rand((), generator=self.g, dtype=torch.float64))

    def draw(self, chances: Float[Tensor, " v"]) -> int:
        """A token, by its share of the sum of these."""
        total = chances.double().cumsum(0)
        place = int(
            torch.searchsorted(total, total.new_tensor(self.uniform()) * total[-1], right=True)
        )
        if place >= len(chances) or not chances[place] > 0:  # rounding at the very end
            place = int(chances.nonzero()[-1])
        return place


def choose(scores: Float[Tensor, " v"], how: How, dice: Dice) -> int:
    """The next token from shaped scores; the first of equals where nothing is drawn."""
    return int(scores.argmax()) if how.temperature == 0 else dice.draw(scores.softmax(0))
