"""ViLT's transform beside the published steps in plain Pillow and beside transformers'; ALBEF's."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViltImageProcessorPil

from sensorium.media import MediaError, albef, transform, turbo, vilt
from sensorium.media.transforms import floored
from tests.media.test_transforms import picture

SIZES = [(640, 480), (480, 640), (500, 375), (333, 500), (97, 61), (61, 97), (64, 64), (1000, 200)]


def published(image: Image.Image, shorter: int) -> torch.Tensor:
    """Shorter side, cap, rounding, whole patches of 32, bicubic, then (x / 255 - 0.5) / 0.5."""
    (w, h), longer = image.size, int((1333 / 800) * shorter)
    scale = shorter / min(w, h)
    new_h, new_w = (shorter, scale * w) if h < w else (scale * h, shorter)
    if max(new_h, new_w) > longer:
        scale = longer / max(new_h, new_w)
        new_h, new_w = new_h * scale, new_w * scale
    size = int(new_w + 0.5) // 32 * 32, int(new_h + 0.5) // 32 * 32
    array = np.array(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return torch.from_numpy(array).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)


@pytest.mark.parametrize("size", SIZES)
def test_vilts_transform_is_the_published_one(size: tuple[int, int]) -> None:
    image = picture(*size)
    assert torch.equal(transform(vilt(96))(image), published(image, 96))


def test_vilts_transform_is_transformers() -> None:
    image = picture(640, 480)
    theirs = ViltImageProcessorPil(size={"shortest_edge": 384}, size_divisor=32)
    want = theirs(image, return_tensors="pt")["pixel_values"][0]
    got = transform(vilt())(image)
    assert got.shape == (3, 384, 512)
    assert float((want - got).abs().max()) <= 1e-6


def test_the_longer_side_is_capped_and_a_thin_picture_keeps_one_row() -> None:
    assert floored(2000, 1000, vilt()) == (608, 320)  # 639 x 319.5 before whole patches
    assert floored(1000, 700, vilt()) == (544, 384)
    assert floored(5000, 1, vilt()) == (608, 32)
    assert transform(vilt())(picture(1, 60)).shape == (3, 608, 32)


def test_albefs_transform_is_a_square_with_clips_mean() -> None:
    image, spec = picture(97, 61), albef(64)
    array = np.array(image.resize((64, 64), Image.Resampling.BICUBIC), dtype=np.float32)
    mean, std = (np.array(spec[key], dtype=np.float32) for key in ("mean", "std"))
    want = torch.from_numpy((array / 255 - mean) / std).permute(2, 0, 1)
    assert float((transform(spec)(image) - want).abs().max()) <= 1e-6


def test_what_a_spec_cannot_be_is_refused() -> None:
    with pytest.raises(MediaError, match="multiple = 0"):
        transform(vilt() | {"multiple": 0})
    with pytest.raises(MediaError, match="no fast version"):
        turbo(vilt())
