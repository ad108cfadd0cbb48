"""easy-VQA: questions about one coloured shape, from the Python package `easy-vqa` (MIT).

Its own split: 4,000 pictures of 64 x 64 with 38,575 questions to learn from, 1,000 with 9,673 to
test on, 13 answers. The package has no boxes; there is one shape on plain ground, so `box_of` reads
it off the pixels.
"""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from sensorium.data.errors import DataError
from sensorium.data.questions import Box
from sensorium.datasets.asked import Entry, Questions, there, whole
from sensorium.datasets.boxes import BoxedPictures, Thing
from sensorium.datasets.catalogue import Part
from sensorium.datasets.files import read
from sensorium.media import open_image

SHAPES = ("circle", "rectangle", "triangle")
COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
APART = 24  # grey levels, summed over the colours, by which a pixel differs from the ground


def easy_vqa(root: str | Path | None = None, part: Part = "train") -> Questions:
    """The questions of one part, each with the box of the shape.

    Args:
        root: the folder that holds `train/` and `test/` (`questions.json`, `images/N.png`); None:
            that of the installed package.

    Raises:
        DataError: the package is not installed; a question is not of the form [question, answer,
            picture]; a picture is missing or shows no shape.
    """
    if part not in ("train", "test"):
        raise DataError(f"part {part!r}: must be 'train' or 'test'")
    folder = (installed() if root is None else Path(root)) / part
    path = folder / "questions.json"
    if not path.is_file():
        raise DataError(f"{path}: no such file; the folder must be the data of easy-vqa")
    rows = whole(path)
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: must be a list of [question, answer, picture]")
    for number, row in enumerate(rows):
        kinds = [type(x) for x in row] if isinstance(row, list) else []
        if kinds != [str, str, int]:
            raise DataError(f"{path}: entry {number}: must be [question, answer, picture]")
    pictures = sorted({row[2] for row in rows})
    files = {n: f"images/{n}.png" for n in pictures}
    there(path, folder, [(f"picture {n}", files[n]) for n in pictures])
    boxes = {n: box_of(read(str(folder), files[n]), str(folder / files[n])) for n in pictures}
    entries = [
        Entry(
            files=(files[picture],),
            text=question,
            answers=(answer,),
            id=f"{part}-{number:05d}",
            cluster=f"{part}-{picture}",
            kind="yes/no" if answer in ("yes", "no") else "other",
            boxes=((boxes[picture],),),
        )
        for number, (question, answer, picture) in enumerate(rows)
    ]
    return Questions(folder, entries)


def easy_vqa_shapes(root: str | Path | None = None, part: Part = "train") -> BoxedPictures:
    """The same pictures for a detector: labels are the shapes, attributes the colours.

    Both are told by the questions and their answers. A picture whose shape no question tells (one
    in twenty) is left out; a colour that none tells is not known.
    """
    asked = easy_vqa(root, part)
    pictures: dict[str, list[Entry]] = {}
    for one in asked.entries:
        pictures.setdefault(one.files[0], []).append(one)
    files, things = [], []
    for file, several in pictures.items():
        shape, colour = told(several, SHAPES), told(several, COLOURS)
        if shape is not None:
            files.append(file)
            things.append([Thing(several[0].boxes[0][0], shape, colour)])
    return BoxedPictures(asked.root, files, things, SHAPES, COLOURS)


def told(entries: Sequence[Entry], names: Sequence[str]) -> str | None:
    """The one of these names that the picture's questions and answers tell; None: none does."""
    for one in entries:
        words = one.text.rstrip("?").split()
        named = next((name for name in names if name in words), None)
        answer = one.answers[0]
        if answer in names:
            return answer
        against = "not" in words or "no" in words
        true = answer not in ("yes", "no") or (answer == "yes") != against
        if named is not None and true:
            return named
    return None


def installed() -> Path:
    """The data folder of the installed package. DataError: it is not installed."""
    try:
        found = importlib.resources.files("easy_vqa")
    except ModuleNotFoundError:
        raise DataError(
            "the data set easy-vqa is not installed: `pip install easy-vqa`, or give its folder"
        ) from None
    return Path(str(found)) / "data"


def box_of(image: bytes, name: str) -> Box:
    """The box around all that is not ground; the ground is the colour of the first pixel.

    DataError: nothing differs from it.
    """
    seen = differs(np.asarray(open_image(image, name=name)))
    if not seen.any():
        raise DataError(f"{name}: shows nothing but its ground, so there is no box to derive")
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def differs(pixels: UInt8[np.ndarray, "y x 3"]) -> np.ndarray:
    """Where a picture is not of the colour of its first pixel."""
    return np.abs(pixels.astype(np.int64) - pixels[0, 0].astype(np.int64)).sum(axis=2) > APART
