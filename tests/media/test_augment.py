"""Augmentation: each part does what its name says, within its range, and only by its generator."""

import numpy as np
import pytest
from PIL import Image

from sensorium.media import MediaError
from sensorium.media import augment as A


def g(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


PICTURE = np.random.default_rng(1).integers(40, 216, (64, 64, 3), dtype=np.uint8)
RGB = Image.fromarray(PICTURE)


def test_the_generator_alone_decides():
    first, again, other = (A.augment(PICTURE, 48, g(seed)) for seed in (3, 3, 4))
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(A.augment(RGB, 48, g(3)), first)


def test_nothing_left_to_chance_is_the_identity():
    still = A.Ranges((1.0, 1.0), (1.0, 1.0), 0.0, (1.0, 1.0), *[0.0] * 10)
    assert np.array_equal(A.augment(PICTURE, 64, g(), still), PICTURE)


def test_what_is_not_rgb_is_refused():
    for bad in (PICTURE[:, :, 0], PICTURE / 255, RGB.convert("L")):
        with pytest.raises((MediaError, TypeError)):  # shapes are checked under test
            A.augment(bad, 32, g())


# --- geometry ------------------------------------------------------------------------------------


def test_crops_stay_inside_and_within_their_ranges():
    for seed in range(300):
        m = A.crop(g(seed), area=(0.3, 0.9), aspect=(0.5, 2.0))
        width, height = m[0, 0], m[1, 1]
        assert width <= 1
        assert height <= 1
        assert width * height <= 0.9 + 1e-9
        assert abs(m[0, 2]) + width <= 1 + 1e-9
        assert abs(m[1, 2]) + height <= 1 + 1e-9
        if max(width, height) < 1:
            assert width * height >= 0.3 - 1e-9
            assert 0.5 - 1e-9 <= width / height <= 2 + 1e-9


def test_affine_stays_within_its_ranges():
    for seed in range(300):
        m = A.affine(g(seed), degrees=20.0, scale=(0.8, 1.25), shift=0.1)
        assert 1 / 1.25 <= np.sqrt(np.linalg.det(m[:2, :2])) <= 1 / 0.8
        assert abs(np.degrees(np.arctan2(m[0, 1], m[0, 0]))) <= 20 + 1e-9
        assert np.abs(m[:2, 2]).max() <= 0.2


def test_flip_by_chance():
    assert np.array_equal(A.warp(RGB, 64, A.flip(g(), chance=1.0)), PICTURE[:, ::-1])
    assert np.array_equal(A.warp(RGB, 64, A.flip(g(), chance=0.0)), PICTURE)
    share = np.mean([A.flip(g(seed), chance=0.3)[0, 0] < 0 for seed in range(1000)])
    assert 0.25 < share < 0.35


def test_warp_takes_a_quarter_turn_and_a_crop_exactly():
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    assert np.array_equal(A.warp(RGB, 64, turn), np.rot90(PICTURE, -1))
    corner = np.array([[0.5, 0, -0.5], [0, 0.5, -0.5], [0, 0, 1.0]])  # the upper left quarter
    assert np.array_equal(A.warp(RGB, 32, corner), PICTURE[:32, :32])


def test_warp_shows_the_background_outside():
    away = np.array([[1, 0, 2.0], [0, 1, 0], [0, 0, 1.0]])  # a whole picture to the right
    assert (np.array(A.warp(RGB, 32, away, (1, 2, 3))) == (1, 2, 3)).all()


def test_warp_smooths_what_it_reduces():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = np.asarray(A.warp(Image.fromarray(stripes), 32, np.eye(3)))[2:-2, 2:-2]
    assert np.abs(inner.astype(int) - 127).max() <= 26  # unsmoothed: 127


# --- colour: against the textbook, in floats -----------------------------------------------------


def by_hand(function) -> np.ndarray:
    x = PICTURE.astype(float) / 255
    return np.clip(np.floor(function(x) * 255 + 0.5), 0, 255)


def close(matrix, want) -> bool:
    return np.abs(np.array(A.recolour(RGB, matrix)).astype(int) - want).max() <= 1


def test_brightness_contrast_saturation_grey():
    f = g(5).uniform(0.5, 1.5)
    luma = (PICTURE / 255 @ A.LUMA)[..., None]
    assert close(A.brightness(g(5), 0.5), by_hand(lambda x: x * f))
    assert close(A.contrast(g(5), 0.5), by_hand(lambda x: (x - 0.5) * f + 0.5))
    assert close(A.saturation(g(5), 0.5), by_hand(lambda x: luma + (x - luma) * f))
    assert close(A.grey(g(), chance=1.0), by_hand(lambda x: x * 0 + luma))
    assert close(A.grey(g(), chance=0.0), PICTURE)


def test_hue_turns_about_the_grey_axis():
    m = A.hue(g(5), 0.5)[:3, :3]
    assert np.allclose(m @ [1, 1, 1], [1, 1, 1])
    assert np.allclose(m @ m.T, np.eye(3))
    turn = 2 * np.pi * g(5).uniform(-0.5, 0.5)
    assert np.isclose(np.trace(m), 1 + 2 * np.cos(turn))


@pytest.mark.parametrize("part", [A.brightness, A.contrast, A.saturation])
def test_colour_ranges(part):
    factors = [part(g(seed), 0.2)[0, 0] for seed in range(300)]
    assert min(factors) >= 0.8 - 1e-9
    assert max(factors) <= 1.2 + 1e-9
    assert max(factors) - min(factors) > 0.2


# --- damage --------------------------------------------------------------------------------------


def test_noise_has_the_stated_spread():
    flat = np.full((200, 200, 3), 128, np.uint8)

    stds = []
    for seed in range(20):
        grains = A.noise(g(seed), flat, 8.0).astype(float) - 128
        assert abs(grains.mean()) < 0.1
        assert abs(np.corrcoef(grains[..., 0].ravel(), grains[..., 1].ravel())[0, 1]) < 0.05
        stds.append(grains.std())
    assert 4 < max(stds) < 8.3
    assert min(stds) < 4


def test_cutout_fills_one_square_within_its_size():
    for seed in range(100):
        changed = (A.cutout(g(seed), PICTURE, most=0.4, chance=1.0) != PICTURE).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert 1 <= len(rows) <= 26
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 1  # a pixel may keep its colour by chance
    assert np.array_equal(A.cutout(g(), PICTURE, chance=0.0), PICTURE)
