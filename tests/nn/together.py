"""Words and regions by formula, and slow twins that go sample by sample, for tests of fusion."""

import torch
from torch import Tensor

from sensorium.data.ragged import lay, places
from sensorium.data.regions import Looked, lay_regions
from sensorium.types import Ids, Ragged, Regions, Tokens
from tests.models.drawn import uniform


def text(lengths: list[int], vocab: int = 50, kinds: bool = True) -> Ids:
    """Texts of these lengths, the second half of each of segment 1."""
    ids = [[(7 * i + 3 * j + 1) % vocab for j in range(n)] for i, n in enumerate(lengths)]
    segments = [[int(j >= (n + 1) // 2) for j in range(n)] for n in lengths]
    return lay(ids, kinds=segments if kinds else None)


def regions(lengths: list[int], width: int = 12, links: bool = False) -> Regions:
    """Regions of so many a picture; with `links` each names words of its text."""
    samples = []
    for i, r in enumerate(lengths):
        near = uniform(f"near {i}", (r, 2)) / 4 + 0.25
        far = uniform(f"far {i}", (r, 2)) / 4 + 0.75
        words = torch.tensor([[0, -1] if j % 2 else [-1, -1] for j in range(r)]).view(r, 2)
        looked = Looked(uniform(f"seen {i}", (r, width)), torch.cat([near, far], 1))
        samples.append(looked._replace(words=words) if links else looked)
    return lay_regions(samples)


def tokens(name: str, lengths: list[int], width: int) -> Tokens:
    """States laid end to end."""
    t = max(sum(lengths), 1)
    rows, back, _ = places(torch.tensor(lengths), max(*lengths, 1), t)
    return Tokens(uniform(name, (1, t, width)), Ragged(rows, back, torch.tensor(lengths), False))


def one_by_one(laid: Tokens) -> list[Tensor]:
    """The states of each sample."""
    assert isinstance(laid.at, Ragged)
    cuts = laid.at.lengths.tolist()
    return list(laid.x[0, : sum(cuts)].split(cuts))
