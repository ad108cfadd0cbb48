"""The user's own pictures: a folder with captions, or with one folder for each class."""

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from sensorium.data.errors import DataError
from sensorium.datasets.files import (
    PICTURES,
    Inside,
    LabelledPictures,
    Pictures,
    found_below,
    listed,
    refuse,
)
from sensorium.datasets.parquet import Embedded, parquet_rows
from sensorium.datasets.tables import LISTS, Row, read_list
from sensorium.types import Captioned

LONGEST_SIDECAR = 16 * 2**20  # bytes

Progress = Callable[[int, int], None]


def folder(
    path: str | Path,
    captions: str | Path | None = None,
    image_column: str | None = None,
    text_column: str | Sequence[str] | None = None,
    drop_empty: bool = False,
    progress: Progress | None = None,
) -> Sequence[Captioned]:
    """Pictures with captions, from a folder or from a list file.

    The captions are, the first that applies: the file `captions` (a name inside the folder, or a
    path); `path` itself where it is a file; the folder's captions.jsonl, .csv, .tsv or .parquet;
    the only file with one of these endings in the folder; a text file beside each picture (a.jpg,
    a.txt), searched below the folder too, whose whole content is one caption.

    A list has one picture a row. Its column is image, file, file_name, filepath, path or
    image_path: a path relative to the list's folder that does not leave it. The text's column is
    text, caption, captions, title or alt; in JSONL and Parquet it may be a list of texts.
    `image_column` and `text_column` name other columns, or decide where two would do;
    `text_column` may name several, whose texts all describe the picture. Parquet may hold the
    pictures' bytes instead (binary, or a struct of bytes and path). Rows that name the same
    picture become one sample with all their texts, at the place of the first.

    Everything is checked here except what is in the pictures: each row, that each file is there,
    and that each picture has a text. Empty texts are refused with their rows, because they are
    mostly a sign of a wrong column; `drop_empty` leaves them out instead, and pictures without
    any other text with them. `progress(done, total)` hears of the pictures looked at.

    Raises DataError (what is wrong, file, row, remedy) and OSError.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    table = find_list(path, captions)
    if table is None:
        return sidecars(path, drop_empty, progress)
    if table.suffix.lower() == ".parquet":
        rows = parquet_rows(table, image_column, text_column)
        if isinstance(rows, Embedded):
            return embedded(rows, drop_empty)
    else:
        rows = read_list(table, image_column, text_column)
    return from_rows(table, rows, drop_empty, progress)


def labelled_folder(path: str | Path) -> LabelledPictures:
    """Pictures in one folder a class (class/**/picture.jpg); `labels` are the folders' names,
    sorted. Raises DataError for a class without pictures and for pictures outside the classes."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: is not a folder; expected one folder of pictures for each class")
    with os.scandir(path) as entries:
        labels = sorted(
            e.name for e in entries if not e.name.startswith((".", "__MACOSX")) and e.is_dir()
        )
    files = found_below(path, PICTURES)
    loose = [repr(f) for f in files if "/" not in f]
    refuse(path, "pictures lie outside the class folders", loose, len(files), "Move them into one")
    index = {label: i for i, label in enumerate(labels)}
    targets = [index[f.split("/", 1)[0]] for f in files]
    filled = set(targets)
    empty = [repr(label) for i, label in enumerate(labels) if i not in filled]
    refuse(path, "class folders hold no picture", empty, len(labels), "Fill or remove them")
    if not labels:
        raise DataError(f"{path}: holds no class folders; expected class/picture.jpg")
    return LabelledPictures(path, files, targets, labels)


@runtime_checkable
class Named(Protocol):
    """What every reader here offers: the ids and the texts of its samples, without the pictures."""

    @property
    def ids(self) -> Iterable[str]: ...
    @property
    def texts(self) -> Iterable[tuple[str, ...]]: ...


def fingerprint(dataset: Named) -> str:
    """SHA-256 (hex) over the ids and texts in order; pictures are not read.

    Each sample adds its id, the number of its texts and the texts, each with its length before
    it, so that no two data sets run together. A labelled set's text is the name of the class.
    """
    digest = hashlib.sha256()
    for name, texts in zip(dataset.ids, dataset.texts, strict=True):
        for part in (name, *texts):
            data = part.encode("utf-8", "surrogateescape")
            digest.update(b"%d:%d:" % (len(texts), len(data)) + data)
    return digest.hexdigest()


def find_list(path: Path, captions: str | Path | None) -> Path | None:
    """The file that holds the captions; None where they lie beside the pictures."""
    if captions is not None:
        table = (path if path.is_dir() else path.parent) / captions
        if not table.is_file():
            raise DataError(f"{table}: no such file of captions")
        return known(table)
    if not path.is_dir():
        return known(path)
    with os.scandir(path) as entries:
        found = sorted(
            e.name
            for e in entries
            if e.name.lower().endswith(LISTS) and not e.name.startswith(".") and e.is_file()
        )
    preferred = [f for f in found if Path(f).stem.lower() == "captions"]
    chosen = preferred or found
    if len(chosen) > 1:
        raise DataError(f"{path}: holds several lists, {listed(chosen)}; say which with captions=")
    return path / chosen[0] if chosen else None


