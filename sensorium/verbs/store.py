"""The files of a picture index: what was embedded, of which pictures, and what makes it quick.

    index.json               the manifest; whatever it does not name is not part of the index
    vectors-000001.safetensors   `vectors` (n e) float32 of unit length, `sha256` (n 32) of the
                             pictures they belong to; a row a content, not a row a file
    files-000002.json        relative path -> [bytes, mtime in ns, sha256, row]
    near-000003.faiss        an approximate index over the first rows, in large indexes only
    .lock                    held while the index is being changed

Files are written once, fsynced, and only then named by the manifest, which is replaced in one step.
So a kill at any moment leaves the index as the last manifest says; what it does not name is cleared
by the next run. Vectors are found by content, so a run that was cut off continues where it was.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8

from sensorium.data.errors import DataError
from sensorium.weights.atomic import write_file
from sensorium.weights.errors import WeightsError
from sensorium.weights.header import parse_json, read_safetensors
from sensorium.weights.writing import sha256, write

FORMAT = "sensorium-index/1"
MANIFEST = "index.json"
AGAIN = "run `sensorium index` again: it embeds anew what was lost"
ANEW = "remove this folder and run `sensorium index` again"
_OURS = re.compile(r"(vectors-\d+\.safetensors|files-\d+\.json|near-\d+\.faiss)")
_BEGUN = re.compile(rf"\.lock|\.{re.escape(MANIFEST)}\.saving|{_OURS.pattern}")
_KEYS = {"model": str, "folder": str, "width": int, "next": int, "vectors": list}

Manifest = dict[str, Any]


class File(NamedTuple):
    """A picture file: its size and time of change, its content, and the row of its vector."""

    bytes: int
    mtime: int  # ns
    sha256: str
    row: int


class Store(NamedTuple):
    """An opened index. `vectors` are views of mapped files: nothing is read before it is needed."""

    at: Path
    manifest: Manifest
    vectors: list[np.ndarray]  # parts of (n e), row after row
    contents: list[np.ndarray]  # parts of (n 32)
    files: dict[str, File]
    live: np.ndarray  # (n) which rows a file still has

    @property
    def rows(self) -> int:
        """How many vectors there are, those of pictures since removed among them."""
        return sum(map(len, self.vectors))

    def take(self, rows: np.ndarray) -> Float[np.ndarray, "n e"]:
        """Copies of some rows, in the order given."""
        out = np.empty((len(rows), self.manifest["width"]), np.float32)
        first = 0
        for part in self.vectors:
            here = (rows >= first) & (rows < first + len(part))
            out[here] = part[rows[here] - first]
            first += len(part)
        return out


def open_store(at: str | os.PathLike[str]) -> Store:
    """Opens an index to search it; while another process changes it, as it was or as it is then.

    Raises:
        DataError: no index, unfinished, of another version, or damaged; with the remedy.
        OSError: it cannot be read.
    """
    at = Path(os.path.abspath(at))
    for _ in range(10):  # a run that ends just now takes files away that its manifest dropped
        manifest = read_manifest(at)
        try:
            if manifest["files"] is None:
                raise DataError(f"{at}: this index was never finished; run `sensorium index` again")
            for entry in named(manifest):
                check_size(at, entry)
            return read_parts(at, manifest)
        except (DataError, FileNotFoundError):
            if read_manifest(at) == manifest:
                raise
    raise DataError(f"{at}: the index changes too quickly to be read; try again")


def read_parts(at: Path, manifest: Manifest) -> Store:
    """The parts a manifest names, each held to what it says of them."""
    parts = [read_vectors(at, entry, manifest["width"]) for entry in manifest["vectors"]]
    rows = sum(len(vectors) for vectors, _ in parts)
    files = read_files(at, manifest["files"], rows) if manifest["files"] else {}
    live = np.zeros(rows, bool)
    live[[f.row for f in files.values()]] = True
    return Store(at, manifest, [v for v, _ in parts], [c for _, c in parts], files, live)


def read_manifest(at: Path) -> Manifest:
    """The manifest, its version and its fields checked."""
    path = at / MANIFEST
    if not path.is_file():
        raise DataError(f"{at}: no {MANIFEST}, so this is no index; make one: sensorium index")
    try:
        manifest = parse_json(path.read_bytes(), str(path))
    except WeightsError as wrong:
        raise DataError(f"{wrong}: the index is damaged; {ANEW}") from wrong
    if manifest.get("format") != FORMAT:
        raise DataError(f"{path}: format {manifest.get('format')!r}, not {FORMAT}; {ANEW}")
    bad = [k for k, kind in _KEYS.items() if type(manifest.get(k)) is not kind]
    entries = [] if bad else named(manifest | {k: manifest.get(k) for k in ("files", "near")})
    if bad or not all(map(sound, entries)) or not {"files", "near"} <= set(manifest):
        raise DataError(f"{path}: the manifest is damaged ({', '.join(bad) or 'a file'}); {ANEW}")
    return manifest


def named(manifest: Manifest) -> list[Any]:
    """What a manifest says of each of its files."""
    return [*manifest["vectors"], *(x for x in (manifest["files"], manifest["near"]) if x)]


def sound(entry: Any) -> bool:
    """Whether an entry names a file of ours, inside the folder, with its size and sum."""
    kinds = {"name": str, "rows": int, "bytes": int, "sha256": str}
    fits = isinstance(entry, dict) and all(type(entry.get(k)) is t for k, t in kinds.items())
    return fits and bool(_OURS.fullmatch(entry["name"])) and entry["rows"] >= 0


def check_size(at: Path, entry: dict[str, Any]) -> None:
    """Raises DataError for a file that is missing or of another size."""
    path = at / entry["name"]
    if not path.is_file():
        raise DataError(f"{path}: the file is missing; {AGAIN}")
    if (size := path.stat().st_size) != entry["bytes"]:
        raise DataError(f"{path}: {size} bytes, not {entry['bytes']}: it is damaged; {AGAIN}")


def whole(at: Path, entry: dict[str, Any]) -> bool:
    """Whether a file is there and has the content it was written with."""
    path = at / entry["name"]
    right = path.is_file() and path.stat().st_size == entry["bytes"]
    return right and sha256(path) == entry["sha256"]


def read_vectors(
    at: Path, entry: dict[str, Any], width: int
) -> tuple[Float[np.ndarray, "n e"], UInt8[np.ndarray, "n 32"]]:
    """One part of the vectors, and the contents they belong to."""
    path = at / entry["name"]
    try:
        tensors, _ = read_safetensors(path)
    except WeightsError as wrong:
        raise DataError(f"{path}: damaged; {AGAIN} ({wrong})") from wrong
    shapes = {k: (t.dtype, tuple(t.shape)) for k, t in tensors.items()}
    n = entry["rows"]
    wanted = {"vectors": (torch.float32, (n, width)), "sha256": (torch.uint8, (n, 32))}
    if shapes != wanted:
        raise DataError(f"{path}: holds {shapes}, not {wanted}; {AGAIN}")
    return tensors["vectors"].numpy(), tensors["sha256"].numpy()


def read_files(at: Path, entry: dict[str, Any], rows: int) -> dict[str, File]:
    """The table of files; every row it names is one of `rows`."""
    path = at / entry["name"]
    try:
        table = parse_json(path.read_bytes(), str(path))
        files = {name: File(*fields) for name, fields in table.items()}
    except (WeightsError, TypeError) as wrong:
        raise DataError(f"{path}: damaged; {AGAIN} ({wrong})") from wrong
    for name, f in files.items():
        numbers = type(f.bytes) is type(f.mtime) is type(f.row) is int
        if not (numbers and isinstance(f.sha256, str) and 0 <= f.row < rows) or climbs(name):
            raise DataError(f"{path}: the entry {name!r} is damaged; {AGAIN}")
    return files


def climbs(name: str) -> bool:
    """Whether a relative name leads out of its folder."""
    return os.path.isabs(name) or ".." in name.split("/") or not name or "\0" in name


# --- writing ------------------------------------------------------------------------------------


@contextlib.contextmanager
def changing(at: Path) -> Iterator[None]:
    """Makes the folder of an index if need be, and keeps every other process from changing it.

    Raises:
        DataError: it holds something else, or another process is changing it.
        OSError: it cannot be made or written.
    """
    if at.exists() and not at.is_dir():
        raise DataError(f"{at}: this is a file; an index is a folder: choose another place")
    if at.exists() and not (at / MANIFEST).is_file():
        strange = sorted(e.name for e in os.scandir(at) if not _BEGUN.fullmatch(e.name))
        if strange:
            raise DataError(
                f"{at}: holds something else ({', '.join(strange[:3])}) and no index; choose a new "
                "or an empty folder"
            )
    at.mkdir(parents=True, exist_ok=True)
    lock = os.open(at / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as wrong:
            raise DataError(f"{at}: another process is changing this index; let it end") from wrong
        yield
    finally:
        os.close(lock)


def begin(model: str, folder: Path, width: int, checkpoint: Path | None = None) -> Manifest:
    """The manifest of an index that holds nothing yet.

    `checkpoint` is where the model lay: a hint for who searches, never proof of which model it was.
    """
    fields = {"format": FORMAT, "model": model, "folder": str(folder), "width": width, "next": 1}
    lay = None if checkpoint is None else str(checkpoint)
    return fields | {"vectors": [], "files": None, "near": None, "checkpoint": lay}


def commit(at: Path, manifest: Manifest) -> None:
    """Makes this the state of the index."""
    write_file(at / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())


def clear(at: Path, manifest: Manifest) -> None:
    """Removes files of ours that the manifest does not name: dropped ones, and those of kills."""
    kept = {entry["name"] for entry in named(manifest)}
    for entry in list(os.scandir(at)):
        if _OURS.fullmatch(entry.name) and entry.name not in kept:
            os.unlink(entry.path)


def add_vectors(
    at: Path, manifest: Manifest, vectors: np.ndarray, contents: np.ndarray
) -> Manifest:
    """Writes a part; the manifest that names it too (to be committed)."""
    name = f"vectors-{manifest['next']:06d}.safetensors"
    tensors = {"vectors": torch.from_numpy(vectors), "sha256": torch.from_numpy(contents)}
    with removed_on_failure(at / name):
        written = write(at / name, tensors, {})
    entry = {"name": name, "rows": len(vectors), **written._asdict()}
    more = {"vectors": [*manifest["vectors"], entry], "next": manifest["next"] + 1}
    return manifest | more


def add_files(at: Path, manifest: Manifest, files: dict[str, File]) -> Manifest:
    """Writes the table of files; the manifest that names it instead of the older one."""
    name = f"files-{manifest['next']:06d}.json"
    lines = ",\n".join(f"{json.dumps(path)}: {json.dumps(f)}" for path, f in sorted(files.items()))
    data = f"{{{lines}}}\n".encode()
    with removed_on_failure(at / name), (at / name).open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    digest = hashlib.sha256(data).hexdigest()
    entry = {"name": name, "rows": len(files), "bytes": len(data), "sha256": digest}
    return manifest | {"files": entry, "next": manifest["next"] + 1}


@contextlib.contextmanager
def removed_on_failure(path: Path) -> Iterator[None]:
    """A file half written is taken away; the error says that the index is as it was."""
    try:
        yield
    except OSError as wrong:
        path.unlink(missing_ok=True)
        text = f"the index could not be written: {wrong.strerror} (what it held before is kept)"
        raise OSError(wrong.errno, text, str(path)) from wrong
