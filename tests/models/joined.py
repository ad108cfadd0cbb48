"""Words and regions by formula, laid end to end for our nets and filled up for everybody else's."""

from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.types import Ids, Joint, Regions
from tests.models.drawn import uniform

VOCAB, FEATURE, CLASSES = 100, 12, 7
LENGTHS, COUNTS = (5, 9, 3, 7), (4, 1, 6, 3)  # words and regions of each row
LINKS = 2


class Rows(NamedTuple):
    """What a row is made of."""

    ids: list[int]
    segments: list[int]
    features: Tensor
    boxes: Tensor
    kind: Tensor
    words: Tensor


def rows(features: int = FEATURE, vocab: int = VOCAB) -> list[Rows]:
    """Four rows of unlike lengths; the last regions of a row are of its second picture."""
    return [
        row(i, n, r, features, vocab) for i, (n, r) in enumerate(zip(LENGTHS, COUNTS, strict=True))
    ]


def row(i: int, n: int, r: int, features: int = FEATURE, vocab: int = VOCAB) -> Rows:
    """Row i, of n words and r regions."""
    ids = [(7 * i + 3 * j + 5) % vocab for j in range(n)]
    near = uniform(f"near {i}", (r, 2)) / 4 + 0.25
    far = uniform(f"far {i}", (r, 2)) / 4 + 0.75
    links = [[j % n, (j + 1) % n if j % 2 else -1] if j % 3 else [-1, -1] for j in range(r)]
    return Rows(
        ids,
        [int(j > n // 2) for j in range(n)],
        uniform(f"seen {i}", (r, features)),
        torch.cat([near, far], dim=1),
        torch.tensor([int(j > r // 2) for j in range(r)]),
        torch.tensor(links).view(r, LINKS),
    )


def joint(some: list[Rows], kinds: bool = True, links: bool = False) -> Joint:
    """The rows as our nets read them; without `kinds` all regions are of the first picture."""
    return Joint(pictures(some, kinds, links), texts(some))


def texts(some: list[Rows]) -> Ids:
    """The words, laid end to end."""
    return lay([one.ids for one in some], kinds=[one.segments for one in some])


def pictures(some: list[Rows], kinds: bool = True, links: bool = False) -> Regions:
    """The regions, laid end to end."""
    return lay_regions(
        [
            Looked(
                one.features,
                one.boxes,
                one.kind if kinds else None,
                one.words if links else None,
            )
            for one in some
        ]
    )


def filled_up(parts: list[Tensor], value: float = 0) -> Tensor:
    """Rows of unlike length as one tensor."""
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=value)


def mask(parts: list[Tensor]) -> Tensor:
    """1 where a row is not filled up."""
    return filled_up([torch.ones(len(part), dtype=torch.long) for part in parts])


def numbers(lists: list[list[int]]) -> list[Tensor]:
    """Lists of numbers as tensors."""
    return [torch.tensor(one) for one in lists]
