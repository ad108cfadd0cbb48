"""Statements judged, and what they mean pointed at: which regions, and the regions of which boxes.

A net that is only told whether a statement is true has to find out by itself which things it speaks
of; where that is known (statements made by a grammar), it is asked of every region beside.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.objectives.passes import fuses, head, wide
from sensorium.types import Joint


class Meant(NamedTuple):
    """Statements, which answer is right, and of each region (in the batch's order) whether it is
    meant and whether its box is: 1, 0, or -1 where that is not known."""

    of: Joint
    label: Int[Tensor, " b"]
    marks: Float[Tensor, "r 2"]


class Said(NamedTuple):
    """One number an answer, and two a region."""

    x: Float[Tensor, "b v"]
    marks: Float[Tensor, "r 2"]


class Meaning:
    """Cross-entropy of the answer, and of each of the two things said of regions.

    Args:
        name: of the head that answers from the pooled vector.
        points: of the head that says two numbers of a region's state.
    """

    coupled = False

    def __init__(self, name: str, points: str):
        self.name, self.points = name, points

    def pose(self, net: nn.Module, batch: Meant, g: torch.Generator) -> Meant:
        """The batch itself: nothing is random."""
        return batch

    def count(self, question: Meant) -> dict[str, int]:
        known = int((question.marks[:, 0] >= 0).sum())
        return {self.name: len(question.label), "thing": known, "box": known}

    def encode(self, net: nn.Module, question: Meant) -> Said:
        whole = fuses(net)
        said = whole.fuse(question.of)
        answers = head(whole, self.name)(lambda batch: said, question.of)
        return Said(answers, head(whole, self.points)(said.image.x[0])[: len(question.marks)])

    def mark(self, answers: Said, question: Meant) -> dict[str, Tensor]:
        right, said = question.marks, wide(answers.marks)
        loss = F.binary_cross_entropy_with_logits(said, right.clamp(min=0), reduction="none")
        thing, box = (loss * (right >= 0)).sum(dim=0)
        answered = F.cross_entropy(wide(answers.x), question.label, reduction="sum")
        return {self.name: answered, "thing": thing, "box": box}

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""
