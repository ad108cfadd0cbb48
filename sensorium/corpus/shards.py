"""Shards: Parquet files with The Stack's columns; and the ledger of what was dropped, and why."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.corpus.document import Document, alphanumeric, line_lengths
from sensorium.data.errors import DataError
from sensorium.datasets.parquet import pyarrow

GROUP = 8 << 20  # bytes of text in a row group
HEAD = 600  # characters of a dropped file that the ledger keeps


class Entry(NamedTuple):
    """A line of the ledger: a file that was dropped, by which stage and why."""

    stage: str
    reason: str
    detail: str
    repo: str
    path: str
    lang: str
    size: int
    hexsha: str
    head: str


def write_shard(path: Path, documents: Sequence[Document]) -> None:
    """Writes documents aside, then puts the file in place. Columns as The Stack v1.2 has them."""
    arrow, parquet = pyarrow()
    schema = arrow.schema(
        [
            ("content", arrow.large_string()),
            ("size", arrow.int64()),
            ("ext", arrow.string()),
            ("lang", arrow.string()),
            ("hexsha", arrow.string()),
            ("max_stars_repo_name", arrow.string()),
            ("max_stars_repo_path", arrow.string()),
            ("max_stars_repo_licenses", arrow.list_(arrow.string())),
            ("max_stars_count", arrow.int64()),
            ("avg_line_length", arrow.float64()),
            ("max_line_length", arrow.int64()),
            ("alphanum_fraction", arrow.float64()),
        ]
    )
    aside = path.with_name(path.name + ".aside")
    with parquet.ParquetWriter(aside, schema, compression="zstd") as file:
        for group in _grouped(documents):
            file.write_table(arrow.Table.from_pylist([_row(d) for d in group], schema))
    settle(aside, path)


def _grouped(documents: Sequence[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document.content)
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _row(document: Document) -> dict[str, Any]:
    mean, longest = line_lengths(document.content)
    return {
        "content": document.content,
        "size": len(document.content.encode()),
        "ext": document.ext,
        "lang": document.lang,
        "hexsha": document.hexsha,
        "max_stars_repo_name": document.repo,
        "max_stars_repo_path": document.path,
        "max_stars_repo_licenses": list(document.licenses),
        "max_stars_count": document.stars if document.stars >= 0 else None,
        "avg_line_length": mean,
        "max_line_length": longest,
        "alphanum_fraction": alphanumeric(document.content),
    }


def read_shard(path: Path) -> Iterator[Document]:
    """The documents of a shard in order, a row group in memory at a time. Raises DataError."""
    arrow, parquet = pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    yield Document(
                        row["content"],
                        row["max_stars_repo_path"],
                        row["max_stars_repo_name"],
                        tuple(row["max_stars_repo_licenses"]),
                        row["lang"],
                        row["ext"],
                        -1 if row["max_stars_count"] is None else row["max_stars_count"],
                        row["hexsha"],
                    )
    except (arrow.ArrowException, OSError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a shard that can be read: {error}; make it again") from None


def texts(folder: Path, lang: str = "") -> Iterator[str]:
    """The contents of all shards of a folder in order, or those of one language."""
    for path in sorted(folder.glob("*.parquet")):
        yield from (d.content for d in read_shard(path) if not lang or d.lang == lang)


def write_ledger(path: Path, entries: Iterable[Entry]) -> None:
    """Writes the ledger of a task aside, then puts it in place."""
    arrow, parquet = pyarrow()
    kinds = {"size": arrow.int64()}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in Entry._fields])
    aside = path.with_name(path.name + ".aside")
    rows = [entry._asdict() for entry in entries]
    parquet.write_table(arrow.Table.from_pylist(rows, schema), aside, compression="zstd")
    settle(aside, path)


def read_ledger(folder: Path) -> Iterator[Entry]:
    """All that was dropped, in the order of the tasks."""
    _, parquet = pyarrow()
    for path in sorted(folder.glob("*.parquet")):
        for row in parquet.read_table(path).to_pylist():
            yield Entry(**row)


def settle(aside: Path, path: Path) -> None:
    """Makes what was written aside last, and gives it its name."""
    handle = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(aside, path)
