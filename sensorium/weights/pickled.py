"""Takes the tensors out of a PyTorch pickle without running it: the child process of `readers`.

It understands `torch.save` files (zip, and the older chain of pickles) and TorchScript archives,
whose modules are plain bags of attributes, follows them on paper (`paper`), and writes the tensors
as safetensors. Before it opens the file it limits its own memory, time and file size, and forbids
itself to start programs, open sockets, import or compile. It needs no torch.
"""

import io
import json
import os
import resource
import sys
import zipfile
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from sensorium.weights.errors import WeightsError, some
from sensorium.weights.paper import DTYPES, Array, Call, Storage, elements, follow, width

PICKLE_MAX = 1 << 28  # bytes of one data.pkl
NAMES_MAX = 200_000
MAGIC = 0x1950A86A20F9469CFC6C  # opens torch's older files
MEMORY = 1 << 30  # bytes, and three times the file
SECONDS = 60  # of processor time, and one more for every 10 MB
ROOM = 64 << 20  # bytes that may be written beyond twice the file
FORBIDDEN = ("os.", "subprocess.", "socket.", "import", "exec", "compile", "ctypes.", "shutil.")


class Zipped:
    """A zip written by torch.save or torch.jit.save: members are stored, not compressed."""

    def __init__(self, file: BufferedIOBase):
        self.zip = zipfile.ZipFile(file)
        members = self.zip.infolist()
        self.members = {member.filename: member for member in members}
        roots = [
            name for name in self.members if name.endswith("data.pkl") and name.count("/") <= 1
        ]
        if len(self.members) != len(members) or len(roots) != 1:
            raise WeightsError("the zip holds no single data.pkl: no file of torch's")
        self.base = roots[0].removesuffix("data.pkl")
        if f"{self.base}byteorder" in self.members and self.read("byteorder", 16) != b"little":
            raise WeightsError("it was written on a big-endian machine")
        script = f"{self.base}constants.pkl" in self.members
        self.format = "torchscript" if script else "torch-zip"
        self.root = follow(io.BytesIO(self.read("data.pkl", PICKLE_MAX)))

    def read(self, name: str, most: int) -> bytes:
        member = self.members.get(self.base + name)
        if member is None:
            raise WeightsError(f"the member {name} is missing")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise WeightsError(
                f"the member {name} is compressed or encrypted, as torch never writes it"
            )
        if member.file_size > most:
            raise WeightsError(
                f"the member {name} has {member.file_size} bytes, {most} at most are allowed"
            )
        return self.zip.read(member)

    def storage(self, key: str) -> bytes:
        return self.read(f"data/{key}", 1 << 48)


class Chained:
    """torch's older files: magic, version, system, object, storage keys, then raw storages."""

    format = "torch-legacy"

    def __init__(self, file: BufferedIOBase):
        magic, _, system = follow(file), follow(file), follow(file)
        if magic != MAGIC or not isinstance(system, dict):
            raise WeightsError("a bare pickle, not a file of torch.save's")
        if system.get("little_endian") is not True:
            raise WeightsError("it was written on a big-endian machine")
        self.storages: dict[str, Storage] = {}
        self.root = follow(file, self.storages)
        keys = follow(file)
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise WeightsError("the list of storages is damaged")
        self.file = file
        self.places: dict[str, tuple[int, int]] = {}
        at, size = file.tell(), os.fstat(file.fileno()).st_size
        for key in keys:
            file.seek(at)
            count = int.from_bytes(file.read(8), "little")
            if key not in self.storages:
                raise WeightsError(f"the storage {key!r} belongs to no tensor")
            dtype = self.storages[key].dtype
            length = count * (width(dtype) if dtype else 1)
            if at + 8 + length > size:
                raise WeightsError("it is truncated")
            self.places[key] = (at + 8, length)
            at += 8 + length

    def storage(self, key: str) -> bytes:
        if key not in self.places:
            raise WeightsError(f"the storage {key!r} is missing")
        at, length = self.places[key]
        self.file.seek(at)
        return self.file.read(length)


class Chosen(NamedTuple):
    """The tensors that a file is about, and what was done to find them."""

    arrays: dict[str, Array]
    notes: list[str]


def choose(root: Any, scripted: bool, inside: str | None) -> Chosen:
    """The state dict in what a pickle spells: itself, or the only one a level below it.

    Raises:
        WeightsError: there is none, or several and `inside` does not say which.
    """
    if scripted:
        return _attributes(root)
    if not isinstance(root, dict):
        raise WeightsError("it holds no dictionary of tensors; save a state dict")
    notes: list[str] = []
    if inside is not None:
        if not isinstance(root.get(inside), dict):
            raise WeightsError(f"there is no dictionary {inside!r} in it; it has: {_keys(root)}")
        root = root[inside]
    own = {key: value for key, value in root.items() if isinstance(value, Array)}
    below = [
        key
        for key, value in root.items()
        if isinstance(value, dict) and any(isinstance(inner, Array) for inner in value.values())
    ]
    if not own and len(below) == 1:
        notes.append(f"unwrapped {below[0]!r}")
        root = root[below[0]]
        own = {key: value for key, value in root.items() if isinstance(value, Array)}
    elif below:
        raise WeightsError(
            f"several things in it hold tensors: {some(map(repr, below))}"
            f"{' and the file itself' if own else ''}; say which with inside="
        )
    if not own:
        raise WeightsError(f"no tensors at its top or one level below; it has: {_keys(root)}")
    if not all(isinstance(key, str) for key in own):
        raise WeightsError("a tensor's key is no text")
    left = [repr(key) for key in root if key not in own]
    if left:
        notes.append(f"left out what is no tensor: {some(left)}")
    return Chosen(own, notes)


