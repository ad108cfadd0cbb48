"""Dropout leaves the mean as it is, draws anew each time, and the same from the same seed."""

import pytest
import torch

from sensorium.nn.dropout import dropped


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_and_the_mean(dtype: torch.dtype, share: float) -> None:
    x = torch.ones(333, 301, dtype=dtype, requires_grad=True)
    y = dropped(x, share, True)
    gone = float((y == 0).float().mean())
    assert abs(gone - share) < 0.01 and abs(float(y.detach().float().mean()) - 1) < 0.01
    kept = y.detach()[y != 0].float()
    assert float((kept - 1 / (1 - share)).abs().max()) < (1e-2 if dtype == torch.bfloat16 else 1e-4)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # type: ignore[arg-type]


def test_four_neighbours_are_drawn_apart() -> None:
    gone = dropped(torch.ones(40000, 4), 0.5, True) == 0
    together = torch.corrcoef(gone.float().T)
    assert float((together - torch.eye(4)).abs().max()) < 0.03


def test_seeds_and_modes() -> None:
    x = torch.randn(7, 3)
    assert dropped(x, 0.5, False) is x and dropped(x, 0.0, True) is x
    torch.manual_seed(1)
    once, again = dropped(x, 0.5, True), dropped(x, 0.5, True)
    torch.manual_seed(1)
    assert torch.equal(once, dropped(x, 0.5, True)) and not torch.equal(once, again)
    assert not dropped(x, 1.0, True).any() and dropped(x[:0], 0.5, True).shape == (0, 3)