def known(table: Path) -> Path:
    """The list itself, if its ending is one that is read."""
    if not table.name.lower().endswith(LISTS):
        tar = "; for tar shards use sensorium.datasets.shards" if ".tar" in table.name else ""
        raise DataError(f"{table}: a list of captions ends in {', '.join(LISTS)}{tar}")
    return table


def from_rows(
    table: Path, rows: Iterable[Row], drop_empty: bool, progress: Progress | None
) -> Pictures:
    """Check the rows of a list together, and group those of the same picture."""
    inside = Inside(table.parent)
    grouped: dict[str, list[str]] = {}
    bad: list[str] = []
    empty: list[str] = []
    every = list(rows)
    for done, (number, image, texts) in enumerate(every, 1):
        name, problem = inside.judge(image)
        if problem:
            bad.append(f"row {number}: {image[:200]!r} {problem}")
        full = [t for t in texts if t.strip()]
        if not texts or len(full) < len(texts):
            empty.append(f"row {number}")
        grouped.setdefault(name, []).extend(full)
        if progress is not None and (done % 10_000 == 0 or done == len(every)):
            progress(done, len(every))
    refuse(table, "rows name pictures that cannot be used", bad, len(every), "Mend these rows")
    if not drop_empty:
        refuse_empty(table, "rows have an empty text", empty, len(every))
    grouped = {name: texts for name, texts in grouped.items() if texts}
    if not grouped:
        raise DataError(f"{table}: holds no picture with a text")
    return Pictures(table.parent, list(grouped), [tuple(t) for t in grouped.values()])


def refuse_empty(where: Path, what: str, empty: Sequence[str], total: int) -> None:
    """Refuse rows with an empty text, saying what to do about them."""
    remedy = "Check that the right column is read, fill them, or leave them out with drop_empty"
    refuse(where, what, empty, total, remedy)


def embedded(rows: Embedded, drop_empty: bool) -> Embedded:
    """Check the texts of a list that holds its pictures."""
    full = [tuple(t for t in texts if t.strip()) for texts in rows.texts]
    if not drop_empty:
        empty = [
            f"row {number + 1}"
            for number, (some, kept) in enumerate(zip(rows.texts, full, strict=True))
            if not some or len(kept) < len(some)
        ]
        refuse_empty(rows.path, "rows have an empty text", empty, len(full))
    if not any(full):
        raise DataError(f"{rows.path}: holds no picture with a text")
    keep = [i for i, texts in enumerate(full) if texts]
    return rows.only(keep, [full[i] for i in keep])


def sidecars(path: Path, drop_empty: bool, progress: Progress | None) -> Pictures:
    """Pictures with a text file of the same name beside each."""
    found = found_below(path, (*PICTURES, ".txt"))
    files = [f for f in found if not f.lower().endswith(".txt")]
    beside = set(found)
    if not files:
        raise DataError(f"{path}: holds no pictures and no list of captions ({', '.join(LISTS)})")
    owner: dict[str, str] = {}
    kept: list[str] = []
    texts: list[tuple[str, ...]] = []
    twice: list[str] = []
    empty: list[str] = []
    for done, file in enumerate(files, 1):
        name = posixpath.splitext(file)[0] + ".txt"
        if name in owner:
            twice.append(f"{owner[name]!r} and {file!r}")
        owner[name] = file
        text = sidecar(path / name) if name in beside else ""
        if text:
            kept.append(file)
            texts.append((text,))
        else:
            empty.append(repr(file))
        if progress is not None and (done % 10_000 == 0 or done == len(files)):
            progress(done, len(files))
    refuse(path, "pictures share one text file", twice, len(files), "Rename one of each pair")
    if not kept:
        raise DataError(
            f"{path}: holds {len(files)} pictures but no captions: add captions.jsonl, .csv, .tsv "
            "or .parquet, or a text file beside each picture (a.jpg, a.txt); pictures sorted into "
            "folders by class are read by labelled_folder"
        )
    if not drop_empty:
        remedy = "Write a text file for each, or leave these pictures out with drop_empty"
        refuse(path, "pictures have no text beside them", empty, len(files), remedy)
    return Pictures(path, kept, texts)


def sidecar(path: Path) -> str:
    """The text beside a picture, stripped."""
    with open(path, "rb") as file:
        data = file.read(LONGEST_SIDECAR + 1)
    if len(data) > LONGEST_SIDECAR:
        raise DataError(f"{path}: larger than {LONGEST_SIDECAR >> 20} MiB, so no caption")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: holds a zero byte, so it is not text")
    return text
