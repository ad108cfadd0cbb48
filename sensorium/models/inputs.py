"""From raw samples to what a net reads: the same code in training, evaluation and serving."""

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.data.tokenizers import Tokenizer
from sensorium.media import Transform
from sensorium.media.augment import Ranges, augment
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
        self.kept: dict[bytes, np.ndarray] = {}
        self.bytes = 0

    def __call__(self, image: bytes, name: str, rng: np.random.Generator) -> np.ndarray:
        """One changed view; errors call the picture `name`."""
        content = hashlib.sha256(image).digest()
        seen = self.kept.get(content)
        if seen is None:
            seen = self.source.pixels(image, name=name)
            if self.bytes + seen.nbytes <= self.budget:
                self.kept[content] = seen
                self.bytes += seen.nbytes
        return augment(seen, self.size, rng, self.ranges)


class PairInputs:
    """Captioned picture to (pixels, ids).

    Without `rng` the picture passes `transform` and the text is the first one. With it the picture
    is augmented, and the text is drawn: the first one with chance `first`, else any of the others.
    """

    def __init__(
        self, transform: Transform, tokenizer: Tokenizer, views: Views | None, first: float = 0.0
    ):
        self.transform, self.tokenizer, self.views, self.first = transform, tokenizer, views, first

    def __call__(
        self, sample: Captioned, rng: np.random.Generator | None
    ) -> tuple[Float[Tensor, "3 y x"], list[int]]:
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


class LabelInputs:
    """Labelled picture to (pixels, label), augmented when there is an `rng`."""

    def __init__(self, transform: Transform, views: Views | None):
        self.transform, self.views = transform, views

    def __call__(
        self, sample: Labelled, rng: np.random.Generator | None
    ) -> tuple[Float[Tensor, "3 y x"], int]:
        return pixels(sample.image, sample.id, self.transform, self.views, rng), sample.label


def pixels(
    image: bytes,
    name: str,
    transform: Transform,
    views: Views | None,
    rng: np.random.Generator | None,
) -> Float[Tensor, "3 y x"]:
    """A picture as the net reads it; augmented if there is an `rng` and a way to."""
    if rng is None or views is None:
        return transform(image, name=name)
    return transform.normalise(views(image, name, rng))


def pairs(items: list[tuple[Tensor, list[int]]]) -> ImageText:
    """A batch of pictures and texts, the texts laid end to end."""
    return ImageText(torch.stack([p for p, _ in items]), lay([ids for _, ids in items]))


def labels(items: list[tuple[Tensor, int]]) -> ImageLabel:
    """A batch of pictures and labels."""
    return ImageLabel(torch.stack([p for p, _ in items]), torch.tensor([y for _, y in items]))
