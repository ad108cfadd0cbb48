"""VL-BERT's features: one JSON file a picture, in a folder or in a zip archive.

Its values are image_w, image_h, num_boxes, and as base64 of float32: boxes (n 4, pixels), features
(n d), classes (n 1601, probabilities, the background first).
"""

import zipfile
from pathlib import Path
from typing import final

import numpy as np

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows, found_below
from sensorium.datasets.region_files.arrays import BROKEN
from sensorium.datasets.region_files.coded import floats, json_row, number
from sensorium.datasets.region_files.record import ANYTHING, Needs, Seen, by_id, check
from sensorium.datasets.region_files.tsv import LONGEST

SIDE = 1 << 20  # pixels of a picture's side at most


@final
class JsonRegions(Rows[Seen]):
    """A folder or an archive of JSON files, named by their pictures' ids."""

    def __init__(self, path: str | Path, detector: str, needs: Needs = ANYTHING):
        self.path, self.detector, self.needs = Path(path), detector, needs
        self.packed = self.path.is_file()
        if self.packed:
            try:
                with zipfile.ZipFile(self.path) as archive:
                    self.files = sorted(n for n in archive.namelist() if n.endswith(".json"))
            except BROKEN as wrong:
                raise DataError(f"{self.path}: is no sound zip archive ({wrong})") from wrong
        else:
            found = found_below(self.path, (".json",))
            self.files = [name for name in found if not name.endswith(".regions.json")]
        if not self.files:
            raise DataError(f"{self.path}: holds no .json files; is it another kind of file?")
        self.ids = [name.removesuffix(".json") for name in self.files]
        self.places = by_id(self.ids, str(self.path))

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Seen:
        where = f"{self.path}: {self.files[i]}"
        said = json_row(self.read(self.files[i], where), where)
        n = number(where, said, "num_boxes")
        width, height = (number(where, said, key, SIDE) for key in ("image_w", "image_h"))
        size = (float(width), float(height))
        boxes = floats(where, "boxes", said.get("boxes"), n).reshape(n, 4 if n == 0 else -1)
        probs = floats(where, "classes", said["classes"], n) if "classes" in said else None
        features = floats(where, "features", said.get("features"), n)
        if n == 0:
            features = np.zeros((0, self.needs.width or 0), np.float32)
            probs = None if probs is None else np.zeros((0, self.needs.probs or 0), np.float32)
        one = Seen(self.ids[i], size, boxes, features, self.detector, probs)
        return check(one, where, self.needs)

    def read(self, name: str, where: str) -> bytes:
        """The bytes of one file. DataError: damaged, or over the budget."""
        if not self.packed:
            with (self.path / name).open("rb") as file:
                data = file.read(LONGEST + 1)
        else:
            try:
                with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                    data = file.read(LONGEST + 1)
            except BROKEN as wrong:
                raise DataError(f"{where}: cannot be unpacked ({wrong})") from wrong
        if len(data) > LONGEST:
            raise DataError(f"{where}: over {LONGEST >> 20} MiB, too much for one picture")
        return data
