"""The tab-separated files of bottom-up attention and of LXMERT: one line a picture, no header.

    BUTD    image_id image_w image_h num_boxes boxes features
    LXMERT  img_id img_h img_w objects_id objects_conf attrs_id attrs_conf num_boxes boxes features

Arrays are base64 of their bytes: int64 ids, float32 all else. Note that the two differ in the order
of width and height.
"""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import final

import numpy as np

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows
from sensorium.datasets.region_files.record import ANYTHING, Needs, Seen, by_id, check

BUTD = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features"),
)
LONGEST = 256 << 20  # bytes of a line
NAME = 4096  # bytes of an id
Progress = Callable[[int, int], None]


def quiet(done: int, total: int) -> None:
    """Progress that nobody asked for."""


@final
class TsvRegions(Rows[Seen]):
    """A file opened at random places; its lines are found once, which reads it from end to end."""

    def __init__(
        self, path: str | Path, detector: str, needs: Needs = ANYTHING, say: Progress = quiet
    ):
        self.path, self.detector, self.needs = Path(path), detector, needs
        self.starts: list[int] = []
        self.ids: list[str] = []
        self.fields: tuple[str, ...] = ()
        size, at = self.path.stat().st_size, 0
        with self.path.open("rb") as file:
            while line := file.readline(LONGEST + 1):
                where = f"{self.path}: line {len(self.ids) + 1}"
                if len(line) > LONGEST:
                    raise DataError(f"{where}: longer than {LONGEST >> 20} MiB; no such file")
                self._note(where, line)
                self.starts.append(at)
                at += len(line)
                say(at, size)
        if not self.ids:
            raise DataError(f"{self.path}: is empty; extract the features again")
        self.places = by_id(self.ids, str(self.path))

    def _note(self, where: str, line: bytes) -> None:
        columns = line.count(b"\t") + 1
        fields = {len(BUTD): BUTD, len(LXMERT): LXMERT}.get(columns)
        if fields is None or (self.fields and fields != self.fields):
            wanted = f"{len(BUTD)} (bottom-up attention) or {len(LXMERT)} (LXMERT)"
            raise DataError(f"{where}: {columns} columns, {wanted} are expected; is it cut off?")
        self.fields = fields
        name = line.partition(b"\t")[0][:NAME]
        try:
            self.ids.append(name.decode())
        except UnicodeDecodeError as wrong:
            raise DataError(f"{where}: the picture's id is no UTF-8") from wrong

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, i: int) -> Seen:
        with self.path.open("rb") as file:
            file.seek(self.starts[i])
            line = file.readline(LONGEST + 1).rstrip(b"\r\n")
        where = f"{self.path}: line {i + 1}"
        row = dict(zip(self.fields, line.split(b"\t"), strict=True))
        lxmert = self.fields == LXMERT
        high, wide = ("img_h", "img_w") if lxmert else ("image_h", "image_w")
        n = whole(where, row, "num_boxes")
        one = Seen(
            self.ids[i],
            (whole(where, row, wide), whole(where, row, high)),
            array(where, row, "boxes", np.float32, n, 4),
            array(where, row, "features", np.float32, n, -1 if n else self.needs.width or 0),
            self.detector,
        )
        if lxmert:
            one = one._replace(
                label=array(where, row, "objects_id", np.int64, n),
                score=array(where, row, "objects_conf", np.float32, n),
                attribute=array(where, row, "attrs_id", np.int64, n),
                attribute_score=array(where, row, "attrs_conf", np.float32, n),
            )
        return check(one, where, self.needs)


def whole(where: str, row: dict[str, bytes], name: str) -> int:
    """A whole number, 0 or more."""
    text = row[name].strip()
    if not text.isdigit() or len(text) > 9:
        raise DataError(f"{where}: {name} is {text[:20]!r}, no whole number; is it another format?")
    return int(text)


def array(where: str, row: dict[str, bytes], name: str, dtype, *shape: int) -> np.ndarray:
    """An array from base64; of the shape at most one entry is -1.

    Raises:
        DataError: no base64, or not as many numbers as the shape needs.
    """
    try:
        data = base64.b64decode(row[name], validate=True)
    except binascii.Error as wrong:
        raise DataError(f"{where}: {name} is no base64 ({wrong}); is the line cut off?") from wrong
    kind = np.dtype(dtype)
    known = kind.itemsize * int(np.prod([s for s in shape if s >= 0]))
    fits = len(data) == known if -1 not in shape else (known > 0 and len(data) % known == 0)
    if not fits:
        raise DataError(
            f"{where}: {name} has {len(data)} bytes, which are not {shape} numbers of {kind}; is "
            "num_boxes right, and are the numbers of that type?"
        )
    return np.frombuffer(data, kind).reshape(shape)


def butd_line(one: Seen) -> bytes:
    """A picture as a line of bottom-up attention's file."""
    sizes = [str(round(one.size[0])), str(round(one.size[1])), str(len(one.boxes))]
    return _line(one.id, sizes, [one.boxes.astype("<f4"), one.features.astype("<f4")])


def lxmert_line(one: Seen) -> bytes:
    """A picture as a line of LXMERT's file.

    Raises:
        DataError: its classes or attributes are not known.
    """
    said = (one.label, one.score, one.attribute, one.attribute_score)
    if any(part is None for part in said):
        raise DataError(
            f"picture {one.id!r}: LXMERT's file needs the class and the attribute of each region: "
            "use a detector with attributes, or write another kind of file"
        )
    kinds = ("<i8", "<f4", "<i8", "<f4")
    coded = [np.asarray(p).astype(k) for p, k in zip(said, kinds, strict=True)]
    head = [str(round(one.size[1])), str(round(one.size[0])), *map(_coded, coded)]
    arrays = [one.boxes.astype("<f4"), one.features.astype("<f4")]
    return _line(one.id, [*head, str(len(one.boxes))], arrays)


def _line(name: str, texts: list[str], arrays: list[np.ndarray]) -> bytes:
    if not name or any(c in name for c in "\t\r\n"):
        raise DataError(f"picture id {name!r}: a tab-separated file cannot hold it; rename it")
    return ("\t".join([name, *texts, *map(_coded, arrays)]) + "\n").encode()


def _coded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
