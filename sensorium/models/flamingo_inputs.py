"""From documents of words and pictures to what a Flamingo is trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from sensorium.data.interleaved import Document, Encoded, encoded, marks, sound
from sensorium.data.ragged import lay
from sensorium.data.tokenizers.words import Words
from sensorium.media import Transform
from sensorium.media.transforms import Pixels
from sensorium.nn.pictured import Pictures
from sensorium.types import Ids


class Item(NamedTuple):
    """A document read."""

    text: Encoded
    pixels: tuple[Pixels, ...]


class DocumentInputs:
    """A document to ids and pixels.

    Args:
        longest: tokens that are read; 256 in Flamingo, 32 of a pair in OpenFlamingo.
        most: pictures that are read.
    """

    def __init__(self, look: Transform, words: Words, longest: int = 256, most: int = 6):
        self.look, self.words, self.longest, self.most = look, words, longest, most
        self.mark = marks(words).picture

    def __call__(self, one: Document, rng: np.random.Generator | None) -> Item:
        text = self.encode(sound(one))
        shown = one.images[: text.pictures]
        return Item(text, tuple(self.look.pixels(data, name=one.id) for data in shown))

    def encode(self, one: Document) -> Encoded:
        """The text alone."""
        return encoded(one, self.words, self.longest, self.most)

    def batch(self, items: Sequence[Item]) -> tuple[Ids, Bool[Tensor, " t"], Pictures]:
        """Texts end to end, which of their tokens are learnt, and the pictures in them."""
        text = lay([item.text.ids for item in items])
        learnt = torch.tensor([mark for item in items for mark in item.text.learnt])
        image = self.look.batch([one for item in items for one in item.pixels])
        return text, learnt, Pictures(image, (text.ids == self.mark).nonzero()[:, 0])
