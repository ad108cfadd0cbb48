"""Words, and pictures of mixed shapes, by formula: laid end to end, and filled up for others."""

import torch
from torch import Tensor

from sensorium.data.patched import lay_patches
from sensorium.data.ragged import lay
from sensorium.types import Ids, Joint, JointPair, Patched
from tests.models.drawn import uniform

PATCH = 4
SIZE = dict(vocab=100, length=24, width=32, layers=2, heads=4, hidden=128, pixels=12)
LENGTHS = (5, 9, 3, 7)
SIDES = {  # rows and columns of patches
    "left": ((3, 4), (2, 5), (3, 3), (5, 1)),
    "right": ((3, 3), (4, 2), (1, 5), (3, 4)),
}


def words() -> list[list[int]]:
    """Four texts of unlike lengths."""
    vocab = SIZE["vocab"]
    return [[(7 * i + 3 * j + 5) % vocab for j in range(n)] for i, n in enumerate(LENGTHS)]


def shapes(name: str) -> list[Tensor]:
    """Four pictures of unlike shapes."""
    sides = enumerate(SIDES[name])
    return [uniform(f"{name} {i}", (3, PATCH * y, PATCH * x)) for i, (y, x) in sides]


def pixels(name: str) -> Tensor:
    """The same in one tensor, filled up with zeros at the right and the bottom."""
    y, x = (PATCH * max(column) for column in zip(*SIDES[name], strict=True))
    out = torch.zeros(len(SIDES[name]), 3, y, x)
    for row, one in zip(out, shapes(name), strict=True):
        row[:, : one.shape[1], : one.shape[2]] = one
    return out


def filled(texts: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask."""
    rows = [torch.tensor(ids) for ids in texts]
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True), pad([torch.ones_like(r) for r in rows], batch_first=True)


def text() -> Ids:
    """The texts, laid end to end."""
    return lay(words())


def patched(name: str) -> Patched:
    """The pictures, laid end to end."""
    return lay_patches(shapes(name), PATCH)


def joint() -> Joint:
    """A picture to a text."""
    return Joint(patched("left"), text())


def pair() -> JointPair:
    """Two pictures to a text."""
    return JointPair(patched("left"), patched("right"), text())
