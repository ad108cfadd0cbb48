"""The nucleus found among the most likely tokens is the one found by sorting all."""

import pytest
import torch

from sensorium.nn.generate.nucleus import nucleus
from sensorium.nn.generate.pick import cut
from sensorium.nn.generate.speaks import How


@pytest.mark.parametrize("first", [4, 64, 500])
@pytest.mark.parametrize(
    ("top_p", "temperature"), [(0.95, 0.4), (0.5, 1.0), (0.9, 2.5), (1.0, 1.0)]
)
def test_it_keeps_what_sorting_all_keeps(first: int, top_p: float, temperature: float) -> None:
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        scores = torch.randn(500, generator=g, dtype=torch.float64) * 3
        slow = cut(scores, How(temperature=temperature, top_p=top_p))
        fast = cut(nucleus(top_p, temperature, first)(scores, []), How(temperature=temperature))
        assert torch.equal(slow.isinf(), fast.isinf())
        assert torch.equal(slow[slow.isfinite()], fast[fast.isfinite()])


def test_one_token_is_always_left() -> None:
    scores = torch.tensor([0.0, 30.0, 1.0])
    assert nucleus(0.01, 0.5)(scores, []).isfinite().tolist() == [False, True, False]


@pytest.mark.parametrize(("top_p", "temperature"), [(0.0, 1.0), (1.5, 1.0), (0.9, 0.0)])
def test_what_means_nothing_is_refused(top_p: float, temperature: float) -> None:
    with pytest.raises(ValueError, match="means nothing"):
        nucleus(top_p, temperature)
