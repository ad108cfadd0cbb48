"""Folders as the published sets of questions have them: which file is which part, where the
pictures are, and at what size a small net sees them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sensorium.data.errors import DataError
from sensorium.datasets.asked import Questions, References
from sensorium.datasets.nlvr2 import nlvr2
from sensorium.datasets.refcoco import refcoco, splits
from sensorium.datasets.snli_ve import snli_ve
from sensorium.media import open_image

P = TypeVar("P")
SHORT, LONGEST = 96, 400  # pixels
PATCHES, MOST = (8, 12, 16, 24, 32), 100  # sides of a patch; patches of a picture
SEEN = 50  # pictures whose shape is looked at
HELD = ("test", "test1", "dev", "val")  # what is scored, the first of them that is there


def statements(folder: str | Path) -> dict[str, Questions]:
    """NLVR2's parts: `train.json`, `dev.json`, `test1.json`, pictures in folders of the same names
    (or below `images`, or all in one folder).

    DataError: the folder holds none of them; further as `nlvr2`.
    """
    return opened(Path(folder), "*.json", nlvr2)


def hypotheses(folder: str | Path) -> dict[str, Questions]:
    """SNLI-VE's parts: `snli_ve_train.jsonl`, `snli_ve_dev.jsonl`, `snli_ve_test.jsonl`.

    DataError: the folder holds none of them; further as `snli_ve`.
    """
    return opened(Path(folder), "*.jsonl", snli_ve)


def expressions(folder: str | Path) -> dict[str, References]:
    """RefCOCO's splits: `refs(...).p` (or `refs...json`) and `instances.json`.

    DataError: there is not one of each; further as `refcoco`.
    """
    at = Path(folder)
    kinds = (["refs*.p", "refs*.pkl", "refs*.json"], ["instances*.json"])
    found = [[file for kind in some for file in sorted(at.glob(kind))] for some in kinds]
    if [len(files) for files in found] != [1, 1]:
        counts = " and ".join(str(len(files)) for files in found)
        raise DataError(
            f"{folder}: holds {counts} files named refs*.p and instances.json; one of each is"
            " expected, as RefCOCO has them"
        )
    (refs,), (instances,) = found
    place = pictures(at, "")
    return {name: refcoco(refs, instances, place, name) for name in splits(refs)}


def opened(
    folder: Path, pattern: str, read: Callable[[Path, Path], Questions]
) -> dict[str, Questions]:
    """The parts of a folder by name; a file's part is the last word of its name."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    files = {file.stem.replace("-", "_").rpartition("_")[2]: file for file in folder.glob(pattern)}
    known = {name: file for name, file in files.items() if name in ("train", *HELD, "test2")}
    if not known:
        raise DataError(
            f"{folder}: holds no file {pattern} of a part that is known: train, {', '.join(HELD)}"
        )
    return {name: read(file, pictures(folder, name)) for name, file in sorted(known.items())}


def pictures(folder: Path, part: str) -> Path:
    """Where a part's pictures are: in a folder of its name, in `images`, in the only folder there
    is, or beside the file."""
    tried = [folder / part, folder / "images" / part, folder / "images"] if part else []
    for place in tried:
        if place.is_dir():
            return place
    below = [d for d in sorted(folder.iterdir()) if d.is_dir() and not d.name.startswith(".")]
    return below[0] if len(below) == 1 else folder


def halves(parts: Mapping[str, P], folder: str) -> tuple[P, P]:
    """What is learnt from, and what is scored.

    DataError: one of them is missing.
    """
    held = next((name for name in HELD if name in parts), None)
    held = held or next((name for name in sorted(parts) if name != "train"), None)
    if "train" not in parts or held is None:
        raise DataError(
            f"{folder}: has the parts {', '.join(sorted(parts))}; training needs train, and one of"
            f" {', '.join(HELD)} for the scores"
        )
    return parts["train"], parts[held]


def shape(data: Questions) -> tuple[int, int, int]:
    """As `sized`, of some of the pictures that are asked about."""
    step = max(1, len(data) // SEEN)
    return sized([data[i].images[0] for i in range(0, len(data), step)])


def sized(pictures: Sequence[bytes]) -> tuple[int, int, int]:
    """The shorter side of pictures as a small net sees them, the side of a patch, the longest side.

    Small pictures keep their size; the patch is the smallest of which a picture has at most MOST.
    """
    sides = sorted((min(size), max(size)) for size in (open_image(one).size for one in pictures))
    near, far = sides[len(sides) // 2]
    short = min(near, SHORT)
    long = min(LONGEST, round(far * short / near))
    fits = (p for p in PATCHES if (short // p or 1) * (long // p or 1) <= MOST)
    patch = next(fits, PATCHES[-1])
    return max(short // patch, 1) * patch, patch, max(long // patch, 1) * patch
