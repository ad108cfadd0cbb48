"""Where the samples of a tar shard lie, kept beside the shard.

NAME.tar.idx is a line of JSON (what it was made from, and a digest of the rest), then six 64-bit
little-endian numbers a sample (offset and size of picture, .txt and .json; -1 for none), then the
keys, one a line. It is a cache: one that does not fit its shard is made again.
"""

import errno
import hashlib
import json
import os
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sensorium.data.errors import DataError
from sensorium.datasets.files import PICTURES, refuse
from sensorium.datasets.tar import Truncated, members

FORMAT = 1
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
SAMPLED = 2**16  # bytes at either end of a shard that its index remembers


@dataclass(frozen=True)
class Index:
    """One shard: six numbers a sample, its keys, its size and time, whether it is on disk."""

    rows: NDArray[np.int64]
    keys: tuple[str, ...]
    stamp: tuple[int, int]
    stored: bool

    def key(self, i: int) -> str:
        """The name that the members of sample i share."""
        return self.keys[i]

    def __len__(self) -> int:
        return len(self.keys)


def open_index(path: Path, allow_truncated: bool = False) -> Index:
    """The index kept beside the shard if it fits, else made by reading the shard's headers and,
    where the folder can be written, kept. Raises DataError and OSError."""
    if not path.is_file():
        raise DataError(f"{path}: no such shard")
    about = origin(path)
    kept = load(path, about, allow_truncated)
    if kept is not None:
        return kept
    keys, rows, truncated = build(path, allow_truncated)
    stored = store(path, {**about, "truncated": truncated}, keys, rows)
    return Index(rows, keys, (int(about["size"]), int(about["mtime_ns"])), stored)


def origin(path: Path) -> dict[str, int | str]:
    """What an index must have been made from to fit this shard."""
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        digest = hashlib.sha256(file.read(SAMPLED))
        file.seek(max(0, found.st_size - SAMPLED))
        digest.update(file.read(SAMPLED))
    return {
        "format": FORMAT,
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ends_sha256": digest.hexdigest(),
    }


def beside(path: Path) -> Path:
    """The place of a shard's index."""
    return path.with_name(path.name + ".idx")


def load(path: Path, about: dict[str, int | str], allow_truncated: bool) -> Index | None:
    """The index on disk, or None where there is none that fits."""
    try:
        data = beside(path).read_bytes()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM):
            return None
        raise
    first, _, body = data.partition(b"\n")
    try:
        said = json.loads(first)
    except (ValueError, RecursionError):
        return None
    digest = hashlib.sha256(body).hexdigest()
    if not isinstance(said, dict) or {**said, **about, "sha256": digest} != said:
        return None
    count = said.get("samples")
    if not isinstance(count, int) or count < 0 or (said.get("truncated") and not allow_truncated):
        return None
    keys = tuple(body[count * 48 :].decode("utf-8", "replace").split("\n"))
    rows = np.frombuffer(body[: count * 48], "<i8")
    if len(keys) != count or len(rows) != count * 6:
        return None
    rows = rows.reshape(count, 6).astype(np.int64)
    size = int(about["size"])
    ends = rows[:, ::2] + rows[:, 1::2]
    if rows.size and (rows.min() < -1 or ends.max() > size):
        return None
    return Index(rows, keys, (size, int(about["mtime_ns"])), True)


def store(
    path: Path, about: dict[str, int | str], keys: tuple[str, ...], rows: NDArray[np.int64]
) -> bool:
    """Keep an index beside its shard; False where that place cannot be written."""
    body = rows.astype("<i8").tobytes() + "\n".join(keys).encode()
    digest = hashlib.sha256(body).hexdigest()
    first = json.dumps({**about, "samples": len(keys), "sha256": digest})
    try:
        with write_aside(beside(path)) as file:
            file.write(first.encode() + b"\n" + body)
    except OSError as error:
        if error.errno in UNWRITABLE:
            return False
        raise
    return True


def build(path: Path, allow_truncated: bool) -> tuple[tuple[str, ...], NDArray[np.int64], bool]:
    """Group a shard's members into samples: keys, rows, whether the shard ends early."""
    places: dict[str, dict[str, tuple[int, int]]] = {}
    last = ""
    truncated = False
    try:
        for name, offset, size in members(path):
            folder, base = posixpath.split(name.removeprefix("./"))
            stem, dot, ending = base.partition(".")
            if not dot or not stem:
                continue
            key, ending = posixpath.join(folder, stem), ending.lower()
            if key != last and key in places:
                raise DataError(
                    f"{path}: the members of sample {key!r} do not lie together, or two samples "
                    "have this name: make the tar again, sorted by name"
                )
            if not key.isprintable():
                raise DataError(f"{path}: the member {name!r} has unprintable characters in it")
            last = key
            if ending in places.setdefault(key, {}):
                raise DataError(f"{path}: the sample {key!r} has two members .{ending}")
            places[key][ending] = offset, size
    except Truncated as error:
        if not allow_truncated:
            raise DataError(
                f"{error}: copy it again, or allow_truncated to use the whole samples before"
            ) from None
        truncated = True
        places.pop(last, None)
    rows = np.full((len(places), 6), -1, np.int64)
    bad: list[str] = []
    for i, (key, found) in enumerate(places.items()):
        pictures = [e for e in found if "." + e in PICTURES]
        if len(pictures) != 1 or not {"txt", "json"} & set(found):
            what = f"{len(pictures)} pictures" if len(pictures) != 1 else "no .txt or .json"
            bad.append(f"{key!r} has {what}")
            continue
        for column, ending in ((0, pictures[0]), (2, "txt"), (4, "json")):
            if ending in found:
                rows[i, column : column + 2] = found[ending]
    remedy = "A sample is NAME.jpg (or png, webp, gif, bmp) with NAME.txt or NAME.json"
    refuse(path, "samples are incomplete", bad, len(places), remedy)
    if not places:
        raise DataError(f"{path}: holds no samples. {remedy}")
    return tuple(places), rows, truncated


@contextmanager
def write_aside(path: Path) -> Iterator[BinaryIO]:
    """A new file that appears at `path` whole and on disk, or not at all."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