def _keys(root: Mapping[Any, Any]) -> str:
    return some(repr(key)[:80] for key in root)


def _attributes(root: Any) -> Chosen:
    """Tensors among the attributes of TorchScript modules, by their dotted path."""
    arrays: dict[str, Array] = {}
    todo: list[tuple[str, Any, frozenset[int]]] = [("", root, frozenset())]
    seen = 0
    while todo:
        path, module, above = todo.pop()
        if not isinstance(module, Call) or not isinstance(module.state, dict):
            raise WeightsError("its modules are not as torch.jit.save writes them")
        if id(module) in above or len(above) > 100:
            raise WeightsError("its modules contain themselves or are nested too deeply")
        below: list[tuple[str, Any, frozenset[int]]] = []
        for name, value in module.state.items():
            seen += 1
            if seen > NAMES_MAX:
                raise WeightsError(f"it has more than {NAMES_MAX} attributes")
            if isinstance(value, Array):
                arrays[f"{path}{name}"] = value
            elif isinstance(value, Call) and value.name.module.split(".")[0] == "__torch__":
                below.append((f"{path}{name}.", value, above | {id(module)}))
        todo += reversed(below)
    if not arrays:
        raise WeightsError("its modules hold no tensors")
    return Chosen(arrays, ["attributes of TorchScript modules; no code was read"])


def write(
    target: Path, file: Zipped | Chained, arrays: dict[str, Array], most: int
) -> dict[str, str]:
    """Writes the tensors as safetensors; gives the names that are another's equal view."""
    first: dict[Array, str] = {}
    tied: dict[str, str] = {}
    for name, array in arrays.items():
        if array in first:
            tied[name] = first[array]
        else:
            first[array] = name
    order = sorted(first, key=lambda array: (-width(array.dtype), array.key, array.offset))
    header: dict[str, object] = {}
    end = 0
    for array in order:
        begin, end = end, end + elements(array) * width(array.dtype)
        header[first[array]] = {
            "dtype": DTYPES[array.dtype][1],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    if end > most:
        raise WeightsError(f"its tensors would take {end} bytes, far more than the file has")
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with target.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        key, data = "", b""
        for array in order:
            if array.key != key:
                key, data = array.key, file.storage(array.key)
            out.write(gather(array, data))
    return tied


def gather(array: Array, data: bytes) -> bytes:
    """The elements of a strided view, row-major."""
    if elements(array) == 0:
        return b""
    kind = np.dtype(DTYPES[array.dtype][2])
    steps = zip(array.shape, array.strides, strict=True)
    last = array.offset + sum((length - 1) * step for length, step in steps)
    if (last + 1) * kind.itemsize > len(data):
        raise WeightsError(f"the storage {array.key!r} is shorter than its tensors need: truncated")
    flat = np.frombuffer(data, kind, count=len(data) // kind.itemsize)[array.offset :]
    strides = tuple(step * kind.itemsize for step in array.strides)
    return np.ascontiguousarray(as_strided(flat, array.shape, strides, writeable=False)).tobytes()


def confine(size: int) -> None:
    """Takes from this process what reading a file of `size` bytes does not need."""
    for text in ("ascii", "latin-1", "cp437", "raw_unicode_escape", "unicode_escape"):
        "a".encode(text)  # loads the codecs, for importing ends below
        b"a".decode(text)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: SECONDS + size // 10_000_000,
        resource.RLIMIT_FSIZE: 2 * size + ROOM,
        resource.RLIMIT_NOFILE: 32,
    }
    if sys.platform == "linux":  # elsewhere the system does not keep this limit
        limits[resource.RLIMIT_AS] = MEMORY + 3 * size
    for what, most in limits.items():
        hard = resource.getrlimit(what)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))

    def forbid(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise WeightsError(f"reading it led to {event}, which is forbidden")

    sys.addaudithook(forbid)


def convert(source: Path, target: Path, inside: str | None) -> dict[str, Any]:
    """Reads SOURCE, writes TARGET; what there is to say of it.

    Raises:
        WeightsError: the file is refused or damaged.
    """
    size = source.stat().st_size
    with source.open("rb") as file:
        try:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            opened = Zipped(file) if zipped else Chained(file)
            chosen = choose(opened.root, opened.format == "torchscript", inside)
            tied = write(target, opened, chosen.arrays, 2 * size + ROOM // 2)
        except WeightsError:
            raise
        except MemoryError as wrong:
            raise WeightsError(f"it needs more than {MEMORY + 3 * size} bytes of memory") from wrong
        except DAMAGED as wrong:
            raise WeightsError(
                f"it is damaged or truncated ({type(wrong).__name__}: {wrong})"
            ) from wrong
    return {"format": opened.format, "notes": chosen.notes, "tied": tied}


# what following nonsense can end in
DAMAGED = (ValueError, IndexError, KeyError, TypeError, EOFError, OverflowError, zipfile.BadZipFile)
DAMAGED += (NotImplementedError, RuntimeError, RecursionError)


def main(arguments: list[str]) -> None:
    """Entry of the child: SOURCE TARGET INSIDE-as-JSON; prints one line of JSON."""
    source, target, inside = Path(arguments[0]), Path(arguments[1]), json.loads(arguments[2])
    confine(source.stat().st_size)
    try:
        said = convert(source, target, inside)
    except WeightsError as wrong:
        said = {"refused": str(wrong)[:2000]}
    sys.stdout.write(json.dumps(said) + "\n")
