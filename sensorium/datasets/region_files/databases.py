"""LMDB (UNITER's, ViLBERT's) and HDF5 (Unified VLP's, and stacks of equal counts).

They need packages of their own (`pip install sensorium[regions]`), looked for when one is opened.

    UNITER   key = file name, value = npz; `__keys__` is a JSON list (or keys are walked)
    ViLBERT  key = picture id, value = a pickled dictionary of plain values, `keys` a pickled list
    VLP      a folder with *_featNNN.h5 and *_clsNNN.h5 by the id's last three digits, and bbox.h5
    stack    one file: features (b n d), boxes (b n 4) in pixels, sizes (b 2, width first), ids
"""

import base64
import binascii
import io
import json
import pickle
import re
from pathlib import Path
from typing import Any, NoReturn, final

import numpy as np

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows
from sensorium.datasets.region_files.arrays import from_npz
from sensorium.datasets.region_files.record import ANYTHING, Needs, Seen, by_id, check

LARGEST = 256 << 20  # bytes of one picture
EXTRA = "is needed to read {}: pip install 'sensorium[regions]'"
SPOILT = (ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError)
SPOILT += (OverflowError, MemoryError, RecursionError, pickle.UnpicklingError)


@final
class LmdbRegions(Rows[Seen]):
    """An LMDB of UNITER's or of ViLBERT's kind, which its values tell apart; opened where used."""

    def __init__(self, path: str | Path, detector: str, needs: Needs = ANYTHING):
        self.path, self.detector, self.needs = Path(path), detector, needs
        self._env: Any = None
        self.keys = self._listed()
        self.ids = [key.decode("utf-8", "replace").removesuffix(".npz") for key in self.keys]
        by_id(self.ids, str(path))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_env": None}

    def _get(self, key: bytes) -> bytes | None:
        if self._env is None:
            self._env = opened_lmdb(self.path)
        with self._env.begin(buffers=True) as transaction:
            found = transaction.get(key)
            if found is not None and len(found) > LARGEST:
                raise DataError(
                    f"{self.path}: {key[:40]!r}: over {LARGEST >> 20} MiB for a picture"
                )
            return None if found is None else bytes(found)

    def _listed(self) -> list[bytes]:
        told, pickled = self._get(b"__keys__"), self._get(b"keys")
        if told is not None:
            names = json.loads(told)
        elif pickled is not None:
            names = primitive(pickled, f"{self.path}: keys")
        else:
            with self._env.begin() as transaction:
                names = [bytes(key) for key in transaction.cursor().iternext(values=False)]
        if not isinstance(names, list) or not names:
            raise DataError(f"{self.path}: names no pictures; extract the features again")
        return [name.encode() if isinstance(name, str) else bytes(name) for name in names]

    def __len__(self) -> int:
        return len(self.keys)

    def sample(self, i: int) -> Seen:
        where = f"{self.path}: key {self.ids[i]!r}"
        data = self._get(self.keys[i])
        if data is None:
            raise DataError(f"{where}: the list names it, but it is not there; extract it again")
        if data[:4] == b"PK\x03\x04":
            one = from_npz(data, self.ids[i], where, self.detector)
        else:
            one = from_vilbert(primitive(data, where), self.ids[i], where, self.detector)
        return check(one, where, self.needs)


def from_vilbert(said: Any, name: str, where: str, detector: str) -> Seen:
    """ViLBERT's dictionary: sizes, count, boxes and features (base64 or raw bytes of float32)."""
    needed = ("image_h", "image_w", "num_boxes", "boxes", "features")
    if not isinstance(said, dict) or any(key not in said for key in needed):
        has = sorted(map(str, said)) if isinstance(said, dict) else type(said).__name__
        raise DataError(f"{where}: is {has}; a dictionary with {', '.join(needed)} is expected")
    try:
        n, size = int(said["num_boxes"]), (float(said["image_w"]), float(said["image_h"]))
        boxes = _floats(said["boxes"]).reshape(n, 4)
        features = _floats(said["features"]).reshape(n, -1)
    except (ValueError, TypeError, binascii.Error) as wrong:
        raise DataError(f"{where}: its numbers do not fit together ({wrong})") from wrong
    probs = said.get("cls_prob")
    if probs is not None:
        probs = _floats(probs).reshape(n, -1)
    return Seen(name, size, boxes, features, detector, probs)


def _floats(value: Any) -> np.ndarray:
    data = value.encode() if isinstance(value, str) else bytes(value)
    alphabet = re.fullmatch(rb"[A-Za-z0-9+/\s]*={0,2}", data)
    return np.frombuffer(base64.b64decode(data) if alphabet else data, "<f4")


