"""RandAugment beside loops over pixels, as ALBEF's release states each change."""

import math

import numpy as np
import pytest
from PIL import Image

from sensorium.media.budget import MediaError
from sensorium.media.rand_augment import CHANGES, GREY, rand_augment

LEVEL = 7.0
PIXELS = np.random.default_rng(0).integers(0, 256, (14, 18, 3), dtype=np.uint8)


def changed(name: str, level: float) -> np.ndarray:
    return np.array(CHANGES[name](Image.fromarray(PIXELS), level)).astype(int)


def forward(name: str, level: float) -> np.ndarray:
    """The matrix from places in the picture to places in the result, as the release gives it."""
    share = level / 10
    if name == "rotate":
        cos, sin = math.cos(math.radians(30 * share)), math.sin(math.radians(30 * share))
        x, y = 18 / 2, 14 / 2
        return np.array(
            [[cos, sin, (1 - cos) * x - sin * y], [-sin, cos, sin * x + (1 - cos) * y], [0, 0, 1]]
        )
    out = np.eye(3)
    row, column = {"shear_x": (0, 1), "shear_y": (1, 0), "translate_x": (0, 2)}.get(name, (1, 2))
    out[row, column] = 0.3 * share if name.startswith("shear") else -10 * share
    return out


@pytest.mark.parametrize("name", ["shear_x", "shear_y", "translate_x", "translate_y", "rotate"])
@pytest.mark.parametrize("level", [LEVEL, -LEVEL])
def test_geometry_samples_where_the_matrix_says(name: str, level: float) -> None:
    found, back = changed(name, level), np.linalg.inv(forward(name, level))
    seen = 0
    for y in range(14):
        for x in range(18):
            u, v, _ = back @ (x, y, 1)
            if not (0 < u < 17 and 0 < v < 13):
                outside = u < -1 or v < -1 or u > 18 or v > 14
                assert not outside or found[y, x].tolist() == list(GREY)
                continue
            i, j, p, q = int(u), int(v), u % 1, v % 1
            near = PIXELS[j : j + 2, i : i + 2].astype(float)
            expected = (near[0, 0] * (1 - p) + near[0, 1] * p) * (1 - q)
            expected += (near[1, 0] * (1 - p) + near[1, 1] * p) * q
            assert np.abs(found[y, x] - expected).max() <= 1.5
            seen += 1
    assert seen > 60


def test_colour_changes_are_tables_and_a_kernel() -> None:
    whole = PIXELS.astype(float)
    np.testing.assert_allclose(changed("brightness", LEVEL), np.clip(whole * 1.36, 0, 255), atol=1)
    low, high = whole.min(axis=(0, 1)), whole.max(axis=(0, 1))
    scaled = np.clip((whole - low) * 255 / (high - low), 0, 255)
    np.testing.assert_allclose(changed("autocontrast", LEVEL), scaled, atol=1)
    smooth = sum(
        whole[1 + dy : 13 + dy, 1 + dx : 17 + dx] * (5 if dx == dy == 0 else 1)
        for dy in (-1, 0, 1)
        for dx in (-1, 0, 1)
    )
    expected = whole.copy()
    inner = whole[1:-1, 1:-1]
    expected[1:-1, 1:-1] = np.clip(smooth / 13 + 1.36 * (inner - smooth / 13), 0, 255)
    np.testing.assert_allclose(changed("sharpness", LEVEL), expected, atol=1.5)
    assert (changed("identity", LEVEL) == PIXELS).all()


def test_equalized_as_the_release_counts() -> None:
    table = []
    for channel in range(3):
        counts = np.bincount(PIXELS[..., channel].ravel(), minlength=256)
        step = counts[counts > 0][:-1].sum() // 255
        before = np.cumsum(counts) - counts + step // 2
        table.append(np.clip(before // step, 0, 255) if step else np.arange(256))
    expected = np.stack([table[c][PIXELS[..., c]] for c in range(3)], axis=2)
    assert (changed("equalize", LEVEL) == expected).all()


def test_drawn_from_a_generator_and_nothing_else() -> None:
    views = [rand_augment(PIXELS, np.random.default_rng(seed)) for seed in (*range(40), 3)]
    assert (views[3] == views[-1]).all()
    assert 5 < sum((view != PIXELS).any() for view in views[:40]) < 35
    assert all(view.shape == PIXELS.shape and view.dtype == np.uint8 for view in views)
    with pytest.raises(MediaError, match=r"level 11.0: from 0 to 10"):
        rand_augment(PIXELS, np.random.default_rng(0), level=11.0)
