"""Reading published weights: one function, the format found from the file's content.

safetensors (one file, or shards with an index), NumPy's .npz, and PyTorch's pickled formats. A
pickle is a program, so those are read only when the caller says `allow_pickle=True`, and even then
they are not run: a limited child process follows them on paper (see `pickled`). There is no
fallback from one way to another.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from sensorium.weights.errors import WeightsError, some
from sensorium.weights.folder import not_finite
from sensorium.weights.header import check_header, parse_json, read_safetensors
from sensorium.weights.npz import read_npz

TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
WRAPPERS = ("module.", "_orig_mod.")  # DataParallel, torch.compile
INDEX_MAX = 64 << 20
CHILD = (
    "import json, sys; sys.path += json.loads(sys.argv[1]);"
    " from sensorium.weights.pickled import main; main(sys.argv[2:])"
)
FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer, not the weights; fetch the real file"),
    (b"<", "a web page or XML; the download went wrong, fetch it again"),
    (b"\x89HDF", "an HDF5 file, which is not supported; convert it to safetensors"),
    (b"GGUF", "a GGUF file, which is not supported here; convert it to safetensors"),
    (b"\x1f\x8b", "gzip; unpack it first"),
    (b"BZh", "bzip2; unpack it first"),
    (b"\xfd7zXZ", "xz; unpack it first"),
    (b"\x93NUMPY", "a single NumPy array without a name; put it into an .npz with its key"),
)


class Info(NamedTuple):
    """How a file was read.

    Attributes:
        format: "safetensors", "npz", "torch-zip", "torch-legacy" or "torchscript".
        metadata: what the file says of itself (safetensors metadata).
        notes: every liberty taken: a wrapper unwrapped, a prefix removed, entries left out.
        tied: names that are an equal view of another name's tensor.
    """

    format: str
    metadata: dict[str, str]
    notes: tuple[str, ...]
    tied: dict[str, str]


def read(
    path: str | os.PathLike[str],
    *,
    allow_pickle: bool = False,
    inside: str | None = None,
    check_finite: bool = True,
) -> tuple[dict[str, Tensor], Info]:
    """The tensors of a published file, under its own names.

    Args:
        path: the file, or the index of its shards (`*.index.json`).
        allow_pickle: read PyTorch's pickled formats, in a limited child process.
        inside: which dictionary of a pickled file is meant ("model_ema"), where it has several.
        check_finite: refuse tensors with NaN or infinity.

    A prefix `module.` or `_orig_mod.` is removed when every name has it, and `notes` says so.

    Raises:
        WeightsError: the file is not sound, or not of a format that is read here.
        OSError: it cannot be opened.
    """
    at = Path(path)
    if at.is_dir():
        files = sorted(entry.name for entry in at.iterdir() if entry.is_file())
        raise WeightsError(
            f"{at}: is a folder; give the file of weights in it (it has: {some(files)})"
        )
    if at.name.endswith(".json"):
        tensors, info = _read_shards(at, allow_pickle, inside)
    else:
        tensors, info = _read_one(at, allow_pickle, inside)
    if not tensors:
        raise WeightsError(f"{at}: holds no tensors")
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
            tied = {a.removeprefix(prefix): b.removeprefix(prefix) for a, b in info.tied.items()}
            notes = (*info.notes, f"removed the prefix {prefix!r} from every name")
            info = info._replace(notes=notes, tied=tied)
    bad = not_finite(tensors) if check_finite else []
    if bad:
        raise WeightsError(
            f"{at}: {len(bad)} tensors hold NaN or infinity: {some(bad)}; the file is damaged or"
            " its training diverged (check_finite=False reads them all the same)"
        )
    return tensors, info


def kind(path: Path) -> str:
    """The format of a file, from its first bytes and, for a zip, its members' names.

    Raises:
        WeightsError: none that is read here; the text says what it looks like.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if size == 0:
        raise WeightsError(f"{path}: is empty; fetch it again")
    if head[5:9] == b"\0\0\0{":  # a header's length in 8 bytes, then JSON
        return "safetensors"
    for magic, what in FOREIGN:
        if head.startswith(magic):
            raise WeightsError(f"{path}: is {what}")
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if head.startswith(TORCH_LEGACY):
        return "torch-legacy"
    if head[:1] == b"\x80" and len(head) > 1 and head[1] in range(2, 6):
        return "pickle"
    if path.suffix == ".safetensors":
        check_header(path)
    raise WeightsError(
        f"{path}: of no known format (it begins with {head[:8]!r}); safetensors, .npz and PyTorch"
        " files are read"
    )


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as wrong:
        raise WeightsError(
            f"{path}: a damaged or truncated zip ({wrong}); fetch it again"
        ) from wrong
    if any(name.endswith(("/data.pkl", "/constants.pkl")) or name == "data.pkl" for name in names):
        scripted = any(name.endswith("constants.pkl") for name in names)
        return "torchscript" if scripted else "torch-zip"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise WeightsError(f"{path}: a zip that is neither .npz nor PyTorch's (members: {some(names)})")


