"""Emoji: the data set that travels inside the package.

About 1,870 emoji, each drawn by three to seven vendors, with the short names and keywords of
Unicode CLDR in fourteen languages. One vendor held out (pictures of a style never seen) and one
part held out (emoji never seen) make two honest tests of an image-text model out of eleven
megabytes.

Pictures are WebP with alpha, SIDE x SIDE pixels; what lies under transparent pixels is arbitrary,
so blend them onto a colour. Every folder of `emoji_data` has its own licence and attribution:
CLDR is Unicode-3.0; `noto` and `fxemoji` Apache-2.0; `twemoji` and `emojione` CC-BY-4.0;
`openmoji` CC-BY-SA-4.0; `fluent` and `fluent3d` MIT. The last two are renderings of one design:
hold them out together.
"""

import gzip
import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, overload

from sensorium.data.errors import DataError
from sensorium.types import Captioned

VENDORS: tuple[str, ...] = (
    *("noto", "twemoji", "openmoji", "fluent", "fluent3d", "emojione", "fxemoji"),
)
HELD_OUT_VENDOR = "noto"
LANGUAGES: tuple[str, ...] = (
    *("en", "de", "es", "fr", "pt", "pl", "tr"),
    *("ru", "zh", "ja", "ko", "ar", "hi", "sw"),
)
SIDE = 64

Part = Literal["train", "unseen", "all"]
PARTS: tuple[Part, ...] = ("train", "unseen", "all")

_DATA = Path(__file__).parent / "emoji_data"
_KEYWORDS_A_CAPTION = 3
# Joiner, emoji style, female, male, and "facing right": they make variants, not other emoji.
_VARIANT = frozenset({0x200D, 0xFE0F, 0x2640, 0x2642, 0x27A1})
_PERSON = {0x1F468: 0x1F9D1, 0x1F469: 0x1F9D1}  # man, woman -> person


class Row(NamedTuple):
    """One emoji: its code points ("1F600"), its file name, and what CLDR says of it."""

    code: str
    file: str
    char: str
    group: str
    subgroup: str
    texts: dict[str, tuple[str, list[str]]]  # language -> (short name, keywords)


class Emoji(Sequence[Captioned]):
    """One item for each emoji and vendor that draws it: emoji in Unicode's order, then vendors.

    Small to pickle: each process reads the pictures from the package when it first needs them.
    """

    def __init__(
        self, vendors: Sequence[str], languages: Sequence[str], part: Part, keywords: bool
    ) -> None:
        _known("vendors", vendors, VENDORS)
        _known("languages", languages, LANGUAGES)
        _known("part", (part,), PARTS)
        self.vendors, self.languages = tuple(vendors), tuple(languages)
        self.part, self.keywords = part, keywords
        drawn = {vendor: _files(vendor) for vendor in self.vendors}
        self._items = tuple(
            (row, vendor)
            for row, content in enumerate(_rows())
            if part == "all" or (part == "unseen") == unseen(content.code)
            for vendor in self.vendors
            if content.file in drawn[vendor]
        )

    def __len__(self) -> int:
        return len(self._items)

    def __reduce__(self) -> tuple:
        return Emoji, (self.vendors, self.languages, self.part, self.keywords)

    @overload
    def __getitem__(self, index: int) -> Captioned: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Captioned, ...]: ...
    def __getitem__(self, index: int | slice) -> Captioned | tuple[Captioned, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(len(self))[index])
        at, vendor = self._items[index]
        row = _rows()[at]
        texts: list[str] = []
        for language in self.languages:
            texts.append(row.texts[language][0])
            if self.keywords:
                texts.extend(_keyword_captions(language)[at])
        return Captioned(_pictures(vendor)[row.file], tuple(texts), f"emoji/{vendor}/{row.code}")

    def key(self, index: int) -> str:
        """The emoji of an item as code points; equal for items that show the same emoji.

        A contrastive batch should hold each key once: two drawings of one emoji share their texts.
        """
        return _rows()[self._items[index][0]].code

    def vendor(self, index: int) -> str:
        """Who drew the picture of an item."""
        return self._items[index][1]


