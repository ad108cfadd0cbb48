"""Pictures with boxes: COCO's annotation files, and nlvr, bccd and coco_open of the catalogue.

A COCO file is one JSON object with `images` (id, file_name), `categories` (id, name) and
`annotations` (image_id, category_id, bbox [x, y, width, height], iscrowd); attributes, where a file
has them, are one name an annotation ("attribute"). Every entry is checked when the file is read.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.files import Inside, Rows, read, refuse
from sensorium.datasets.tables import shown
from sensorium.types import Boxed

LARGEST = 1 << 30  # bytes of an annotation file
CELLS = ("RBC", "WBC", "Platelets")
COLOURS = ("black", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")


class Thing(NamedTuple):
    """One object: its box as (x1, y1, x2, y2), its names, whether it is a crowd."""

    box: tuple[float, float, float, float]
    label: str
    attribute: str | None = None
    crowd: bool = False


@final
class BoxedPictures(Rows[Boxed]):
    """Picture files below `root` and the things in them; all names are indices into the lists."""

    def __init__(
        self,
        root: str | Path,
        files: Sequence[str],
        things: Sequence[Sequence[Thing]],
        labels: Sequence[str],
        attributes: Sequence[str] = (),
        ids: Sequence[str] | None = None,
    ):
        self.root, self.files, self.things = str(root), files, things
        self.labels, self.attributes = tuple(labels), tuple(attributes)
        self.ids = files if ids is None else ids
        self._label = {name: i for i, name in enumerate(self.labels)}
        self._attribute: dict[str | None, int] = {a: i for i, a in enumerate(self.attributes)}

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Boxed:
        things = self.things[i]
        return Boxed(
            read(self.root, self.files[i]),
            tuple(t.box for t in things),
            tuple(self._label[t.label] for t in things),
            tuple(self._attribute.get(t.attribute, -1) for t in things),
            tuple(t.crowd for t in things),
            self.ids[i],
        )


def corners(where: str, bbox: Any) -> tuple[float, float, float, float]:
    """[x, y, width, height] as (x1, y1, x2, y2).

    Raises:
        DataError: not four finite numbers, or a box without area.
    """
    numbers = isinstance(bbox, list) and len(bbox) == 4
    if not numbers or not all(type(v) in (int, float) and math.isfinite(v) for v in bbox):
        raise DataError(f"{where}: bbox must be [x, y, width, height], not {shown(bbox)}")
    x, y, width, height = map(float, bbox)
    if width <= 0 or height <= 0:
        raise DataError(f"{where}: bbox {bbox} has no area; correct it or take it out")
    return x, y, x + width, y + height


# --- the catalogue ------------------------------------------------------------------------------


def nlvr(root: str | Path | None = None, part: catalogue.Part = "train") -> BoxedPictures:
    """Scenes of coloured shapes; a label is colour and shape, the attribute is the colour."""
    folder = catalogue.root(root) / "nlvr"
    labels = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]

    def thing(where: str, row: dict[str, Any]) -> Thing:
        colour, shape = catalogue.text(where, row, "color"), catalogue.text(where, row, "type")
        return Thing(corners(where, row.get("bbox")), f"{colour} {shape}", colour)

    return _listed(folder, "pairs", part, thing, labels, COLOURS)


def bccd(root: str | Path | None = None, part: catalogue.Part = "train") -> BoxedPictures:
    """Photographs of blood cells: red, white, platelets."""

    def thing(where: str, row: dict[str, Any]) -> Thing:
        return Thing(corners(where, row.get("bbox")), catalogue.text(where, row, "label"))

    return _listed(catalogue.root(root) / "bccd", "images", part, thing, CELLS)


def coco_open(root: str | Path | None = None, part: catalogue.Part = "train") -> BoxedPictures:
    """The openly licensed COCO photographs that have boxes; labels are those of both parts."""
    folder = catalogue.root(root) / "coco_open"
    rows = [row for p in ("train", "test") for row in catalogue.records(folder, "images", p)]
    named = {str(o.get("label")) for _, row in rows for o in row.get("objects") or ()}

    def thing(where: str, row: dict[str, Any]) -> Thing:
        box, label = corners(where, row.get("bbox")), catalogue.text(where, row, "label")
        return Thing(box, label, crowd=bool(row.get("iscrowd", 0)))

    return _listed(folder, "images", part, thing, sorted(named))


def _listed(
    folder: Path,
    name: str,
    part: str,
    thing: Any,
    labels: Sequence[str],
    attributes: Sequence[str] = (),
) -> BoxedPictures:
    rows = [r for r in catalogue.records(folder, name, part) if r[1].get("objects") is not None]
    things = []
    for where, row in rows:
        found = [thing(f"{where}: object {i}", o) for i, o in enumerate(row["objects"])]
        odd = sorted({t.label for t in found} - set(labels))
        if odd:
            raise DataError(f"{where}: unknown labels {odd}; known are {list(labels)}")
        things.append(found)
    files = [catalogue.text(where, row, "image") for where, row in rows]
    ids = [catalogue.text(where, row, "id") for where, row in rows]
    return BoxedPictures(folder, files, things, labels, attributes, ids)


# --- COCO's files ---------------------------------------------------------------------------------


def coco(annotations: str | Path, pictures: str | Path | None = None) -> BoxedPictures:
    """A COCO annotation file, with its pictures in `pictures` (default: the file's own folder).

    Labels are the categories in the order of their ids; a picture without annotations is kept.

    Raises:
        DataError: the file is no such file, names a picture that is not there or a category or
            picture that it does not list, or has a box without area. The entry is named.
    """
    path = Path(annotations)
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path}: larger than {LARGEST >> 30} GiB; cut it into parts")
    try:
        said = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{path}: is no JSON file ({wrong}); a COCO file is expected") from wrong
    if not isinstance(said, dict):
        raise DataError(f"{path}: is no JSON object; a COCO file of boxes is expected")
    folder = Path(pictures) if pictures is not None else path.parent
    images, kinds = _table(path, said, "images"), _table(path, said, "categories")
    files = {key: catalogue.text(f"{path}: image {key}", row, "file_name") for key, row in images}
    names = {key: catalogue.text(f"{path}: category {key}", r, "name") for key, r in kinds}
    if len(set(names.values())) != len(names):
        raise DataError(f"{path}: two categories have one name; rename one")
    found: dict[int, list[Thing]] = {key: [] for key in files}
    entries = said.get("annotations")
    if not isinstance(entries, list):
        raise DataError(f"{path}: has no list 'annotations'; a COCO file of boxes is expected")
    attributes: set[str] = set()
    for number, row in enumerate(entries):
        where = f"{path}: annotation {number}"
        if not isinstance(row, dict):
            raise DataError(f"{where}: is {shown(row)}, an object is expected")
        image, kind = row.get("image_id"), row.get("category_id")
        if image not in found or kind not in names:
            raise DataError(
                f"{where}: image_id {shown(image)} or category_id {shown(kind)} is not listed"
            )
        about = row.get("attribute")
        if about is not None:
            attributes.add(catalogue.text(where, row, "attribute"))
        box, crowd = corners(where, row.get("bbox")), bool(row.get("iscrowd", 0))
        found[image].append(Thing(box, names[kind], about, crowd))
    inside = Inside(folder)
    bad = [f"{name!r} {why}" for name in files.values() if (why := inside.judge(name)[1])]
    refuse(path, "pictures cannot be used", bad, len(files), f"Put them below {folder}")
    labels = [names[key] for key in sorted(names)]
    return BoxedPictures(
        folder, list(files.values()), list(found.values()), labels, sorted(attributes)
    )


def _table(path: Path, said: Mapping[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a list by their whole-number ids, none twice."""
    rows = said.get(key)
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{path}: has no list {key!r}; a COCO file of boxes is expected")
    out: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        own = row.get("id") if isinstance(row, dict) else None
        if not isinstance(own, int) or isinstance(own, bool) or own in out:
            raise DataError(f"{path}: {key} {number}: needs an 'id' of its own, a whole number")
        out[own] = row
    return list(out.items())
