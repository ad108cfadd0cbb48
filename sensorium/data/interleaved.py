"""Documents of words and pictures, as they stand: checked, encoded, and what of them is learnt.

A document is a list of parts, a text or a picture each (`PICTURE`). `<image>`, typed in a text, is
letters: places of pictures are parts, and nothing people write becomes one.

Encoded as OpenFlamingo does (train/data.py): `<image>text<|endofchunk|>`, a chunk a picture, the
end behind the whole. What is learnt (train/train_utils.py, after Alayrac et al. 2022, section 3.2):
words behind a picture up to the end of their chunk, and that end; nothing before the first picture,
no `<image>`, and nothing between the end of a chunk and the next picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import Words, readable

MARK, CHUNK = "<image>", "<|endofchunk|>"


class Picture(NamedTuple):
    """The place of a document's next picture."""


PICTURE = Picture()
Part = str | Picture


class Document(NamedTuple):
    """Parts in order, and the pictures, undecoded, in the order of their places."""

    parts: tuple[Part, ...]
    images: tuple[bytes, ...]
    id: str  # names the file (and row) it came from; error messages show it


class Encoded(NamedTuple):
    """Ids with a mark for each picture, which of them are learnt, and how many pictures are read.

    `pictures` are the first so many of the document's.
    """

    ids: list[int]
    learnt: list[bool]
    pictures: int


class Marks(NamedTuple):
    """The tokens that stand for a picture and for the end of a chunk, and that of a whole text."""

    picture: int
    chunk: int
    end: int | None


def marks(words: Words) -> Marks:
    """The tokens of a tokenizer.

    DataError: it has no token for one of them.
    """
    missing = [name for name in (MARK, CHUNK) if name not in words.specials]
    if missing:
        raise DataError(
            f"the tokenizer has no token {' and no '.join(missing)}: it is not one of a Flamingo"
        )
    return Marks(words.specials[MARK], words.specials[CHUNK], words.eos)


def sound(one: Document, count: int | None = None) -> Document:
    """The document, if it can be read.

    Args:
        count: how many pictures there are, where they are not read yet.

    Raises:
        DataError: other numbers of pictures and places, no picture, or no words; it says which.
    """
    places = sum(isinstance(part, Picture) for part in one.parts)
    count = len(one.images) if count is None else count
    if places != count:
        raise DataError(
            f"{one.id}: {count} pictures, and {places} places for them: each picture needs one"
        )
    if not places:
        raise DataError(f"{one.id}: shows no picture: nothing in it would be learnt")
    if not any(isinstance(part, str) and part.strip() for part in one.parts):
        raise DataError(f"{one.id}: has no words")
    return one


def spread(one: Document) -> list[int | str]:
    """The document as pieces: texts, 0 for a picture, 1 for the end of a chunk.

    Spaces around marks are left out, as OpenFlamingo does; the end of a chunk stands before the
    next picture, if words stand between them, and behind the last.
    """
    pieces: list[int | str] = []
    for part in one.parts:
        if isinstance(part, Picture):
            if pieces and isinstance(pieces[-1], str):
                pieces[-1] = pieces[-1].rstrip()
                if 0 in pieces:
                    pieces.append(1)
            pieces.append(0)
            continue
        text = readable(part, one.id)
        if pieces and isinstance(pieces[-1], str):
            pieces[-1] = f"{pieces[-1].rstrip()} {text.lstrip()}".rstrip()
        elif text.strip():
            pieces.append(text.strip())
    return [*pieces, 1] if pieces and isinstance(pieces[-1], str) else pieces


def encoded(one: Document, words: Words, longest: int, most: int = 6) -> Encoded:
    """A document as it is trained: its first pictures, its first tokens.

    Args:
        longest: tokens that are read; what stands behind is left out.
        most: pictures that are read; what stands behind them is left out (OpenFlamingo: 6).

    Raises:
        DataError: as `sound`; nothing that is read would be learnt.
    """
    known = marks(words)
    ids: list[int] = [words.bos] if words.begins and words.bos is not None else []
    pictures, end = 0, [known.end] if known.end is not None else []
    for piece in spread(one):
        if piece == 0 and pictures == most:
            end = []
            break
        if piece == 0:
            pictures += 1
            ids.append(known.picture)
        elif piece == 1:
            ids.append(known.chunk)
        else:
            ids += words.encode(str(piece), one.id)
    ids = shown([*shown(ids, known), *end][:longest], known)
    learnt = learns(ids, known)
    if not any(learnt):
        raise DataError(
            f"{one.id}: no token of the first {longest} is learnt: no words follow a picture there"
        )
    return Encoded(ids, learnt, ids.count(known.picture))


def shown(ids: list[int], known: Marks) -> list[int]:
    """The tokens without pictures at their end, of which nothing is said."""
    count = len(ids)
    while count and ids[count - 1] == known.picture:
        count -= 1
    return ids[:count]


def learns(ids: Sequence[int], known: Marks) -> list[bool]:
    """Which tokens are learnt, see the module's text."""
    out, open_ = [], False
    for id in ids:
        if id == known.picture:
            open_ = True
            out.append(False)
        else:
            out.append(open_)
        if id == known.chunk:
            open_ = False
    return out
