"""Position embeddings on another grid, against the libraries that published results used."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jaxtyping import TypeCheckError
from scipy import ndimage

from sensorium.weights.errors import WeightsError
from sensorium.weights.positions import resize_grid

GRIDS = [((7, 7), (12, 12)), ((14, 14), (24, 24)), ((5, 3), (2, 9)), ((4, 4), (1, 4))]


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_bilinear_with_corners_is_scipys_zoom(old, new):
    pos = torch.randn(1 + old[0] * old[1], 8, generator=torch.Generator().manual_seed(0))
    grid = pos[1:].reshape(*old, 8).double().numpy()
    want = np.asarray(ndimage.zoom(grid, (new[0] / old[0], new[1] / old[1], 1), order=1))
    assert want.shape[:2] == new
    got = resize_grid(pos, old, new, "bilinear-corners")
    assert torch.equal(got[:1], pos[:1])
    np.testing.assert_allclose(got[1:].reshape(*new, 8).numpy(), want, atol=1e-5)


def test_corners_stay():
    pos = torch.randn(9, 2)
    got = resize_grid(pos, (3, 3), (5, 7), "bilinear-corners", prefix=0).reshape(5, 7, 2)
    assert torch.allclose(got[[0, 0, -1, -1], [0, -1, 0, -1]], pos[[0, 2, 6, 8]], atol=1e-6)


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_bicubic_is_the_antialiased_half_pixel_one(old, new):
    pos = torch.randn(2 + old[0] * old[1], 8, generator=torch.Generator().manual_seed(1))
    grid = pos[2:].reshape(1, *old, 8).permute(0, 3, 1, 2)
    want = F.interpolate(grid, new, mode="bicubic", antialias=True, align_corners=False)
    got = resize_grid(pos, old, new, "bicubic-antialias", prefix=2)
    assert torch.equal(got[2:], want.permute(0, 2, 3, 1).reshape(-1, 8))
    plain = resize_grid(pos, old, new, "bicubic", prefix=2)
    assert (old[0] <= new[0] and old[1] <= new[1]) or not torch.allclose(plain, got, atol=1e-3)


def test_an_equal_grid_changes_nothing_and_dtype_is_kept():
    pos = torch.randn(5, 3).half()
    assert torch.equal(resize_grid(pos, (2, 2), (2, 2), "bilinear"), pos)
    assert resize_grid(pos, (2, 2), (3, 3), "bilinear").dtype == torch.float16


def test_a_grid_that_does_not_fit_is_refused():
    with pytest.raises(WeightsError, match="have 5 rows, 0 \\+ 2 x 2"):
        resize_grid(torch.zeros(5, 2), (2, 2), (3, 3), "bilinear", prefix=0)
    with pytest.raises((WeightsError, TypeCheckError), match="bilinear-corners"):
        resize_grid(torch.zeros(5, 2), (2, 2), (3, 3), "nearest")  # pyright: ignore
