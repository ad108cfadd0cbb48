"""OSCAR's and VinVL's tab-separated features, with their table of where lines begin.

    key  {"num_boxes": n, "features": "..."}        captioning, VQA
    key  n  features                                retrieval

Features are base64 of float32, (n, d + 6): the detector's d numbers, then x1 / W, y1 / H, x2 / W,
y2 / H, w / W, h / H. Beside NAME.tsv stands NAME.lineidx, one offset a line.
"""

from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows
from sensorium.datasets.region_files.coded import floats, json_row, number
from sensorium.datasets.region_files.record import ANYTHING, Needs, Seen, by_id, check
from sensorium.datasets.region_files.tsv import LONGEST, NAME

PLACE = 6  # numbers of a box behind the features
OFF = 1e-2  # by which width and height may miss what the corners say


@final
class OscarRegions(Rows[Seen]):
    """A TSV of either form; boxes are shares of the picture, whose size the file does not keep."""

    def __init__(self, path: str | Path, detector: str, needs: Needs = ANYTHING):
        self.path, self.detector, self.needs = Path(path), detector, needs
        self.starts = offsets(self.path)
        self.ids: list[str] = []
        with self.path.open("rb") as file:
            for at in self.starts:
                file.seek(at)
                name, tab, _ = file.read(NAME + 1).partition(b"\t")
                if not tab or b"\n" in name:
                    raise DataError(f"{self.path}: offset {at}: no line with a key begins there")
                try:
                    self.ids.append(name.decode())
                except UnicodeDecodeError as wrong:
                    where = f"{self.path}: offset {at}"
                    raise DataError(f"{where}: the picture's key is no UTF-8") from wrong
        self.places = by_id(self.ids, str(self.path))

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, i: int) -> Seen:
        with self.path.open("rb") as file:
            file.seek(self.starts[i])
            line = file.readline(LONGEST + 1)
        where = f"{self.path}: line {i + 1}"
        if len(line) > LONGEST:
            raise DataError(f"{where}: longer than {LONGEST >> 20} MiB; no such file")
        columns = line.rstrip(b"\r\n").split(b"\t")
        if len(columns) == 2:
            said = json_row(columns[1], where)
            n, coded = number(where, said, "num_boxes"), said.get("features")
        elif len(columns) == 3 and columns[1].isdigit() and len(columns[1]) < 9:
            n, coded = int(columns[1]), columns[2]
        else:
            raise DataError(
                f"{where}: {len(columns)} columns; key and JSON, or key, number of boxes and"
                " features are expected; is it cut off?"
            )
        both = floats(where, "features", coded, n)
        if n and both.shape[1] <= PLACE:
            raise DataError(f"{where}: {both.shape[1]} numbers a region; features and {PLACE} more")
        if n == 0:
            both = np.zeros((0, (self.needs.width or 0) + PLACE), np.float32)
        boxes, sides = both[:, -PLACE:-2], both[:, -2:]
        odd = np.abs(boxes[:, 2:] - boxes[:, :2] - sides) > OFF
        if np.isfinite(both).all() and odd.any():
            raise DataError(
                f"{where}: the last {PLACE} numbers of a region are not x1, y1, x2, y2, width and"
                " height as shares; is it another file?"
            )
        one = Seen(self.ids[i], (1.0, 1.0), boxes, both[:, :-PLACE], self.detector)
        return check(one, where, self.needs)


def offsets(path: Path) -> list[int]:
    """Where the lines begin, from NAME.lineidx; each must lie behind the one before.

    DataError: there is no such file, or it is not of this TSV.
    """
    at = path.with_suffix(".lineidx")
    if not at.is_file():
        raise DataError(f"{path}: its table, {at.name}, is missing; put it beside it")
    if at.stat().st_size > LONGEST:
        raise DataError(f"{at}: larger than {LONGEST >> 20} MiB; no such table")
    words, size = at.read_bytes().split(), path.stat().st_size
    if not words or not all(word.isdigit() and len(word) < 16 for word in words):
        raise DataError(f"{at}: must hold one whole number a line, at least one")
    found = [int(word) for word in words]
    rises = all(a < b for a, b in pairwise(found))
    if found[0] != 0 or not rises or found[-1] >= size:
        raise DataError(f"{at}: is not the table of {path.name} ({size} bytes); write it again")
    return found
