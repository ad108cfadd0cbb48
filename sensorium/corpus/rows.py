"""Parquet and JSON lines with a column of content, as sources: The Stack's schema and its kin."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from sensorium.corpus.document import Document, Dropped, blob, extension
from sensorium.corpus.found import Refused, text_of, too_large
from sensorium.data.errors import DataError
from sensorium.datasets.parquet import LARGEST_GROUP, pyarrow

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".ndjson")
CONTENT = ("content", "text", "code")
REPO = ("max_stars_repo_name", "repo_name", "repo", "repository_name")
PATH = ("max_stars_repo_path", "path", "file_path", "filename", "id")
LICENSES = ("max_stars_repo_licenses", "licenses", "license")
MORE_LICENSES = ("max_issues_repo_licenses", "max_forks_repo_licenses")
STARS = ("max_stars_count", "stars", "star_events_count")
ROWS = 256  # rows that are read at once
SLACK = 16  # a line of JSON may be this much longer than the text in it


def is_table(path: Path) -> bool:
    """Whether a file's name ends as one of these tables'."""
    return path.name.lower().endswith(ENDINGS)


def rows(path: Path, largest: int) -> Iterator[Document | Refused]:
    """Documents of a table, and rows that are none.

    Raises DataError where it is no such table, or has no column of content.
    """
    read = _parquet(path) if path.name.lower().endswith(".parquet") else _lines(path, largest)
    for number, row in enumerate(read, 1):
        if isinstance(row, Dropped):
            yield Refused(path.name, f"row {number}", 0, row)
            continue
        yield _document(path, number, row, largest)


def _document(path: Path, number: int, row: dict[str, Any], largest: int) -> Document | Refused:
    content = _first(row, CONTENT)
    repo, name = _said(row, REPO) or path.stem, _said(row, PATH) or f"row {number}"
    if not isinstance(content, str):
        return Refused(repo, name, 0, Dropped("no text"))
    data = content.encode("utf-8", "surrogatepass")
    if len(data) > largest:
        return Refused(repo, name, len(data), Dropped(too_large(largest)))
    text = text_of(data)
    if isinstance(text, Dropped):
        return Refused(repo, name, len(data), text)
    licences = _licences(_first(row, LICENSES))
    for more in MORE_LICENSES:
        licences += _licences(row.get(more))
    stars = _first(row, STARS)
    return Document(
        text,
        name,
        repo,
        tuple(dict.fromkeys(licences)),
        ext=extension(name),
        stars=int(stars) if isinstance(stars, int | float) and stars == stars else -1,
        hexsha=blob(data),
    )


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _said(row: dict[str, Any], names: tuple[str, ...]) -> str:
    value = _first(row, names)
    if value is None:
        return ""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _licences(value: Any) -> tuple[str, ...]:
    if isinstance(value, dict):  # how some versions of the table nest them
        value = [v.get("item") for v in value.get("list", []) if isinstance(v, dict)]
    if isinstance(value, str):
        value = [value]
    return tuple(str(v) for v in value if v) if isinstance(value, list) else ()


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    arrow, parquet = pyarrow()
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check(path, names)
            wanted = [
                n for n in names
                if n in CONTENT + REPO + PATH + LICENSES + MORE_LICENSES + STARS
            ]  # fmt: skip
            for g in range(file.metadata.num_row_groups):
                if file.metadata.row_group(g).total_byte_size > LARGEST_GROUP:
                    raise DataError(
                        f"{path}: a row group of more than {LARGEST_GROUP >> 20} MiB; write the "
                        "file again with fewer rows in each (row_group_size=)"
                    )
            for batch in file.iter_batches(ROWS, columns=wanted):
                yield from batch.to_pylist()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {error}") from None


def _check(path: Path, names: list[str]) -> None:
    if not set(names) & set(CONTENT):
        raise DataError(
            f"{path}: has no column {' or '.join(CONTENT)}, but {', '.join(names[:20])}; rename "
            "the one that holds the text"
        )


def _lines(path: Path, largest: int) -> Iterator[dict[str, Any] | Dropped]:
    packed = path.name.lower().endswith(".gz")
    checked = False
    try:
        with path.open("rb") as raw:
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
            while line := file.readline(SLACK * largest):
                if len(line) == SLACK * largest and not line.endswith(b"\n"):
                    _drain(file, largest)
                    yield Dropped(too_large(largest))
                    continue
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    yield Dropped("no JSON")
                    continue
                if not isinstance(row, dict):
                    yield Dropped("no JSON object")
                    continue
                if not checked:
                    _check(path, list(row))
                    checked = True
                yield row
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged or cut off: {error}") from error


def _drain(file: BinaryIO, largest: int) -> None:
    while (piece := file.readline(largest)) and not piece.endswith(b"\n"):
        pass