def emoji(
    vendors: Sequence[str] = VENDORS,
    languages: Sequence[str] = ("en",),
    part: Part = "all",
    keywords: bool = True,
) -> Emoji:
    """Emoji drawn by `vendors`, captioned in `languages`.

    `texts[0]` of an item is the CLDR short name in the first language ("grinning face"). With
    `keywords`, each name is followed by captions of up to three keywords of the same language
    ("grin, happy, laugh"); captions that would fit two emoji are left out. Without, there is one
    text a language. `part` is "train" (about 90 % of the emoji), "unseen" (the rest; see `unseen`)
    or "all".

    Raises DataError for a vendor, language or part that there is not.
    """
    return Emoji(vendors, languages, part, keywords)


def names(language: str = "en", part: Part = "all") -> dict[str, str]:
    """Code points -> CLDR short name, in Unicode's order; the prompts of a zero-shot test."""
    _known("languages", (language,), LANGUAGES)
    _known("part", (part,), PARTS)
    return {
        row.code: row.texts[language][0]
        for row in _rows()
        if part == "all" or (part == "unseen") == unseen(row.code)
    }


def unseen(code: str) -> bool:
    """Whether an emoji ("1F3C3-200D-2640-FE0F") is in the part "unseen".

    Decided by a hash of its code points without gender, direction and style, so that "woman
    running" is never learned from when "man running" is asked; the same for every vendor.
    """
    points = [int(point, 16) for point in code.split("-")]
    base = [_PERSON.get(p, p) for p in points if p not in _VARIANT] or points
    digest = hashlib.sha256("-".join(f"{p:X}" for p in base).encode()).digest()
    return int.from_bytes(digest[:8]) % 10 == 0


def verify() -> None:
    """Check every data file against the sha256 in `sources.json`.

    Raises DataError naming the first file that is not as it was published.
    """
    for name, said in json.loads((_DATA / "sources.json").read_text())["files"].items():
        found = hashlib.sha256((_DATA / name).read_bytes()).hexdigest()
        if found != said["sha256"]:
            raise DataError(
                f"{_DATA / name}: sha256 {found}, but {said['sha256']} was published; "
                "install the package again"
            )


def _known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    wrong = [name for name in given if name not in known]
    if wrong or not given or len(set(given)) < len(given):
        raise DataError(
            f"emoji: {what} {given!r}: expected one or more of {', '.join(known)}, each once"
        )


@cache
def _rows() -> tuple[Row, ...]:
    with gzip.open(_DATA / "cldr" / "texts.jsonl.gz", "rt", encoding="utf-8") as lines:
        return tuple(
            Row(r["code"], f"{r['plain']}.webp", r["char"], r["group"], r["subgroup"], r["texts"])
            for r in map(json.loads, lines)
        )


@cache
def _keyword_captions(language: str) -> tuple[tuple[str, ...], ...]:
    """The keyword captions of each row, less those that two rows would share."""
    n = _KEYWORDS_A_CAPTION
    made: list[list[str]] = []
    for row in _rows():
        words = row.texts[language][1]
        made.append([", ".join(words[i : i + n]) for i in range(0, len(words), n)])
    count = Counter(caption for captions in made for caption in captions)
    return tuple(tuple(c for c in captions if count[c] == 1) for captions in made)


@cache
def _files(vendor: str) -> frozenset[str]:
    with zipfile.ZipFile(_DATA / vendor / "pictures.zip") as file:
        return frozenset(file.namelist())


@cache
def _pictures(vendor: str) -> dict[str, bytes]:
    """All pictures of a vendor (two megabytes): safe after a fork, as no file stays open."""
    with zipfile.ZipFile(_DATA / vendor / "pictures.zip") as file:
        return {name: file.read(name) for name in file.namelist()}
