"""Where the sets of the data catalogue lie, and their lists, read with every row checked.

The catalogue is a folder with one folder a set (flowers, grocery, openstax, ...), each with lists
`NAME.train.jsonl` and `NAME.test.jsonl` whose picture paths are relative to the set's folder.
"""

import os
from pathlib import Path
from typing import Any, Literal

from sensorium.data.errors import DataError
from sensorium.datasets.files import Inside, refuse
from sensorium.datasets.tables import encodable, jsonl, shown

Part = Literal["train", "test"]
"""Which list; the two share no picture, and nothing is ever trained on a test list."""

VARIABLE = "SENSORIUM_DATA"


def root(path: str | Path | None = None) -> Path:
    """The catalogue's folder: `path`, else what the variable SENSORIUM_DATA says."""
    place = path if path is not None else os.environ.get(VARIABLE)
    if not place:
        raise DataError(
            f"where the data catalogue lies is not said: set {VARIABLE} to its folder (the one "
            "that holds flowers/, openstax/ and so on), or give the path; the list of sets, with "
            "sources and licences, is in its README.md"
        )
    found = Path(place)
    if not found.is_dir():
        source = "the path given" if path is not None else VARIABLE
        raise DataError(f"{found}: no such folder ({source} must name the data catalogue)")
    return found


def records(
    folder: Path, name: str, part: str, image: str | None = "image"
) -> list[tuple[str, dict[str, Any]]]:
    """The rows of one list: (where, row). `image` names the column of the picture, None: none.

    Raises DataError for a missing list, a bad row, and pictures that are missing or outside.
    """
    if part not in ("train", "test"):
        raise DataError(f"part {part!r}: must be 'train' or 'test'")
    path = folder / f"{name}.{part}.jsonl"
    rows = [(f"{path}: row {number}", record) for number, record in listing(path)]
    if image is not None:
        check_pictures(path, [(where, text(where, row, image)) for where, row in rows])
    return rows


def listing(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The numbered rows of a list that must be there and not empty."""
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; the folder above must be the data catalogue ({VARIABLE}) "
            "and hold this set"
        )
    rows = list(jsonl(path))
    if not rows:
        raise DataError(f"{path}: holds no rows; copy the set again")
    return rows


def check_pictures(path: Path, named: list[tuple[str, str]]) -> None:
    """Refuse (where, picture) pairs whose picture is missing or outside the list's folder."""
    inside = Inside(path.parent)
    bad = [
        f"{where.rpartition(': ')[2]}: {name!r} {problem}"
        for where, name in named
        if (problem := inside.judge(name)[1])
    ]
    refuse(path, "rows name pictures that cannot be used", bad, len(named), "Copy the set again")


def text(where: str, row: dict[str, Any], column: str) -> str:
    """A text that must be there (it may be empty)."""
    value = row.get(column)
    if not isinstance(value, str) or not encodable(value):
        raise DataError(f"{where}: {column!r} must be a text, not {shown(value)}")
    return value


def number(where: str, row: dict[str, Any], column: str, below: int) -> int:
    """A whole number from 0 to below - 1."""
    value = row.get(column)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise DataError(
            f"{where}: {column!r} must be a whole number from 0 to {below - 1}, not {shown(value)}"
        )
    return value


def table(where: str, row: dict[str, Any], column: str) -> dict[str, Any]:
    """An object with keys."""
    value = row.get(column)
    if not isinstance(value, dict) or not all(encodable(key) for key in value):
        raise DataError(f"{where}: {column!r} must be an object, not {shown(value)}")
    return value


def several(where: str, row: dict[str, Any], column: str) -> list[Any]:
    """A list that is not empty."""
    value = row.get(column)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: {column!r} must be a list with something in it")
    return value
