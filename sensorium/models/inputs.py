"""From raw samples to what a net reads: the same code in training, evaluation and serving."""

import hashlib

import numpy as np
import torch
from PIL import Image

from sensorium.data.ragged import lay
from sensorium.data.tokenizers import Tokenizer
from sensorium.media import Transform
from sensorium.media.augment import Ranges, augment
from sensorium.media.transforms import Pixels
from sensorium.types import Captioned, ImageLabel, ImageText, Labelled


class Views:
    """How a picture is changed while training: read by `source`, then augmented to `size` pixels.

    Pictures that were read are kept, up to `budget` bytes in each process, so that a small data set
    is decoded once and not in every epoch. They are known by the SHA-256 of their files and not by
    their ids, which data sets that are joined may share.

    Args:
        source: should be larger than `size` by a third, so that enlarging a crop loses nothing.
    """

    def __init__(self, source: Transform, size: int, ranges: Ranges, budget: int = 256 << 20):
        self.source, self.size, self.ranges, self.budget = source, size, ranges, budget
        self.kept: dict[bytes, Image.Image] = {}
        self.bytes = 0

    def __call__(self, image: bytes, name: str, rng: np.random.Generator) -> np.ndarray:
        """One changed view; errors call the picture `name`."""
        content = hashlib.sha256(image).digest()
        seen = self.kept.get(content)
        if seen is None:
            pixels = self.source.pixels(image, name=name)
            seen = Image.fromarray(pixels)
            if self.bytes + pixels.nbytes <= self.budget:
                self.kept[content] = seen
                self.bytes += pixels.nbytes
        return augment(seen, self.size, rng, self.ranges)


class PairInputs:
    """Captioned picture to (pixels, ids); `batch` makes the net's input of a list of those.

    Without `rng` the picture passes `transform` and the text is the first one. With it the picture
    is augmented, and the text is drawn: the first one with chance `first`, else any of the others.
    """

    def __init__(
        self, transform: Transform, tokenizer: Tokenizer, views: Views | None, first: float = 0.0
    ):
        self.transform, self.tokenizer, self.views, self.first = transform, tokenizer, views, first

    def __call__(
        self, sample: Captioned, rng: np.random.Generator | None
    ) -> tuple[Pixels, list[int]]:
        text = sample.texts[0] if rng is None else self.draw(sample.texts, rng)
        ids = self.tokenizer.encode(text, where=sample.id)
        return pixels(sample.image, sample.id, self.transform, self.views, rng), ids

    def draw(self, texts: tuple[str, ...], rng: np.random.Generator) -> str:
        """One of the texts."""
        if len(texts) == 1:
            return texts[0]
        if self.first > 0:
            one = rng.random() < self.first
            return texts[0] if one else texts[1 + int(rng.integers(len(texts) - 1))]
        return texts[int(rng.integers(len(texts)))]

    def batch(self, items: list[tuple[Pixels, list[int]]]) -> ImageText:
        """Pictures and texts, the texts laid end to end."""
        return ImageText(
            self.transform.batch([p for p, _ in items]), lay([ids for _, ids in items])
        )


class LabelInputs:
    """Labelled picture to (pixels, label), augmented when there is an `rng`; and their `batch`."""

    def __init__(self, transform: Transform, views: Views | None):
        self.transform, self.views = transform, views

    def __call__(self, sample: Labelled, rng: np.random.Generator | None) -> tuple[Pixels, int]:
        return pixels(sample.image, sample.id, self.transform, self.views, rng), sample.label

    def batch(self, items: list[tuple[Pixels, int]]) -> ImageLabel:
        """Pictures and labels."""
        label = torch.tensor([y for _, y in items])
        return ImageLabel(self.transform.batch([p for p, _ in items]), label)


def pixels(
    image: bytes,
    name: str,
    transform: Transform,
    views: Views | None,
    rng: np.random.Generator | None,
) -> Pixels:
    """A picture before it is normalised; augmented if there is an `rng` and a way to."""
    if rng is None or views is None:
        return transform.pixels(image, name=name)
    return views(image, name, rng)
