"""Rows of JSONL, CSV and TSV lists: every row checked, numbered, never merged or skipped.

A row's number is its place in the file, the header of a CSV or TSV being row 1 as in a
spreadsheet; a quoted field with line breaks makes one row. All files are UTF-8, with or without
a byte order mark, with any of the usual line ends.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.data.errors import DataError
from sensorium.datasets.files import PICTURES, encodable, listed

IMAGE_COLUMNS = ("image", "file", "file_name", "filepath", "path", "image_path")
TEXT_COLUMNS = ("text", "caption", "captions", "title", "alt")
LISTS = (".jsonl", ".csv", ".tsv", ".parquet")

LONGEST_LINE = 16 * 2**20  # bytes; a longer one is a binary file or an attack


class Row(NamedTuple):
    """One row of a list: its number, the picture it names, what it says of it."""

    number: int
    image: str
    texts: tuple[str, ...]


class Columns(NamedTuple):
    """Which column holds the picture, and which one or more hold texts."""

    image: str
    texts: tuple[str, ...]


def read_list(
    path: Path, image_column: str | None = None, text_column: str | Sequence[str] | None = None
) -> Iterator[Row]:
    """The rows of a .jsonl, .csv or .tsv list. Raises DataError naming file, row and remedy."""
    records = jsonl(path) if path.suffix.lower() == ".jsonl" else separated(path)
    columns = None
    for number, record in records:
        if columns is None:
            columns = choose(path, list(record), image_column, text_column)
        yield row(path, number, record, columns)


def choose(
    path: Path,
    found: Sequence[str],
    image_column: str | None,
    text_column: str | Sequence[str] | None,
) -> Columns:
    """The columns to use: those named, else the one of each kind that has a known name."""
    image = one(path, found, image_column, IMAGE_COLUMNS, "picture", "image_column")
    if text_column is None or isinstance(text_column, str):
        return Columns(image, (one(path, found, text_column, TEXT_COLUMNS, "text", "text_column"),))
    return Columns(
        image,
        tuple(one(path, found, t, TEXT_COLUMNS, "text", "text_column") for t in text_column),
    )


def one(
    where: str | Path,
    found: Sequence[str],
    named: str | None,
    known: Sequence[str],
    what: str,
    argument: str,
) -> str:
    """The column named, or the only one with a known name."""
    if named is not None:
        if named not in found:
            raise DataError(f"{where}: no column {named!r}; its columns are {listed(found)}")
        return named
    match = [c for c in found if c.strip().lower() in known]
    if len(match) == 1:
        return match[0]
    problem = (
        f"columns {listed(match)} could each be the {what}"
        if match
        else f"no column with the {what} (one of {', '.join(known)}); "
        f"the columns found are {listed(found)}"
    )
    raise DataError(f"{where}: {problem}. Say which with {argument}=")


def row(path: Path, number: int, record: dict[str, Any], columns: Columns) -> Row:
    """Check one record's picture and texts."""
    where = f"{path}: row {number}"
    missing = [c for c in (columns.image, *columns.texts) if c not in record]
    if missing:
        raise DataError(f"{where}: has no {listed(missing)}, only {listed(record)}")
    image = record[columns.image]
    if not isinstance(image, str):
        raise DataError(
            f"{where}: {columns.image!r} must be the path of a picture, not {shown(image)}"
        )
    check_text(where, image)
    texts = [t for c in columns.texts for t in texts_in(where, c, record[c])]
    return Row(number, image, tuple(texts))


def texts_in(where: str, column: str, value: object) -> list[str]:
    """The texts of one field: a text or a list of them; None is an empty one."""
    texts: list[str] = []
    for text in value if isinstance(value, list) else [value]:
        if not (text is None or isinstance(text, str)):
            raise DataError(
                f"{where}: {column!r} must be a text or a list of texts, not {shown(value)}"
            )
        texts.append(text or "")
        check_text(where, texts[-1])
    return texts


def check_text(where: str, text: str) -> None:
    """Refuse what cannot be written as UTF-8, and zero bytes."""
    if "\0" in text or not encodable(text):
        raise DataError(
            f"{where}: holds a zero byte or half a surrogate pair, so it is not text: "
            f"{shown(text)}. Write it again as UTF-8"
        )


def shown(value: object) -> str:
    """A value for messages, cut short and in ASCII."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file with their ends, without a byte order mark."""
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(f"{path}: is UTF-16; save it as UTF-8")
            if len(line) > LONGEST_LINE:
                raise DataError(
                    f"{path}: line {number} is longer than {LONGEST_LINE >> 20} MiB: "
                    "this is no list of captions"
                )
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}: line {number}: byte {error.start + 1} is not UTF-8; "
                    "save the file as UTF-8"
                ) from None


def jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number, object) of each line that is not blank."""
    for number, line in enumerate(lines(path), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise DataError(f"{path}: row {number}: not a JSON value: {reason}") from None
        if not isinstance(record, dict):
            raise DataError(
                f"{path}: row {number}: must be a JSON object such as "
                f'{{"image": "a.jpg", "text": "..."}}, not {shown(record)}'
            )
        yield number, record


def separated(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number, record) of a CSV or TSV with a header, quoted as in RFC 4180.

    A field is quoted when it starts with a double quote; a quote inside such a field is written
    twice; elsewhere a quote stands for itself. Every row has as many fields as the header.
    """
    tab = path.suffix.lower() == ".tsv"
    delimiter = "\t" if tab else ","
    reader = csv.reader(lines(path), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number, before = 0, 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}: row {number + 1} (from line {before + 1}): {error}. A field that starts "
                'with " must end with " and write " inside as ""; JSONL needs no such care'
            ) from None
        number, first, before = number + 1, before + 1, reader.line_num
        if not fields:
            continue
        if header is None:
            header = fields
            if len(set(header)) < len(header):
                raise DataError(f"{path}: two columns have the same name: {listed(header)}")
            continue
        where = f"{path}: row {number} (line {first})"
        if len(fields) != len(header):
            raise DataError(
                f"{where}: has {len(fields)} fields where the header has {len(header)} "
                f"({listed(header)}): a {'tab' if tab else 'comma'} or line break in a text "
                'must stand inside "..."'
            )
        if before > first:
            refuse_merged(where, fields, delimiter)
        yield number, dict(zip(header, fields, strict=True))


def refuse_merged(where: str, fields: Sequence[str], delimiter: str) -> None:
    """Raise if a field over several lines holds what looks like further rows.

    Two texts that each have one stray quote read as a single valid field; nothing in the format
    shows it, but the swallowed rows name pictures.
    """
    for field in fields:
        if delimiter in field and ("\n" in field or "\r" in field):
            for part in field.replace("\r", "\n").replace("\n", delimiter).split(delimiter):
                if part.strip(' "').lower().endswith(PICTURES):
                    raise DataError(
                        f"{where}: one quoted field runs over several lines and holds "
                        f"{shown(part)}, as if a quote was never closed and rows were swallowed. "
                        "Double the quotes inside texts, or write the list as JSONL"
                    )
