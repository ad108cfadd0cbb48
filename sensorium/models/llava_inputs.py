"""From conversations with pictures to what a net that reads both is trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from sensorium.data.chat import Template
from sensorium.data.conversations import Conversation, Encoded, encoded
from sensorium.data.ragged import lay
from sensorium.data.tokenizers.words import Words
from sensorium.media import Transform
from sensorium.media.transforms import Pixels
from sensorium.nn.pictured import Pictures
from sensorium.types import Ids


class Item(NamedTuple):
    """A conversation read."""

    text: Encoded
    pixels: tuple[Pixels, ...]


class ConversationInputs:
    """A conversation to ids and pixels, audited (see `data.conversations.audit`).

    Args:
        patches: tokens of a picture.
        longest: tokens that are read; an answer is never cut, but refused.
    """

    def __init__(self, look: Transform, words: Words, how: Template, patches: int, longest: int):
        self.look, self.words, self.how = look, words, how
        self.patches, self.longest = patches, longest

    def __call__(self, one: Conversation, rng: np.random.Generator | None) -> Item:
        pixels = [self.look.pixels(data, name=one.id) for data in one.images]
        return Item(self.encode(one), tuple(pixels))

    def encode(self, one: Conversation) -> Encoded:
        """The text alone: pictures are only places in it."""
        return encoded(one, self.words, self.how, self.patches, self.longest)

    def batch(self, items: Sequence[Item]) -> tuple[Ids, Bool[Tensor, " t"], Pictures]:
        """Texts end to end, which of their tokens are learnt, and the pictures in them."""
        text = lay([item.text.ids for item in items])
        learnt = torch.tensor([mark for item in items for mark in item.text.learnt])
        starts = (text.lengths.cumsum(0) - text.lengths).tolist()
        place = [
            start + hole + k
            for start, item in zip(starts, items, strict=True)
            for hole in item.text.holes
            for k in range(self.patches)
        ]
        pixels = [one for item in items for one in item.pixels]
        side = self.look.spec["size"]
        image = self.look.batch(pixels) if pixels else torch.zeros((0, 3, side, side))
        return text, learnt, Pictures(image, torch.tensor(place, dtype=torch.long))
