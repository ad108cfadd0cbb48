"""Made statements as a batch, with what each of them speaks of."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from sensorium.data.questions import Question
from sensorium.models.question_inputs import Item
from sensorium.objectives.meaning import Meant
from sensorium.recipes.questions import Marked
from sensorium.recipes.statements import Mark
from sensorium.types import Answered, Joint

UNKNOWN = (-1.0, -1.0)
Told = tuple[Item, list[float], Sequence[Mark] | None]


class MarkedThings:
    """Statements as `Marked` has them, and the marks of their pictures' regions by their ids."""

    def __init__(self, of: Marked, marks: Mapping[str, Sequence[Mark]]):
        self.of, self.marks = of, marks

    def __call__(self, one: Question, rng: np.random.Generator | None) -> Told:
        return *self.of(one, rng), self.marks.get(one.id)

    def batch(self, items: list[Told]) -> Meant:
        """Statements with their marks; those of which none are known have -1."""
        said = self.of.batch([(item, score) for item, score, _ in items])
        assert isinstance(said, Answered) and isinstance(said.of, Joint)
        marks: list[Sequence[float]] = []
        for item, _, known in items:
            marks += [UNKNOWN] * len(item.pictures[0].boxes) if known is None else known
        right = torch.tensor(marks, dtype=torch.float32).reshape(-1, 2)
        return Meant(said.of, said.label, right)
