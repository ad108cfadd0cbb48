"""Documents of small glyphs whose names are drawn anew for every document.

A kind of glyph is a fixed pattern of 5 x 5 squares. In a document each of a few kinds has a name
that it has in that document alone, so that only what stands before a glyph says what it is called.
A caption has one glyph and its kind's own word, which is the same everywhere.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson
from sensorium.types import Ids

PIXELS, CELLS, SQUARE = 24, 5, 4
KINDS, NAMES = 8, 8
START, MARK, END = 0, 1, 2
CAPTION = 3  # begins a caption, as START a document
KEY = 4  # the words that stand for kinds in texts without pictures
NAME = KEY + KINDS
OWN = NAME + NAMES  # the words of captions
VOCAB = OWN + KINDS
NONE = np.zeros(0, dtype=np.int64)  # no captions


class Documents(NamedTuple):
    """n documents of k items: which kind each is, and the names of the kinds that may occur."""

    kind: Int[np.ndarray, "n k"]
    name: Int[np.ndarray, "n k"]  # of each item, as a token
    known: Int[np.ndarray, "n c"]  # the names of the document's kinds, as tokens


def patterns() -> Float[np.ndarray, "v 5 5"]:
    """One pattern a kind, the same always: 12 of 25 squares are dark."""
    rng = np.random.default_rng(5)
    order = np.argsort(rng.random((KINDS, CELLS**2)), axis=1)
    return (order < 12).astype(np.float32).reshape(KINDS, CELLS, CELLS)


def drawn(
    kind: Int[np.ndarray, " n"], rng: np.random.Generator, noise: float
) -> Float[Tensor, "n 3 24 24"]:
    """Glyphs in a shade of their own, moved by up to 2 pixels, on a noisy ground."""
    n = len(kind)
    big = patterns()[kind].repeat(SQUARE, axis=1).repeat(SQUARE, axis=2)
    shift = rng.integers(0, PIXELS - CELLS * SQUARE + 1, (n, 2))
    picture = np.zeros((n, PIXELS, PIXELS), np.float32)
    side = np.arange(CELLS * SQUARE)
    rows, columns = (shift[:, i, None] + side for i in range(2))
    picture[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]] = big
    ink = rng.uniform(0.6, 1.0, (n, 3, 1, 1)).astype(np.float32)
    ground = rng.uniform(-1.0, -0.6, (n, 3, 1, 1)).astype(np.float32)
    out = ground + (ink - ground) * picture[:, None]
    out += noise * rng.standard_normal(out.shape, dtype=np.float32)
    return torch.from_numpy(out)


def documents(count: int, items: int, kinds: int, rng: np.random.Generator) -> Documents:
    """Documents of so many items, each of any of so many kinds (the same may come again)."""
    pick = np.argsort(rng.random((count, KINDS)), axis=1)[:, :kinds]
    names = NAME + np.argsort(rng.random((count, NAMES)), axis=1)[:, :kinds]
    which = rng.integers(kinds, size=(count, items))
    row = np.arange(count)[:, None]
    return Documents(pick[row, which], names[row, which], names)


def told(of: Documents, captions: Int[np.ndarray, " m"] = NONE) -> Lesson:
    """Documents and captions without pictures: a kind's key stands where its glyph would.

    Args:
        captions: the kinds of the glyphs that have one.
    """
    return Lesson(*_laid(of, captions, KEY + of.kind, KEY + captions))


def shown(
    of: Documents,
    rng: np.random.Generator,
    noise: float,
    captions: Int[np.ndarray, " m"] = NONE,
) -> Lesson:
    """Documents and captions with glyphs; names and own words are learnt."""
    marks = (np.full_like(kinds, MARK) for kinds in (of.kind, captions))
    text, learnt = _laid(of, captions, *marks)
    image = drawn(np.concatenate([of.kind.flatten(), captions]), rng, noise)
    return Lesson(text, learnt, Pictures(image, (text.ids == MARK).nonzero()[:, 0]))


def _laid(
    of: Documents,
    captions: Int[np.ndarray, " m"],
    first: Int[np.ndarray, "n k"],
    alone: Int[np.ndarray, " m"],
) -> tuple[Ids, Bool[Tensor, " t"]]:
    """Texts laid end to end, and what is learnt; `first` and `alone` stand where glyphs do."""
    items = np.stack([first, of.name, np.full_like(first, END)], axis=2)
    begins = np.full((len(first), 1), START)
    rows = np.concatenate([begins, items.reshape(len(first), 3 * first.shape[1])], axis=1)
    said = [np.full_like(alone, CAPTION), alone, OWN + captions, np.full_like(alone, END)]
    text = lay(rows.tolist() + np.stack(said, axis=1).tolist())
    return text, text.ids >= NAME


def asked(
    of: Documents, rng: np.random.Generator, noise: float
) -> tuple[Lesson, Int[Tensor, "n c"], Int[Tensor, " n"]]:
    """The documents up to their last glyph; the names it may have, and which of them it has."""
    n = len(of.kind)
    whole = shown(of, rng, noise)
    ids = whole.text.ids.view(n, -1)[:, :-2]
    text = lay(ids.tolist())
    assert isinstance(whole.source, Pictures)
    source = Pictures(whole.source.image, (text.ids == MARK).nonzero()[:, 0])
    right = (of.known == of.name[:, -1:]).argmax(axis=1)
    lesson = Lesson(text, torch.zeros_like(text.ids, dtype=torch.bool), source)
    return lesson, torch.from_numpy(of.known), torch.from_numpy(right)
