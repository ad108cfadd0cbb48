"""RefCOCO, RefCOCO+, RefCOCOg: expressions that mean one object of a photograph.

Kazemzadeh et al. (2014), Yu et al. (2016), Mao et al. (2016). Two files: `instances.json` (COCO's
boxes) and `refs(unc).p`, `refs(google).p` or `refs(umd).p`, a pickle of plain values, which is read
without being run; the same list as JSON is read as well.
"""

from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.data.questions import Box, Reference
from sensorium.datasets.asked import References, field, items, there, unique, whole
from sensorium.datasets.boxes import corners
from sensorium.datasets.plain_pickle import plain_pickle
from sensorium.datasets.tables import shown


def refcoco(
    refs: str | Path, instances: str | Path, pictures: str | Path, split: str
) -> References:
    """The expressions of one split ("train", "val", "testA", ...), one sample a sentence.

    Candidates are all boxes of the picture, crowds left out; the picture's file is the one that
    `instances` names.

    Raises:
        DataError: a file is not of this form, a reference is to a box or picture that is not
            listed, the split has no reference, a picture is missing.
    """
    path, source = Path(refs), Path(instances)
    rows = listed(path)
    files, boxes = objects(source)
    entries, named = [], []
    for where, row in items(path, {"refs": rows}, "refs"):
        if row.get("split") != split:
            continue
        picture, target = field(where, row, "image_id"), field(where, row, "ann_id")
        if picture not in files or target not in boxes.get(picture, {}):
            raise DataError(f"{where}: box {target} of picture {picture} is not in {source}")
        named.append((where, files[picture]))
        own = boxes[picture]
        for at, sentence in items(path, row, "sentences"):
            text = sentence.get("raw", sentence.get("sent"))
            if not isinstance(text, str):
                raise DataError(f"{where}: {at}: has no text in 'raw' or 'sent'")
            name = f"{field(where, row, 'ref_id')}-{field(at, sentence, 'sent_id')}"
            rest = Reference(b"", text, tuple(own.values()), own[target], name, picture)
            entries.append((files[picture], rest))
    if not entries:
        splits = sorted({str(row.get("split")) for _, row in items(path, {"refs": rows}, "refs")})
        raise DataError(f"{path}: no reference is of the split {split!r}; there are {splits}")
    unique(path, [one.id for _, one in entries])
    there(path, pictures, named)
    return References(pictures, entries)


def splits(refs: str | Path) -> list[str]:
    """The splits that a file of references has. DataError: as `refcoco`."""
    path = Path(refs)
    return sorted(
        {field(at, row, "split") for at, row in items(path, {"refs": listed(path)}, "refs")}
    )


def listed(path: Path) -> Any:
    """The references of a file, a pickle of plain values or JSON."""
    return plain_pickle(path) if path.suffix in (".p", ".pkl", ".pickle") else whole(path)


def objects(path: Path) -> tuple[dict[str, str], dict[str, dict[str, Box]]]:
    """Files by picture, and boxes by picture and annotation, of a COCO file."""
    said: Any = whole(path)
    files = {
        field(where, row, "id"): field(where, row, "file_name")
        for where, row in items(path, said, "images")
    }
    boxes: dict[str, dict[str, Box]] = {}
    for where, row in items(path, said, "annotations"):
        picture = field(where, row, "image_id")
        if picture not in files:
            raise DataError(f"{where}: picture {shown(picture)} is not listed")
        if not row.get("iscrowd", 0):
            box = corners(where, row.get("bbox"))
            boxes.setdefault(picture, {})[field(where, row, "id")] = box
    return files, boxes
