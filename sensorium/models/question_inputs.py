"""From questions about pictures to what a net that reads both is given; in training and serving."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from sensorium.data.cleaning import question as cleaned
from sensorium.data.errors import DataError
from sensorium.data.patched import lay_patches
from sensorium.data.questions import Box, Question
from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.data.tokenizers import WordPiece
from sensorium.media import Transform, open_image
from sensorium.models.visualbert import question
from sensorium.types import Joint, JointPair, Pictured, Shared

KEPT = 512 << 20  # bytes of read pictures that are kept in a process


Change = Callable[[UInt8[np.ndarray, "y x 3"], np.random.Generator], UInt8[np.ndarray, "y x 3"]]


class Sees(NamedTuple):
    """How a net sees a picture, and how it is asked.

    Attributes:
        picture: "pixels" (all of one size), "patches" (of any shape, cut into squares of `patch`
            pixels), "crops" (what each known box cuts out), "features" (a detector's regions).
        words: "plain" ([CLS] question [SEP]), "masked" ([CLS] question ? [MASK] [SEP]), or "clean"
            (plain, once punctuation is removed as ALBEF removes it).
    """

    picture: Literal["pixels", "patches", "crops", "features"]
    words: Literal["plain", "masked", "clean"]
    patch: int = 0


class Features(NamedTuple):
    """A picture's regions (features, or the pixels of crops); boxes are shares of its sides."""

    features: Float[np.ndarray, "r c"] | UInt8[np.ndarray, "r c"]
    boxes: Float[np.ndarray, "r 4"]


class Item(NamedTuple):
    """A question as arrays: its pictures (pixels, or regions), and the ids of its words."""

    pictures: tuple[Any, ...]
    ids: list[int]


class QuestionInputs:
    """Question to `Item`; `joint` makes the net's input of a list of those.

    Args:
        look: of the picture; for crops of each crop; None for features.
        features: a picture's regions by the id of the question, where features are seen.
        change: of whole pictures while training (`media.rand_augment`).
    """

    def __init__(
        self,
        look: Transform | None,
        words: WordPiece,
        sees: Sees,
        features: Mapping[str, Sequence[Features]] | None = None,
        change: Change | None = None,
    ):
        self.look, self.words, self.sees, self.change = look, words, sees, change
        self.features = features or {}
        self.kept: dict[tuple[bytes, tuple[Box, ...]], Any] = {}
        self.bytes = 0

    def __call__(self, sample: Question, rng: np.random.Generator | None = None) -> Item:
        ids = self.encode(sample.text, sample.id)
        if self.sees.picture == "features":
            return Item(tuple(self.found(sample)), ids)
        boxes = sample.boxes or ((),) * len(sample.images)
        if self.sees.picture == "crops" and not sample.boxes:
            raise DataError(
                f"{sample.id}: this net sees regions and no boxes are given: find them with a"
                " detector, or give a file of regions"
            )
        pairs = zip(sample.images, boxes, strict=True)
        seen = tuple(self.picture(*pair, sample.id) for pair in pairs)
        if rng is not None and self.change is not None and self.sees.picture != "crops":
            seen = tuple(self.change(one, rng) for one in seen)
        return Item(seen, ids)

    def encode(self, text: str, where: str) -> list[int]:
        """The ids of a question as the net is asked. DataError: it does not fit."""
        if self.sees.words == "masked":
            return question(self.words, text, where)
        return self.words.encode(self.worded(text), where)

    def worded(self, text: str) -> str:
        """A question as its words are read; none is cut off here."""
        return cleaned(text, len(text) + 1) if self.sees.words == "clean" else text

    def found(self, sample: Question) -> Sequence[Features]:
        """The regions of a question's pictures. DataError: there are none."""
        if sample.id not in self.features:
            raise DataError(f"{sample.id}: no regions of its picture are known")
        return self.features[sample.id]

    def picture(self, image: bytes, boxes: tuple[Box, ...], name: str) -> Any:
        """A picture's pixels, or its crops and boxes; read once."""
        mine = boxes if self.sees.picture == "crops" else ()
        key = hashlib.sha256(image).digest(), mine
        seen = self.kept.get(key)
        if seen is None:
            assert self.look is not None
            if self.sees.picture == "crops":
                seen = cut_out(image, boxes, self.look, name)
                size = seen.features.nbytes
            else:
                seen = self.look.pixels(image, name=name)
                size = seen.nbytes
            if self.bytes + size <= KEPT:
                self.kept[key] = seen
                self.bytes += size
        return seen

    def joint(self, items: Sequence[Item]) -> Joint | JointPair:
        """Pictures and words of several questions, all about one picture or all about two."""
        text = lay([item.ids for item in items])
        counts = {len(item.pictures) for item in items}
        if counts == {1}:
            return Joint(self.shown([item.pictures[0] for item in items]), text)
        if counts == {2}:
            first, second = ([item.pictures[i] for item in items] for i in (0, 1))
            return JointPair(self.shown(first), self.shown(second), text)
        raise DataError(f"questions about {sorted(counts)} pictures: one each, or two each")

    def shown(self, pictures: Sequence[Any]) -> Pictured:
        """Pictures as the net reads them."""
        if self.sees.picture == "features":
            return lay_regions([Looked(*map(torch.from_numpy, one)) for one in pictures])
        assert self.look is not None
        if self.sees.picture == "pixels":
            return self.once(pictures)
        if self.sees.picture == "patches":
            return lay_patches([self.look.normalise(one) for one in pictures], self.sees.patch)
        return lay_regions([self.flat(one) for one in pictures])

    def once(self, pictures: Sequence[Any]) -> Pictured:
        """Pixels; a picture that several questions are about is there once."""
        assert self.look is not None
        single = {id(one): one for one in pictures}
        images = self.look.batch(list(single.values()))
        if len(single) == len(pictures):
            return images
        place = {name: at for at, name in enumerate(single)}
        return Shared(images, torch.tensor([place[id(one)] for one in pictures]))

    def flat(self, one: Features) -> Looked:
        """Crops as features: pixels, normalised and laid flat."""
        assert self.look is not None
        side = self.look.spec["size"]
        if len(one.boxes) == 0:
            return Looked(torch.zeros(0, 3 * side**2), torch.zeros(0, 4))
        crops: Tensor = self.look.batch(list(one.features.reshape(-1, side, side, 3)))
        return Looked(crops.flatten(1), torch.from_numpy(one.boxes))


def cut_out(image: bytes, boxes: tuple[Box, ...], look: Transform, name: str) -> Features:
    """What each box shows, as `look` has it, laid flat; a box covers at least one pixel.

    DataError: a box lies outside the picture, is not finite or has no area.
    """
    picture = open_image(image, name=name)
    width, height = picture.size
    side, crops = look.spec["size"], []
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        fine = np.isfinite([x1, y1, x2, y2]).all() and x1 < x2 and y1 < y2
        if not fine or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
            raise DataError(
                f"{name}: box {number} {(x1, y1, x2, y2)} has no area in a picture of"
                f" {width} x {height} pixels"
            )
        left, top = min(max(int(x1), 0), width - 1), min(max(int(y1), 0), height - 1)
        right = max(min(int(np.ceil(x2)), width), left + 1)
        bottom = max(min(int(np.ceil(y2)), height), top + 1)
        crop = picture.crop((left, top, right, bottom))
        crops.append(look.pixels(crop, name=name))
    shares = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    shares = np.clip(shares / np.array([width, height] * 2, dtype=np.float32), 0, 1)
    laid = np.stack(crops) if crops else np.zeros((0, side, side, 3), dtype=np.uint8)
    return Features(laid.reshape(len(boxes), 3 * side**2), shares)