class _Plain(pickle.Unpickler):
    """Follows a pickle of texts, bytes, numbers, lists and dictionaries; names nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise DataError(
            f"its pickle asks for {module_name}.{global_name}, and only plain values are read: a "
            "pickle can carry programs. Where you trust it, write it as TSV or npz first"
        )

    def persistent_load(self, pid: Any) -> NoReturn:
        raise DataError("its pickle refers to things outside of it; write it as TSV or npz first")


def primitive(data: bytes, where: str) -> Any:
    """The plain value that a pickle spells; nothing is imported or called.

    Raises:
        DataError: it spells anything else, or is damaged.
    """
    try:
        return _Plain(io.BytesIO(data)).load()
    except DataError as wrong:
        raise DataError(f"{where}: {wrong}") from wrong
    except SPOILT as wrong:
        raise DataError(f"{where}: no sound pickle ({wrong}); extract it again") from wrong


def opened_lmdb(path: Path) -> Any:
    """The database, for reading alone."""
    try:
        import lmdb
    except ImportError as wrong:
        raise DataError(f"{path}: lmdb {EXTRA.format('LMDB')}") from wrong
    if not path.exists():
        raise DataError(f"{path}: no such database")
    try:
        return lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, create=False)
    except lmdb.Error as wrong:
        raise DataError(f"{path}: no sound LMDB ({wrong}); copy it again") from wrong


@final
class Hdf5Regions(Rows[Seen]):
    """A stack in one file, or a folder of Unified VLP's files; opened anew for every sample.

    VLP's files keep no picture sizes: as in its program the largest coordinates stand for them.
    """

    def __init__(self, path: str | Path, detector: str, needs: Needs = ANYTHING):
        self.path, self.detector, self.needs = Path(path), detector, needs
        self.stack = not self.path.is_dir()
        where = str(self.path)
        if self.stack:
            with opened_hdf5(self.path) as file:
                missing = {"features", "boxes", "sizes", "ids"} - set(file)
                if missing:
                    raise DataError(f"{where}: has no {sorted(missing)}; it has {sorted(file)[:9]}")
                counts = {key: len(file[key]) for key in ("features", "boxes", "sizes", "ids")}
                if len(set(counts.values())) > 1:
                    raise DataError(f"{where}: rows differ: {counts}; write the file again")
                self.ids = [_name(v) for v in file["ids"][:]]
        else:
            self.boxes = self._one("bbox.h5")
            with opened_hdf5(self.boxes) as file:
                self.ids = sorted(file)
        by_id(self.ids, where)

    def _one(self, ending: str) -> Path:
        found = sorted(p for p in self.path.iterdir() if p.name.endswith(ending))
        if len(found) != 1:
            raise DataError(f"{self.path}: {len(found)} files end in {ending}, one is expected")
        return found[0]

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, i: int) -> Seen:
        name, where = self.ids[i], f"{self.path}: {self.ids[i]!r}"
        if self.stack:
            with opened_hdf5(self.path) as file:
                boxes, features = file["boxes"][i].astype(np.float32), file["features"][i]
                width, height = (float(v) for v in file["sizes"][i])
            one = Seen(name, (width, height), boxes, features, self.detector)
            return check(one, where, self.needs)
        part = name[-3:]
        with opened_hdf5(self.boxes) as file:
            rows = file[name][:].astype(np.float32)
        tables = []
        for what in ("feat", "cls"):
            with opened_hdf5(self._one(f"_{what}{part}.h5")) as file:
                if name not in file:
                    raise DataError(f"{where}: has boxes but no {what}; extract it again")
                tables.append(file[name][:])
        if rows.ndim != 2 or rows.shape[1] < 6:
            raise DataError(f"{where}: boxes are {rows.shape}, (regions, 6) is expected")
        size = (float(rows[:, 2].max()), float(rows[:, 3].max()))
        label, score = rows[:, 4].astype(np.int64), rows[:, 5]
        one = Seen(name, size, rows[:, :4], tables[0], self.detector, tables[1], label, score)
        return check(one, where, self.needs)


def opened_hdf5(path: Path) -> Any:
    """The file, for reading alone."""
    try:
        import h5py
    except ImportError as wrong:
        raise DataError(f"{path}: h5py {EXTRA.format('HDF5')}") from wrong
    try:
        return h5py.File(path, "r")
    except OSError as wrong:
        raise DataError(f"{path}: no sound HDF5 file ({wrong})") from wrong


def _name(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
