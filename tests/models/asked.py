"""Square pictures, texts and answers by formula, for ALBEF: ours end to end, theirs filled up."""

from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.types import Ids, Joint, JointPair
from tests.models.drawn import uniform
from tests.models.shaped import LENGTHS, words

VOCAB, LENGTH, WIDTH, HEADS, HIDDEN = 100, 24, 32, 4, 48
PIXELS, PATCH, SEEN, SEEN_HEADS, SEEN_LAYERS = 12, 4, 24, 4, 2
EMBED, QUEUE = 8, 6
CLS, SEP = 7, 8
ANSWERS = [
    [CLS, 11, SEP],
    [CLS, 12, 13, 14, SEP],
    [CLS, 15, 16, SEP],
    [CLS, 11, 17, SEP],
    [CLS, 18],
]
ROWS = (0, 0, 1, 2, 3, 3)  # the questions that have an answer, and which
GIVEN = (1, 3, 0, 2, 4, 1)


class Layers(NamedTuple):
    """Layers of the text's own, and of those that fuse."""

    own: int
    fuse: int


def pictures(name: str) -> Tensor:
    """Four pictures."""
    return uniform(f"{name} square", (len(LENGTHS), 3, PIXELS, PIXELS))


def joint() -> Joint:
    """A picture to a text."""
    return Joint(pictures("left"), lay(words()))


def pair() -> JointPair:
    """Two pictures to a text."""
    return JointPair(pictures("left"), pictures("right"), lay(words()))


def answers(which: tuple[int, ...] | None = None) -> Ids:
    """All answers, or those."""
    return lay([ANSWERS[i] for i in (range(len(ANSWERS)) if which is None else which)])


def row() -> Tensor:
    """Whose answers those `GIVEN` are."""
    return torch.tensor(ROWS)
