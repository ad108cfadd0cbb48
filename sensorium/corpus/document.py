"""What travels through the pipeline: a file of code with where it is from; stages that judge it."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

ALNUM = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALPHA = ALNUM[10:]
BEYOND = re.compile(r"[^\x00-\x7f]")


class Document(NamedTuple):
    """A text file.

    Attributes:
        content: its text.
        path: where it lies in its repository.
        repo: owner/name where known, else the name of the archive or folder.
        licenses: SPDX identifiers of every licence found for it; empty: none was found.
        lang: its language, by The Stack's names; "": not detected yet, or none of them.
        ext: the extension without its dot.
        stars: of the repository; -1: not known.
        hexsha: what git calls the file: SHA-1 of "blob", length and bytes.
    """

    content: str
    path: str
    repo: str
    licenses: tuple[str, ...] = ()
    lang: str = ""
    ext: str = ""
    stars: int = -1
    hexsha: str = ""


class Dropped(NamedTuple):
    """Why a document goes: `reason` is counted, `detail` is this document's own."""

    reason: str
    detail: str = ""


class Stage(NamedTuple):
    """A judgement of one document by itself: it is kept, changed or dropped.

    `keep` must travel to other processes: a function of a module, or `functools.partial` of one.
    `about` holds its settings as JSON values; a run that goes on must have the same.
    """

    name: str
    keep: Callable[[Document], Document | Dropped]
    about: Mapping[str, Any]


class Across(NamedTuple):
    """A judgement over all documents: of those that share a key, the first is kept.

    `look` gives a document's keys, one array of the same length for all; two documents are the
    same when they agree in a key at the same place, and so on from one to the next. None: this
    document is like no other.
    """

    name: str
    look: Callable[[Document], np.ndarray | None]
    about: Mapping[str, Any]


def blob(data: bytes) -> str:
    """The name that git gives a file of these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def extension(path: str) -> str:
    """What follows the last dot of a file's name; "" where there is none, or it leads."""
    name = path.rpartition("/")[2]
    stem, dot, ext = name.rpartition(".")
    return ext if dot and stem else ""


def line_lengths(content: str) -> tuple[float, int]:
    """Mean and greatest length of the lines, in characters (`str.splitlines`)."""
    lengths = [len(line) for line in content.splitlines()]
    return (sum(lengths) / len(lengths), max(lengths)) if lengths else (0.0, 0)


def alphanumeric(content: str) -> float:
    """The share of characters that are letters or digits (`str.isalnum`)."""
    return _share(content, ALNUM, str.isalnum)


def alphabetic(content: str) -> float:
    """The share of characters that are letters (`str.isalpha`)."""
    return _share(content, ALPHA, str.isalpha)


def _share(content: str, ascii_ones: bytes, test: Callable[[str], bool]) -> float:
    if not content:
        return 0.0
    if content.isascii():
        data = content.encode()
        return 1 - len(data.translate(None, ascii_ones)) / len(data)
    beyond = BEYOND.findall(content)
    plain = content.encode("ascii", "ignore")
    count = len(plain) - len(plain.translate(None, ascii_ones)) + sum(map(test, beyond))
    return count / len(content)
