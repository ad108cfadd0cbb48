"""From pictures with boxes to what a detector learns from, and the declaration a set calls for."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.media import Source, Transform, read_header, read_image_bytes
from sensorium.nn.detect.rpn import Anchors
from sensorium.types import Boxed, Scenes

LEAST = 1.0  # pixels that a side of a box must keep after resizing to be learnt
SEEDS = 2**31


class Scene(NamedTuple):
    """One picture for training; boxes in its own pixels after resizing."""

    image: Float[Tensor, "3 y x"]
    boxes: Float[Tensor, "n 4"]
    labels: Tensor
    attributes: Tensor | None
    crowd: Tensor
    seed: int


class BoxInputs:
    """Boxed picture to `Scene`; with an `rng` mirrored every other time, and moved a little.

    Decoded pictures are kept up to `budget` bytes in each process.

    Args:
        named: whether the data set names attributes.
        shift: pixels by which a picture is moved at most, right and down, on grey ground: a small
            set shows every object on one place of the map's grid otherwise.
    """

    def __init__(
        self, transform: Transform, named: bool = True, shift: int = 8, budget: int = 256 << 20
    ):
        self.transform, self.named, self.shift, self.budget = transform, named, shift, budget
        self.kept: dict[str, tuple[np.ndarray, float]] = {}
        self.bytes = 0

    def __call__(self, sample: Boxed, rng: np.random.Generator | None) -> Scene:
        pixels, scale = self._read(sample)
        boxes = torch.tensor(sample.boxes, dtype=torch.float32).view(-1, 4) * scale
        image = self.transform.normalise(pixels)
        seed = 0
        if rng is not None:
            seed = int(rng.integers(SEEDS))
            if rng.random() < 0.5:
                image, boxes = mirrored(image, boxes)
            image, boxes = moved(image, boxes, *(int(rng.integers(self.shift + 1)) for _ in "yx"))
        limit = torch.tensor([image.shape[2], image.shape[1]] * 2)
        boxes = torch.minimum(boxes, limit).clamp(min=0)
        real = ((boxes[:, 2:] - boxes[:, :2]) >= LEAST).all(1)
        labels = torch.tensor(sample.labels, dtype=torch.long)[real]
        attributes = None
        if self.named:
            attributes = torch.tensor(sample.attributes, dtype=torch.long)[real]
        crowd = torch.tensor(sample.crowd, dtype=torch.bool)[real]
        return Scene(image, boxes[real], labels, attributes, crowd, seed)

    def _read(self, sample: Boxed) -> tuple[np.ndarray, float]:
        found = self.kept.get(sample.id)
        if found is None:
            found = resized(self.transform, sample.image, sample.id)
            if self.bytes + found[0].nbytes <= self.budget:
                self.kept[sample.id] = found
                self.bytes += found[0].nbytes
        return found


def resized(transform: Transform, source: Source, name: str) -> tuple[np.ndarray, float]:
    """A picture's pixels as the net reads them, and by how much it was enlarged."""
    if isinstance(source, (str, bytes)):
        source = read_image_bytes(source, name=name)
        header = read_header(source, name=name)
        width, height = header.width, header.height
    else:
        raise TypeError(f"{name}: a detector reads files, not a {type(source).__name__}")
    pixels = transform.pixels(source, name=name)
    return pixels, max(pixels.shape[:2]) / max(width, height)


def mirrored(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Left for right."""
    width = image.shape[2]
    turned = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return image.flip(2), turned


def moved(image: Tensor, boxes: Tensor, y: int, x: int) -> tuple[Tensor, Tensor]:
    """Down and right by whole pixels; what leaves the picture is lost, what comes in is 0."""
    out = torch.zeros_like(image)
    height, width = image.shape[1:]
    out[:, y:, x:] = image[:, : height - y, : width - x]
    return out, boxes + torch.tensor([x, y, x, y])


def scenes(items: list[Scene]) -> Scenes:
    """A batch: pictures padded to the largest, objects to the most (at least one place)."""
    b, most = len(items), max(1, *(len(s.labels) for s in items))
    height, width = (max(s.image.shape[i] for s in items) for i in (1, 2))
    image = torch.zeros(b, 3, height, width)
    boxes = torch.zeros(b, most, 4)
    labels = torch.full((b, most), -1)
    attributes = None if items[0].attributes is None else labels.clone()
    crowd = torch.zeros(b, most, dtype=torch.bool)
    for i, s in enumerate(items):
        n = len(s.labels)
        image[i, :, : s.image.shape[1], : s.image.shape[2]] = s.image
        boxes[i, :n], labels[i, :n] = s.boxes, s.labels
        if attributes is not None and s.attributes is not None:
            attributes[i, :n] = s.attributes
        crowd[i, :n] = s.crowd
    size = torch.tensor([list(s.image.shape[1:]) for s in items])
    return Scenes(
        image, size, boxes, labels, attributes, crowd, torch.tensor([s.seed for s in items])
    )


def anchors_for(boxes: Float[np.ndarray, "n 4"]) -> Anchors:
    """The anchors that boxes (in pixels as the net sees them) call for.

    Sizes run from the 5% to the 95% quantile of the boxes' sizes, each at most twice the one
    before; three ratios unless nearly all boxes are square; a map of stride 4 where the smallest
    size is under 16 pixels, else 8.
    """
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    size, ratio = np.sqrt(sides.prod(1)), sides[:, 1] / sides[:, 0]
    low, high = np.quantile(size, (0.05, 0.95))
    low = max(4.0, low)
    count = 1 + max(0, int(np.ceil(np.log2(max(high, low) / low) - 1e-9)))
    sizes = np.geomspace(low, max(high, low), count)
    square = bool((np.abs(np.log(np.quantile(ratio, (0.05, 0.95)))) < np.log(1.25)).all())
    ratios = (1.0,) if square else (0.5, 1.0, 2.0)
    return Anchors(tuple(round(float(s), 1) for s in sizes), ratios, 4 if low < 16 else 8)


def boxes_of(things: Sequence[Sequence[Sequence[float]]]) -> Float[np.ndarray, "n 4"]:
    """The boxes of all pictures, one below the other."""
    return np.array([box for one in things for box in one], dtype=np.float32).reshape(-1, 4)
