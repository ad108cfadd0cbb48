"""Documents of small glyphs whose names are drawn anew for every document.

A kind of glyph is a fixed pattern of 5 x 5 squares. In a document each of a few kinds has a name
that it has in that document alone, so that only what stands before a glyph says what it is called.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson

PIXELS, CELLS, SQUARE = 24, 5, 4
KINDS, NAMES = 8, 8
START, MARK, END = 0, 1, 2
KEY = 3  # the words that stand for kinds in texts without pictures
NAME = KEY + KINDS
VOCAB = NAME + NAMES


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


def told(of: Documents) -> Lesson:
    """The documents as texts without pictures: a kind's own word stands where its glyph would."""
    return _laid(of, KEY + of.kind, None)


def shown(of: Documents, rng: np.random.Generator, noise: float) -> Lesson:
    """The documents with glyphs; names, and the end behind each, are learnt."""
    return _laid(of, np.full_like(of.kind, MARK), drawn(of.kind.flatten(), rng, noise))


def _laid(of: Documents, first: Int[np.ndarray, "n k"], image: Tensor | None) -> Lesson:
    end = np.full_like(of.kind, END)
    rows = np.stack([first, of.name, end], axis=2).reshape(len(first), -1)
    ids = np.concatenate([np.full((len(first), 1), START), rows], axis=1)
    text = lay(ids.tolist())
    learnt = text.ids >= NAME
    if image is None:
        return Lesson(text, learnt)
    return Lesson(text, learnt, Pictures(image, (text.ids == MARK).nonzero()[:, 0]))


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
