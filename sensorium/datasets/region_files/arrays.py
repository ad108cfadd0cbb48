"""NumPy's forms: UNITER's and MILVLG's npz, one a picture, and Pythia's pairs of npy files.

    UNITER  features (n d), norm_bb (n 6) as shares, conf (n), soft_labels (n v, background first)
    MILVLG  x (n d), bbox (n 4) in pixels, num_bbox, image_h, image_w; its `info` is a pickle and
            is left out, files of our own have objects_id, objects_conf, attrs_id, attrs_conf beside
    Pythia  ID.npy (n d) and ID_info.npy, a pickle, which is refused: convert it to `ID_boxes.npy`
            (n 4, pixels) and `ID_size.npy` (width, height)

Nothing is ever unpickled.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from sensorium.data.errors import DataError
from sensorium.datasets.files import Rows, found_below
from sensorium.datasets.region_files.record import ANYTHING, Needs, Seen, check

LARGEST = 256 << 20  # bytes that the arrays of one picture may unfold to
BROKEN = (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
BROKEN += (NotImplementedError, RuntimeError, SyntaxError, TypeError)
LABELS = ("objects_id", "objects_conf", "attrs_id", "attrs_conf")


@final
class NpzRegions(Rows[Seen]):
    """A folder of npz files, one a picture, named by its id."""

    def __init__(self, folder: str | Path, detector: str, needs: Needs = ANYTHING):
        self.folder, self.detector, self.needs = Path(folder), detector, needs
        self.files = found_below(folder, (".npz",))
        if not self.files:
            raise DataError(f"{folder}: holds no .npz files; is it another kind of file?")
        self.ids = [name.removesuffix(".npz") for name in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def sample(self, i: int) -> Seen:
        path = self.folder / self.files[i]
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        return check(from_npz(data, self.ids[i], str(path), self.detector), str(path), self.needs)


def from_npz(data: bytes, name: str, where: str, detector: str) -> Seen:
    """One picture from the bytes of an npz of either kind.

    Raises:
        DataError: damaged, too large, or with other arrays.
    """
    arrays = unpacked(data, where)
    if {"features", "norm_bb"} <= arrays.keys():
        return from_uniter(arrays, name, where, detector)
    if {"x", "bbox", "image_h", "image_w"} <= arrays.keys():
        size = (float(arrays["image_w"]), float(arrays["image_h"]))
        said = {ours: arrays.get(key) for ours, key in zip(OURS, LABELS, strict=True)}
        boxes = arrays["bbox"].astype(np.float32)
        n = int(arrays.get("num_bbox", np.array(len(boxes))))
        if n != len(boxes):
            raise DataError(f"{where}: num_bbox is {n}, there are {len(boxes)} boxes; extract anew")
        return Seen(name, size, boxes, arrays["x"], detector, arrays.get("probs"), **said)
    raise DataError(
        f"{where}: holds {sorted(arrays)}; features and norm_bb (UNITER) or x, bbox, image_h and "
        "image_w (MILVLG) are expected"
    )


OURS = ("label", "score", "attribute", "attribute_score")


def from_uniter(arrays: Mapping[str, np.ndarray], name: str, where: str, detector: str) -> Seen:
    """UNITER's arrays; boxes are shares of the picture, whose size the file does not keep.

    Raises:
        DataError: the regions are not in descending order of confidence, as UNITER's reader, which
            cuts the list, takes for granted; or boxes of other than 6 or 7 columns.
    """
    boxes, score = arrays["norm_bb"].astype(np.float32), arrays.get("conf")
    if boxes.ndim != 2 or boxes.shape[1] not in (6, 7):
        raise DataError(f"{where}: norm_bb is {boxes.shape}, (regions, 6) is expected")
    if score is not None and score.ndim == 1 and (np.diff(score.astype(np.float32)) > 0).any():
        raise DataError(f"{where}: regions are not sorted by conf, best first; sort all arrays")
    probs = arrays.get("soft_labels")
    return Seen(name, (1.0, 1.0), boxes[:, :4], arrays["features"], detector, probs, score=score)


def unpacked(data: bytes, where: str) -> dict[str, np.ndarray]:
    """The plain arrays of an npz; pickled members are left out.

    Raises:
        DataError: damaged, or over the budget.
    """
    if len(data) > LARGEST:
        raise DataError(f"{where}: over {LARGEST >> 20} MiB, too much for one picture")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise DataError(f"{where}: unfolds to over {LARGEST >> 20} MiB; it is no features")
            out = {}
            for member in archive.namelist():
                raw = archive.read(member)
                if b"'|O'" not in raw[:256] and b"'O'" not in raw[:256]:
                    out[member.removesuffix(".npy")] = np.load(io.BytesIO(raw), allow_pickle=False)
            return out
    except DataError:
        raise
    except BROKEN as wrong:
        raise DataError(f"{where}: no sound npz ({wrong}); extract the features again") from wrong


def packed_npz(one: Seen) -> bytes:
    """A picture in MILVLG's form, classes and attributes as arrays of their own."""
    arrays: dict[str, Any] = {"x": one.features, "bbox": one.boxes.astype(np.float32)}
    arrays |= {"num_bbox": len(one.boxes), "image_w": one.size[0], "image_h": one.size[1]}
    said = zip(LABELS, (one.label, one.score, one.attribute, one.attribute_score), strict=True)
    arrays |= {key: value for key, value in said if value is not None}
    arrays |= {} if one.probs is None else {"probs": one.probs}
    return _npz(arrays)


