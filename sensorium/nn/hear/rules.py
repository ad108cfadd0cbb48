"""Which token a transcript may go on with (Radford et al. 2022, section 4.5; the released code)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

NEVER = float("-inf")


class Marks(NamedTuple):
    """The ids that the rules speak of.

    Attributes:
        eot: ends a transcript; smaller ids are text.
        stamp: the timestamp 0.00; all ids from there on are timestamps.
        no_stamps: says that there are no timestamps.
        no_speech: its probability behind `sot` tells silence.
        forbidden: never said.
        blank: not said first.
    """

    sot: int
    eot: int
    stamp: int
    no_stamps: int
    no_speech: int
    forbidden: tuple[int, ...]
    blank: tuple[int, ...]


class Rules:
    """Takes away, in place, the scores of tokens that may not come next.

    Args:
        stamps: whether timestamps are said; then they come in pairs and never go back.
        first: the latest timestamp that a transcript may begin with, in steps; None: any.
    """

    def __init__(self, marks: Marks, stamps: bool = True, first: int | None = 50):
        self.marks, self.stamps, self.first = marks, stamps, first
        self.never = torch.tensor(marks.forbidden + ((marks.no_stamps,) if stamps else ()))

    def __call__(
        self, scores: Float[Tensor, "b v"], said: Sequence[Sequence[int]]
    ) -> Float[Tensor, "b v"]:
        """The scores that are left; `said` is what each row has said so far, the prompt apart."""
        marks, begin = self.marks, self.marks.stamp
        starts = [row for row, ids in enumerate(said) if not ids]
        if starts:
            blank = torch.tensor(marks.blank, device=scores.device)
            scores[torch.tensor(starts, device=scores.device)[:, None], blank] = NEVER
        scores[:, self.never.to(scores.device)] = NEVER
        if not self.stamps:
            return scores
        for row, ids in enumerate(said):
            self._paired(scores[row], ids)
        for row in starts:
            scores[row, :begin] = NEVER
            if self.first is not None:
                scores[row, begin + self.first + 1 :] = NEVER
        chances = scores.float().log_softmax(-1)
        likelier = chances[:, begin:].logsumexp(-1) > chances[:, :begin].amax(-1)
        scores[:, :begin].masked_fill_(likelier[:, None], NEVER)
        return scores

    def _paired(self, scores: Float[Tensor, " v"], ids: Sequence[int]) -> None:
        """Timestamps stand in pairs, but for one before the end, and do not go back."""
        begin = self.marks.stamp
        last = len(ids) >= 1 and ids[-1] >= begin
        before = len(ids) < 2 or ids[-2] >= begin
        if last:
            if before:
                scores[begin:] = NEVER
            else:
                scores[: self.marks.eot] = NEVER
        stamps = [i for i in ids if i >= begin]
        if stamps:
            least = stamps[-1] if last and not before else stamps[-1] + 1
            scores[begin:least] = NEVER
