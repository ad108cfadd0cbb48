"""openclipart: some 7,500 drawings with a title, keywords and sometimes a description.

Debian's package openclipart-svg (release 0.18 of the Open Clip Art Library), read where it is
installed; public domain. Noisy labels in several languages, most of them English.
"""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from sensorium.data.errors import DataError
from sensorium.datasets.catalogue import Part
from sensorium.datasets.files import found_below, read
from sensorium.datasets.svg import Drawings, held_out, renderer

DRAWINGS = "/usr/share/openclipart/svg"

Text = Literal["title", "description", "keywords"]

NO_KEYWORDS = {"unsorted", "clip art", "clipart", "clip_art"}


def openclipart(
    root: str | Path = DRAWINGS,
    part: Part = "train",
    texts: Sequence[Text] = ("title", "description", "keywords"),
    side: int = 256,
    cache: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Drawings:
    """Drawings with those of these texts that they have; keywords are one text, by commas.

    Drawings without any are left out, and so are byte for byte copies (the first by path stays).
    They are rendered when read, `side` pixels at most on white, into `cache` (see
    sensorium.datasets.svg for renderers). One file name in ten, by its SHA-256, is for the test.
    Opening reads all drawings; `progress(done, total)` counts them.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; apt-get install openclipart-svg")
    if part not in ("train", "test"):
        raise DataError(f"part {part!r}: must be 'train' or 'test'")
    if (
        isinstance(texts, str)
        or not texts
        or not set(texts) <= {"title", "description", "keywords"}
    ):
        raise DataError(f"texts {texts!r}: choose from 'title', 'description', 'keywords'")
    tool = renderer()
    files = found_below(root, (".svg",))
    seen: set[bytes] = set()
    kept: list[str] = []
    said: list[tuple[str, ...]] = []
    for done, name in enumerate(files, 1):
        data = read(str(root), name)
        digest = hashlib.sha256(data).digest()
        if digest not in seen:
            seen.add(digest)
            found = words(data)
            chosen = tuple(found[t] for t in texts if t in found)
            if chosen and held_out(name.rsplit("/", 1)[-1]) == (part == "test"):
                kept.append(name)
                said.append(chosen)
        if progress is not None and (done % 500 == 0 or done == len(files)):
            progress(done, len(files))
    if not seen:
        raise DataError(f"{root}: holds no .svg files; apt-get install openclipart-svg")
    return Drawings(root, kept, said, tool, side, cache)


def words(svg: bytes) -> dict[str, str]:
    """Title, description and keywords in a drawing's metadata; none that is empty.

    Read by pattern, not parsed: the files are not all well-formed, and an XML parser would follow
    the entities that they declare.
    """
    match = re.search(rb"<metadata\b.*?</metadata", svg, re.DOTALL)
    meta = match.group().decode("utf-8", "replace") if match else ""
    meta = re.sub(r"<cc:Agent\b.*?</cc:Agent>", "", meta, flags=re.DOTALL)
    found: dict[str, str] = {}
    for name in ("title", "description"):
        match_text = re.search(rf"<dc:{name}\b[^>]*>([^<]*)</dc:{name}>", meta)
        text = plain(match_text.group(1)) if match_text else ""
        if text:
            found[name] = text
    subject = re.search(r"<dc:subject\b.*?</dc:subject>", meta, re.DOTALL)
    items = re.findall(r"<rdf:li\b[^>]*>([^<]*)</rdf:li>", subject.group()) if subject else []
    keywords = dict.fromkeys(k for k in map(plain, items) if k and k.lower() not in NO_KEYWORDS)
    if keywords:
        found["keywords"] = ", ".join(keywords)
    return found


def plain(text: str) -> str:
    """Text without entities, runs of spaces and zero bytes."""
    return " ".join(html.unescape(text).replace("\0", "").split())