def packed_uniter(one: Seen) -> bytes:
    """A picture in UNITER's form: shares, best first, numbers in halves as its files have them.

    Raises:
        DataError: confidences or class probabilities are not known.
    """
    if one.score is None or one.probs is None:
        raise DataError(f"picture {one.id!r}: UNITER's file needs confidences and probabilities")
    best = np.argsort(-one.score, kind="stable")
    share = one.shares()[best]
    sides = share[:, 2:] - share[:, :2]
    arrays = {
        "features": one.features[best].astype(np.float16),
        "norm_bb": np.concatenate([share, sides], axis=1).astype(np.float16),
        "conf": one.score[best].astype(np.float16),
        "soft_labels": one.probs[best].astype(np.float16),
    }
    return _npz(arrays)


def _npz(arrays: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


@final
class PairRegions(Rows[Seen]):
    """A folder of ID.npy, ID_boxes.npy and ID_size.npy (see above)."""

    def __init__(self, folder: str | Path, detector: str, needs: Needs = ANYTHING):
        self.folder, self.detector, self.needs = Path(folder), detector, needs
        names = set(found_below(folder, (".npy",)))
        extra = ("_info.npy", "_boxes.npy", "_size.npy")
        self.ids = sorted(n.removesuffix(".npy") for n in names if not n.endswith(extra))
        if not self.ids:
            raise DataError(f"{folder}: holds no .npy files of features; another kind of file?")
        bare = [one for one in self.ids if not {f"{one}_boxes.npy", f"{one}_size.npy"} <= names]
        if bare:
            pickled = f"{bare[0]}_info.npy" in names
            why = "_info.npy is a pickle, which can carry programs" if pickled else "no boxes"
            raise DataError(
                f"{folder}: {len(bare)} pictures have no _boxes.npy and _size.npy (the first: "
                f"{bare[0]!r}): {why}. Where you trust the file, write its boxes and size as such"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def sample(self, i: int) -> Seen:
        at = self.folder / self.ids[i]
        features, boxes, size = (plain(f"{at}{end}.npy") for end in ("", "_boxes", "_size"))
        width, height = (float(v) for v in size.reshape(-1)[:2])
        one = Seen(self.ids[i], (width, height), boxes.astype(np.float32), features, self.detector)
        return check(one, f"{at}.npy", self.needs)


def plain(path: str) -> np.ndarray:
    """An npy file without pickles.

    Raises:
        DataError: it is none.
    """
    if os.path.getsize(path) > LARGEST:
        raise DataError(f"{path}: over {LARGEST >> 20} MiB, too much for one picture")
    try:
        return np.load(path, allow_pickle=False)
    except BROKEN as wrong:
        raise DataError(f"{path}: no plain array ({wrong}); save it as one") from wrong
