"""tuxpaint: about 950 stamps of Tux Paint, each with a sentence in up to 78 languages.

Debian's package tuxpaint-stamps-default, read where it is installed. GPL-2: used as installed,
never copied into this library. Cut-out photographs and drawings, most on a transparent ground.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets.catalogue import Part
from sensorium.datasets.files import found_below, listed
from sensorium.datasets.svg import Drawings, held_out, renderer
from sensorium.datasets.tables import lines

STAMPS = "/usr/share/tuxpaint/stamps"


def tuxpaint(
    root: str | Path = STAMPS,
    languages: Sequence[str] = ("en",),
    part: Part = "train",
    svg: bool = False,
    side: int = 256,
    cache: str | Path | None = None,
) -> Drawings:
    """Stamps with a text in any of these languages, their texts in that order.

    Languages are written as in the stamps: es, pt_BR, ca@valencia, zh_CN. Stamps that exist as
    PNG come as they are; `svg` adds those that exist as SVG only, rendered at `side` pixels into
    `cache` (see sensorium.datasets.svg for renderers). One stamp in ten, by the SHA-256 of its
    path without ending, is for the test; some stamps of either part have the same sentence.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; apt-get install tuxpaint-stamps-default")
    if part not in ("train", "test"):
        raise DataError(f"part {part!r}: must be 'train' or 'test'")
    found = found_below(root, (".png", ".svg", ".txt"))
    there = set(found)
    kept: list[str] = []
    texts: list[tuple[str, ...]] = []
    spoken: Counter[str] = Counter()
    for name in found:
        stem = name[:-4]
        image = next((stem + e for e in (".png", ".svg")[: 1 + svg] if stem + e in there), None)
        if not name.endswith(".txt") or image is None:
            continue
        said = sentences(root / name)
        spoken.update(said.keys())
        chosen = tuple(said[code] for code in languages if code in said)
        if chosen and held_out(stem) == (part == "test"):
            kept.append(image)
            texts.append(chosen)
    unknown = [code for code in languages if code not in spoken]
    if unknown or not languages or isinstance(languages, str):
        raise DataError(
            f"languages {languages!r}: give a list of codes; the stamps in {root} have "
            f"{listed(c for c, _ in spoken.most_common())}"
        )
    return Drawings(root, kept, texts, renderer() if svg else None, side, cache)


def sentences(path: Path) -> dict[str, str]:
    """The sentence of a stamp by language: English on the first line, then xx.utf8=..."""
    said: dict[str, str] = {}
    for number, line in enumerate(lines(path), 1):
        code, equals, text = ("en.utf8", "=", line) if number == 1 else line.partition("=")
        if not line.strip():
            continue
        if not equals or not code.endswith(".utf8"):
            raise DataError(f"{path}: line {number}: expected LANGUAGE.utf8=TEXT")
        if text.strip():
            said[code.removesuffix(".utf8").strip()] = text.strip()
    return said
