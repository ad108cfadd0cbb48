"""A file as a source holds it, before anyone has looked into it; and what is made of it."""

import codecs
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sensorium.corpus.document import Document, Dropped, blob, extension
from sensorium.corpus.licences import LARGEST as LARGEST_LICENCE
from sensorium.corpus.licences import is_licence, of_file, project

BOM = codecs.BOM_UTF8.decode()


class Found(NamedTuple):
    """A member of a source: its bytes, or why they were not read."""

    path: str
    size: int
    data: bytes | None = None
    why: str = ""


class Refused(NamedTuple):
    """A file that became no document: what the ledger says of it."""

    repo: str
    path: str
    size: int
    why: Dropped


def too_large(largest: int) -> str:
    """The reason for leaving out what is above the budget."""
    return f"more than {largest:,} bytes"


def printable(path: str) -> str:
    """A path as text that can be stored: bytes that are no UTF-8 are written as \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def text_of(data: bytes) -> str | Dropped:
    """A file's text: UTF-8 without its mark; why not, where it is none."""
    if not data:
        return Dropped("empty")
    if b"\0" in data:
        return Dropped("binary")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return Dropped("not UTF-8", f"byte {error.start + 1}")
    return text.removeprefix(BOM) if text.strip() else Dropped("empty")


def licences_of(files: Iterable[Found]) -> dict[str, tuple[str, ...]]:
    """The licences of each folder, from those files among all that may say them."""
    read = {
        one.path: one.data.decode("utf-8", "replace")
        for one in files
        if one.data is not None and is_licence(one.path) and len(one.data) <= LARGEST_LICENCE
    }
    return project(read)


def documents(
    repo: str, files: Iterable[Found], folders: Mapping[str, tuple[str, ...]]
) -> Iterator[Document | Refused]:
    """Documents of a repository's files, and what was refused, in the order of the files."""
    for one in files:
        if one.data is None:
            yield Refused(repo, printable(one.path), one.size, Dropped(one.why))
            continue
        text = text_of(one.data)
        if isinstance(text, Dropped):
            yield Refused(repo, printable(one.path), one.size, text)
            continue
        path = printable(one.path)
        names = of_file(one.path, folders)
        ext, name = extension(path), blob(one.data)
        yield Document(text, path, repo, names, ext=ext, hexsha=name)
