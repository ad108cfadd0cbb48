"""Drawn scenes: the same anywhere, and what stands in them is where it is said to be."""

import io

import numpy as np
from PIL import Image

from sensorium.datasets.scenes import COLOURS, LABELS, Scenes


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image))).astype(int)


def test_a_scene_is_the_same_each_time_and_the_parts_share_none() -> None:
    train, test = Scenes("train"), Scenes("test")
    assert (len(train), len(test)) == (4000, 1000)
    assert train[7] == Scenes("train", 10)[7]
    assert not {one.image for one in train[:300]} & {one.image for one in test[:300]}


def test_each_thing_fills_its_box_with_its_colour() -> None:
    for one in Scenes("train", 200):
        shown = pixels(one.image)
        ground = shown.copy()
        for box, label, colour in zip(one.boxes, one.labels, one.attributes, strict=True):
            left, top, right, bottom = map(int, box)
            name, shape = LABELS[label].split()
            assert tuple(COLOURS)[colour] == name
            inside = shown[top:bottom, left:right]
            ink = inside[2 * (bottom - top) // 3, (right - left) // 2]  # within every shape
            assert np.abs(ink - COLOURS[name]).max() <= 20
            share = (np.abs(inside - ink).max(axis=2) == 0).mean()
            full = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5}[shape]
            assert abs(share - full) < 0.06
            ground[top:bottom, left:right] = 225
        assert (ground.min(axis=2) >= 225).all(), "nothing stands outside the boxes"