def _read_one(path: Path, allow_pickle: bool, inside: str | None) -> tuple[dict[str, Tensor], Info]:
    found = kind(path)
    if inside is not None and found in ("safetensors", "npz"):
        raise WeightsError(f"{path}: is {found}, which holds no dictionaries; leave out inside=")
    if found == "safetensors":
        tensors, metadata = read_safetensors(path)
        return tensors, Info(found, metadata, (), {})
    if found == "npz":
        tensors, notes = read_npz(path)
        return tensors, Info(found, {}, notes, {})
    if not allow_pickle:
        renamed = " (whatever its name says)" if path.suffix == ".safetensors" else ""
        raise WeightsError(
            f"{path}: is a pickled PyTorch file ({found}){renamed}; pickles can carry programs."
            " Take the same weights as safetensors if they are published so; or, if you trust where"
            " the file comes from, say allow_pickle=True (--allow-pickle): it is then read without"
            " being run"
        )
    return _read_pickled(path, inside)


def _read_pickled(path: Path, inside: str | None) -> tuple[dict[str, Tensor], Info]:
    """Has the child write the tensors as safetensors, and reads those."""
    size = path.stat().st_size
    roots = [Path(__file__).parents[2], Path(np.__file__).parents[1]]
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **kept}
    with tempfile.TemporaryDirectory(prefix="sensorium-") as scratch:
        target = Path(scratch) / "tensors.safetensors"
        places = json.dumps([str(root) for root in roots])
        command = [sys.executable, "-I", "-c", CHILD, places]
        command += [str(path.resolve()), str(target), json.dumps(inside)]
        try:
            child = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=scratch,
                env=environment,
                timeout=300 + size / 2e6,
                check=False,
            )
        except subprocess.TimeoutExpired as wrong:
            raise WeightsError(
                f"{path}: reading it took more than {wrong.timeout:.0f} s"
            ) from wrong
        if child.returncode != 0 or not child.stdout:
            raise _child_ended(path, child)
        said: dict[str, Any] = json.loads(child.stdout)
        if "refused" in said:
            raise WeightsError(f"{path}: {said['refused']}")
        tensors, _ = read_safetensors(target)
    tied: dict[str, str] = said["tied"]
    tensors.update({alias: tensors[name] for alias, name in tied.items()})
    return tensors, Info(said["format"], {}, tuple(said["notes"]), tied)


def _child_ended(path: Path, child: subprocess.CompletedProcess[bytes]) -> WeightsError:
    last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
    why = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
    return WeightsError(
        f"{path}: the limited process that reads pickled files ended with {why}"
        f" ({' '.join(last)[:300]}); the file asks for more memory, time or disk than its size"
        f" allows, or the disk under {tempfile.gettempdir()} is full"
    )


def _read_shards(
    path: Path, allow_pickle: bool, inside: str | None
) -> tuple[dict[str, Tensor], Info]:
    if path.stat().st_size > INDEX_MAX:
        raise WeightsError(f"{path}: an index larger than {INDEX_MAX} bytes")
    index = parse_json(path.read_bytes(), str(path))
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{path}: no index of shards (it has no 'weight_map')")
    tensors: dict[str, Tensor] = {}
    infos: list[Info] = []
    for shard in sorted({str(name) for name in weight_map.values()}):
        if Path(shard).name != shard or shard in ("", ".", ".."):
            raise WeightsError(
                f"{path}: the shard {shard!r} is no plain file name beside the index"
            )
        if not (path.parent / shard).is_file():
            raise WeightsError(
                f"{path}: the shard {shard} is missing; fetch it into the same folder"
            )
        part, info = _read_one(path.parent / shard, allow_pickle, inside)
        promised = {name for name, where in weight_map.items() if where == shard}
        if set(part) != promised:
            odd = sorted(set(part) ^ promised)
            raise WeightsError(
                f"{path}: index and shard {shard} disagree on {len(odd)}: {some(odd)}"
            )
        tensors.update(part)
        infos.append(info)
    first = infos[0]
    notes = tuple(dict.fromkeys(note for info in infos for note in info.notes))
    tied = {alias: name for info in infos for alias, name in info.tied.items()}
    return tensors, Info(first.format, first.metadata, notes, tied)
