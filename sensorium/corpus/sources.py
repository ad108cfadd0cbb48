"""From paths to documents: what is a source, what belongs together, and reading it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sensorium.corpus import archives, folders, rows
from sensorium.corpus.document import Document, Dropped
from sensorium.corpus.found import Refused, documents, licences_of
from sensorium.corpus.licences import LARGEST as LARGEST_LICENCE
from sensorium.corpus.licences import is_licence
from sensorium.data.errors import DataError

TASK = 64 << 20  # bytes of sources that are read as one task


def units(paths: Sequence[str | Path]) -> list[Path]:
    """The sources that are read one by one, each a project: sorted, none twice.

    A folder of which something directly inside is a checkout or an archive is a collection: each
    folder, archive and table in it is a source. Every other folder is one.

    Raises DataError for what is none.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(path.iterdir())
            several = any(archives.is_archive(p) or (p / ".git").exists() for p in inside)
            taken = [p for p in inside if _is_source(p) and not p.is_symlink()]
            if (path / ".git").exists() or not (several or _all_tables(inside)):
                taken = [path]
            found += taken
        elif path.is_file() and _is_source(path):
            found.append(path)
        else:
            kinds = ", ".join(archives.TAR + archives.ZIP + rows.ENDINGS)
            what = "is of no kind that is read" if path.exists() else "does not exist"
            raise DataError(f"{path}: {what}; a source is a folder or a file of {kinds}")
    if not found:
        raise DataError("no sources: name folders, checkouts, archives or tables")
    return list(dict.fromkeys(p.absolute() for p in found))


def _is_source(path: Path) -> bool:
    if path.is_dir():
        return path.name not in folders.GIT
    return path.is_file() and (archives.is_archive(path) or rows.is_table(path))


def _all_tables(inside: Sequence[Path]) -> bool:
    return bool(inside) and all(rows.is_table(p) for p in inside)


def tasks(sources: Sequence[Path]) -> list[list[Path]]:
    """Sources in groups that are worth a task of their own: many small ones together."""
    groups: list[list[Path]] = []
    room = 0
    for source in sources:
        size = TASK // 4 if source.is_dir() else source.stat().st_size
        if room < size or not groups:
            groups.append([])
            room = TASK
        groups[-1].append(source)
        room -= size
    return groups


def read(source: Path, largest: int) -> Iterator[Document | Refused]:
    """The documents of a source, and what in it is none, with the reason.

    Files above `largest` bytes are not read. An archive that is damaged is refused whole; a table
    that is damaged raises DataError, since its rows were counted on.
    """
    if source.is_dir():
        folder_licences = licences_of(folders.walk(source, LARGEST_LICENCE, is_licence))
        yield from documents(folders.name(source), folders.walk(source, largest), folder_licences)
    elif rows.is_table(source):
        yield from rows.rows(source, largest)
    else:
        name = archives.name(source)
        try:
            inside = licences_of(archives.walk(source, LARGEST_LICENCE, is_licence))
        except DataError as error:
            size = os.stat(source).st_size
            yield Refused(name, source.name, size, Dropped("damaged archive", str(error)))
            return
        yield from documents(name, archives.walk(source, largest), inside)
