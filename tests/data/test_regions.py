"""Regions laid end to end and taken apart."""

import pytest
import torch

from sensorium.data.errors import DataError
from sensorium.data.regions import Looked, lay_regions, take_regions, unlay_regions
from sensorium.nn.regions import beside
from tests.nn.together import regions


@pytest.mark.parametrize("lengths", [[3, 1, 2], [0, 4], [2, 0, 0], [0, 0]])
def test_laid_and_unlaid(lengths: list[int]) -> None:
    laid = regions(lengths, links=True)
    back = unlay_regions(laid)
    assert [len(one.features) for one in back] == lengths and laid.lengths.tolist() == lengths
    again = lay_regions(back)
    assert all(torch.equal(a, b) for a, b in zip(laid, again, strict=True))
    taken = unlay_regions(take_regions(laid, torch.tensor([1, 0, 1])))
    for one, i in zip(taken, (1, 0, 1), strict=True):
        assert torch.equal(one.features, back[i].features) and torch.equal(one.boxes, back[i].boxes)
    real = sum(lengths)
    assert laid.rows.flatten()[laid.back[:real]].tolist() == list(range(real))


def test_nothing_seen_at_all_is_one_row_that_belongs_to_nobody() -> None:
    laid = regions([0, 0])
    assert laid.features.shape[0] == 1 and laid.rows.shape == (2, 1) and not laid.features.any()


def test_two_pictures_side_by_side() -> None:
    left, right = regions([2, 0, 1]), regions([1, 2, 0])
    left = left._replace(masked=torch.tensor([0, 1, 1]))
    both = beside(left, right)
    assert both.lengths.tolist() == [3, 2, 1] and both.kind.tolist() == [0, 0, 1, 1, 1, 0]
    assert both.masked.tolist() == [0, 1, 0, 0, 0, 1]
    none = beside(regions([0, 0]), regions([0, 1]))
    assert (
        none.lengths.tolist() == [0, 1] and none.kind[0] == 1 and none.rows.tolist() == [[0], [0]]
    )
    assert torch.equal(both.features[:2], left.features[:2])
    assert torch.equal(both.features[2], right.features[0])


def test_what_does_not_belong_together_is_refused() -> None:
    good = Looked(torch.ones(2, 4), torch.ones(2, 4))
    cases = [
        ([], "no pictures"),
        ([good, Looked(torch.ones(2, 5), torch.ones(2, 4))], "sample 1: features"),
        ([Looked(torch.ones(2, 4), torch.ones(3, 4))], "boxes"),
        ([Looked(torch.full((1, 4), torch.nan), torch.ones(1, 4))], "not finite"),
        ([good._replace(kind=torch.zeros(1, dtype=torch.long))], "kinds or words"),
    ]
    for samples, why in cases:
        with pytest.raises(DataError, match=why):
            lay_regions(samples)
