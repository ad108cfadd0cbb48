"""grocery: photographs of groceries under a tree of labels, 648 to train on and 324 to test on.

From the Grocery Store Dataset (Klasson, Zhang, Kjellström, 2019), MIT. 81 fine labels, 43 coarse
ones, 3 groups. A colour histogram with logistic regression reaches 0.318, 0.454 and 0.775 on the
test list.
"""

from pathlib import Path
from typing import Literal

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.files import LabelledPictures, listed

GROUPS = ("Fruit", "Vegetables", "Packages")

Level = Literal["fine", "coarse", "group"]


def grocery(
    root: str | Path | None = None, part: catalogue.Part = "train", level: Level = "fine"
) -> LabelledPictures:
    """Groceries, labelled at one level of the tree. `root` is the catalogue's folder (default:
    SENSORIUM_DATA). `labels` are written as words ("Passion Fruit")."""
    if level not in ("fine", "coarse", "group"):
        raise DataError(f"level {level!r}: must be 'fine', 'coarse' or 'group'")
    folder = catalogue.root(root) / "grocery"
    rows = catalogue.records(folder, "images", part)
    if level == "group":
        labels: list[str] = list(GROUPS)
        targets = [group(where, catalogue.text(where, row, "group")) for where, row in rows]
    else:
        column = "label_id" if level == "fine" else "coarse_id"
        labels = names(folder / "classes.jsonl", level)
        targets = [catalogue.number(where, row, column, len(labels)) for where, row in rows]
    files = [catalogue.text(where, row, "image") for where, row in rows]
    ids = [catalogue.text(where, row, "id") for where, row in rows]
    return LabelledPictures(folder, files, targets, labels, ids)


def group(where: str, name: str) -> int:
    """The index of a group."""
    if name not in GROUPS:
        raise DataError(f"{where}: 'group' must be one of {listed(GROUPS)}, not {name!r}")
    return GROUPS.index(name)


def names(path: Path, level: Level) -> list[str]:
    """The names of the classes in the order of their numbers, from the label tree."""
    column, key = ("name", "label_id") if level == "fine" else ("coarse", "coarse_id")
    rows = catalogue.listing(path)
    found: dict[int, str] = {}
    for number, row in rows:
        where = f"{path}: row {number}"
        index = catalogue.number(where, row, key, len(rows))
        name = catalogue.text(where, row, column).replace("-", " ")
        if found.setdefault(index, name) != name:
            raise DataError(f"{where}: {key} {index} is both {found[index]!r} and {name!r}")
    if sorted(found) != list(range(len(found))):
        raise DataError(f"{path}: {key} must count from 0 without gaps")
    return [found[i] for i in range(len(found))]
