"""Drawn scenes: one to three coloured shapes on a plain ground, with exact boxes, made here.

Few things stand in a picture, so that its caption is true of few others: words can be tied to what
is seen in minutes, where most of nlvr's scenes hold most of its nine kinds of things at once. The
same number gives the same scene anywhere.
"""

import io
from typing import NamedTuple, final

import numpy as np
from PIL import Image

from sensorium.datasets.catalogue import Part
from sensorium.datasets.files import Rows
from sensorium.types import Boxed

SIDE, CELL = 48, 24  # pixels of a picture, of the quarter in which a thing stands
COLOURS = {
    "red": (214, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 70, 210),
    "yellow": (240, 200, 40),
}
SHAPES = ("circle", "square", "triangle")
LABELS = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
COUNT = {"train": 4000, "test": 1000}
MOST = 3  # things in a picture
SMALLEST, LARGEST = 12, 20  # pixels of a thing's sides
BRIGHT = (225, 256)  # grey levels of the ground
TINGE = 20  # by how much a colour may differ


class Drawn(NamedTuple):
    """A scene: its pixels, each thing's label and its box."""

    pixels: np.ndarray
    labels: tuple[int, ...]
    boxes: tuple[tuple[float, float, float, float], ...]


@final
class Scenes(Rows[Boxed]):
    """Scenes of a part, drawn when they are asked for; the parts share none."""

    labels, attributes = LABELS, tuple(COLOURS)

    def __init__(self, part: Part = "train", count: int | None = None):
        self.part = part
        self.ids = [f"{part}-{i}" for i in range(COUNT[part] if count is None else count)]

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, i: int) -> Boxed:
        made = drawn(np.random.default_rng([i, self.part == "test"]))
        file = io.BytesIO()
        Image.fromarray(made.pixels).save(file, "PNG")
        colours = tuple(label // len(SHAPES) for label in made.labels)
        no = (False,) * len(colours)
        return Boxed(file.getvalue(), made.boxes, made.labels, colours, no, self.ids[i])


def drawn(rng: np.random.Generator) -> Drawn:
    """A new scene: one to three things, each in a quarter of its own."""
    picture = np.full((SIDE, SIDE, 3), rng.integers(*BRIGHT), dtype=np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    labels, boxes = [], []
    for quarter in rng.permutation(4)[: rng.integers(1, MOST + 1)]:
        size = int(rng.integers(SMALLEST, LARGEST + 1))
        top, left = (int(rng.integers(CELL - size + 1)) + CELL * k for k in divmod(int(quarter), 2))
        label = int(rng.integers(len(LABELS)))
        colour, shape = divmod(label, len(SHAPES))
        y, x = (rows - top + 0.5) / size, (columns - left + 0.5) / size  # 0 to 1 in its box
        within = (y >= 0) & (y <= 1) & (x >= 0) & (x <= 1)
        inside = (
            (y - 0.5) ** 2 + (x - 0.5) ** 2 <= 0.25,
            within,
            within & (abs(x - 0.5) <= y / 2),
        )[shape]
        tinge = rng.integers(-TINGE, TINGE + 1, 3)
        ink = np.clip(np.array(tuple(COLOURS.values())[colour]) + tinge, 0, 255)
        picture[inside] = ink.astype(np.uint8)
        labels.append(label)
        boxes.append((float(left), float(top), float(left + size), float(top + size)))
    return Drawn(picture, tuple(labels), tuple(boxes))
