"""Fill in the middle: documents rearranged so that what comes before and after is read first.

Bavarian et al. 2022, "Efficient Training of Language Models to Fill in the Middle" (arXiv
2207.14255): a document is cut at two random places into prefix, middle and suffix. PSM is

    <prefix> prefix <suffix> suffix <middle> middle

and SPM, as SantaCoder and StarCoder were trained (the paper's variant 2, section 3.1),

    <prefix> <suffix> suffix <middle> prefix middle

Cuts are between characters, each part is tokenized by itself, and any part may be empty. A special
token inside a document is never cut and counts as one character. `document` rearranges before
documents are packed, `context` what a packed sample holds of each (the paper's two levels;
StarCoder is trained with the second). Prefix, middle and suffix, joined, are the document again:
see `restored`.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import Words

SPELLINGS = ("<fim_{}>", "<fim-{}>", "<|fim_{}|>", "<|{}|>")


class Marks(NamedTuple):
    """The ids of the special tokens; `end` stands between documents."""

    prefix: int
    middle: int
    suffix: int
    pad: int
    end: int


class Fim(NamedTuple):
    """Which share of documents is rearranged, and which share of those as SPM."""

    rate: float = 0.5
    spm: float = 0.5


Units = list[str | int]  # characters, and special tokens by their ids


def marks(words: Words) -> Marks:
    """The special tokens of a tokenizer, in StarCoder's, SantaCoder's or Codex's spelling.

    Raises:
        DataError: it has none, or no token that ends documents.
    """
    for spelling in SPELLINGS:
        names = [spelling.format(part) for part in ("prefix", "middle", "suffix", "pad")]
        if all(name in words.specials for name in names[:3]):
            break
    else:
        raise DataError("the tokenizer has no tokens for filling in the middle (<fim_prefix>, ...)")
    if words.eos is None:
        raise DataError("the tokenizer has no token that ends a document")
    prefix, middle, suffix = (words.specials[name] for name in names[:3])
    return Marks(prefix, middle, suffix, words.specials.get(names[3], words.eos), words.eos)


def checked(fim: Fim) -> Fim:
    """Raises DataError where a share is none."""
    if not 0 <= fim.rate <= 1 or not 0 <= fim.spm <= 1:
        raise DataError(f"{fim}: rate and spm are shares, from 0 to 1")
    return fim


def document(text: str, words: Words, fim: Fim, rng: np.random.Generator) -> list[int]:
    """A document's ids, rearranged with the chance `fim.rate`; without the token that ends it."""
    if rng.random() >= checked(fim).rate:
        return words.encode(text)
    return _permuted(list(text), words, fim, rng)


def context(
    ids: Sequence[int], words: Words, fim: Fim, rng: np.random.Generator
) -> tuple[list[int], int]:
    """A packed sample with each of its documents rearranged with the chance `fim.rate`.

    A document that rearranging makes longer pushes the end of the sample out; one made shorter
    leaves room at the end, which is filled with `Marks.pad`. A piece of a document that begins or
    ends inside a character stays as it is.

    Returns:
        As many ids as before, and how many of them are no padding.
    """
    of, made = marks(words), list[int]()
    checked(fim)
    for ended, group in groupby(ids, key=lambda one: one == of.end):
        piece = list(group)
        if ended:  # several in a row end nothing more than one does
            made.append(of.end)
            continue
        units = _units(piece, words) if rng.random() < fim.rate else None
        made += piece if units is None else _permuted(units, words, fim, rng)
    made = made[: len(ids)]
    return made + [of.pad] * (len(ids) - len(made)), len(made)


def cut(units: Units, rng: np.random.Generator) -> tuple[Units, Units, Units]:
    """Prefix, middle and suffix: two places are drawn evenly, ends included."""
    first, second = sorted(rng.integers(0, len(units), size=2, endpoint=True).tolist())
    return units[:first], units[first:second], units[second:]


def arranged(parts: Sequence[Sequence[int]], of: Marks, spm: bool) -> list[int]:
    """The ids of prefix, middle and suffix in the order that they are read."""
    prefix, middle, suffix = parts
    if spm:
        return [of.prefix, of.suffix, *suffix, of.middle, *prefix, *middle]
    return [of.prefix, *prefix, of.suffix, *suffix, of.middle, *middle]


def asked(prefix: str, suffix: str, words: Words, spm: bool = False) -> list[int]:
    """What a model is given to fill in the middle; what follows is the middle."""
    parts = (words.encode(prefix), [], words.encode(suffix))
    return arranged(parts, marks(words), spm)


def restored(ids: Sequence[int], of: Marks) -> list[int]:
    """A rearranged document's ids in the order of its text; one that is not, as it is.

    Raises:
        DataError: the tokens are not in an order that `arranged` makes.
    """
    ids = list(ids)
    signs = (of.prefix, of.suffix, of.middle)
    found = [one for one in ids if one in signs]
    if not found:
        return ids
    if found != list(signs) or ids[0] != of.prefix:
        raise DataError("the tokens for prefix, suffix and middle are not in this order, once each")
    suffix, middle = ids.index(of.suffix), ids.index(of.middle)
    before, after, rest = ids[1:suffix], ids[suffix + 1 : middle], ids[middle + 1 :]
    return [*before, *rest, *after]  # SPM has nothing before the suffix, and its prefix in the rest


def _permuted(units: Units, words: Words, fim: Fim, rng: np.random.Generator) -> list[int]:
    parts = [_ids(part, words) for part in cut(units, rng)]
    return arranged(parts, marks(words), bool(rng.random() < fim.spm))


def _units(ids: Sequence[int], words: Words) -> Units | None:
    """Characters and special tokens; None where text begins or ends inside a character."""
    apart = set(words.specials.values())
    found: Units = []
    for special, group in groupby(ids, key=lambda one: one in apart):
        if special:
            found += list(group)
            continue
        try:
            found += b"".join(map(words.spelt, group)).decode()
        except UnicodeDecodeError:
            return None
    return found


def _ids(units: Units, words: Words) -> list[int]:
    found: list[int] = []
    for text, group in groupby(units, key=lambda one: isinstance(one, str)):
        if text:
            found += words.encode("".join(map(str, group)))
        else:
            found += [one for one in group if isinstance(one, int)]
    return found
