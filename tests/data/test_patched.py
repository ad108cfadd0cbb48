"""Patches laid end to end: the same pixels, in the published order, and back by hand."""

import pytest
import torch

from sensorium.data.errors import DataError
from sensorium.data.patched import drawn_patches, lay_patches, take_patches
from tests.models.drawn import uniform

SIDES = [(2, 3), (1, 1), (3, 2)]
PICTURES = [uniform(f"picture {i}", (3, 4 * y, 4 * x)) for i, (y, x) in enumerate(SIDES)]


def test_every_patch_stands_at_its_place() -> None:
    batch = lay_patches(PICTURES, 4)
    assert batch.lengths.tolist() == [6, 1, 6] and batch.grid.tolist() == [[2, 3], [1, 1], [3, 2]]
    token = 0
    for picture, (rows, columns) in zip(PICTURES, SIDES, strict=True):
        for y in range(rows):
            for x in range(columns):
                want = picture[:, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].flatten()
                assert torch.equal(batch.patches[token], want)
                assert batch.place[token].tolist() == [y, x]
                token += 1
    assert token == len(batch.patches)


def test_taking_pictures_is_laying_those() -> None:
    batch, index = lay_patches(PICTURES, 4), torch.tensor([2, 0, 2])
    again = lay_patches([PICTURES[i] for i in index.tolist()], 4)
    for got, want in zip(take_patches(batch, index), again, strict=True):
        assert torch.equal(got, want)


def test_drawn_patches_are_some_of_those_there_are() -> None:
    batch = lay_patches(PICTURES, 4)
    kept = drawn_patches(batch, 4, torch.Generator().manual_seed(1))
    assert kept.lengths.tolist() == [4, 1, 4] and torch.equal(kept.grid, batch.grid)
    for row, number in enumerate(kept.lengths.tolist()):
        places = kept.place[kept.rows[row, :number]].tolist()
        assert len({tuple(place) for place in places}) == number
    whole = drawn_patches(batch, 6, torch.Generator().manual_seed(1))
    assert whole.lengths.tolist() == [6, 1, 6] and not torch.equal(whole.place, batch.place)


def test_what_is_no_picture_of_patches_is_refused() -> None:
    with pytest.raises(DataError, match="no pictures"):
        lay_patches([], 4)
    with pytest.raises(DataError, match=r"picture 1 is \(3, 8, 6\)"):
        lay_patches([PICTURES[0], torch.zeros(3, 8, 6)], 4)
    with pytest.raises(DataError, match="must name pictures"):
        take_patches(lay_patches(PICTURES, 4), torch.tensor([3]))
    with pytest.raises(DataError, match="1 or more"):
        drawn_patches(lay_patches(PICTURES, 4), 0, torch.Generator())
