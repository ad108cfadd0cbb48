"""Reading GGUF files: a header of typed values, a list of tensors, and their packed numbers.

Nothing in the file is believed before it is checked: counts against budgets and against the bytes
that are left, names once, places inside the file and aligned, types that are known. Numbers come
out as float32 in the file's own names and order of rows.
"""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError
from sensorium.weights.ggml import OTHERS, PACKINGS

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_VALUES, MOST_TENSORS, MOST_ITEMS = 10_000, 100_000, 1_000_000
MOST_TEXT, MOST_AXES, HEADER_MAX = 1 << 20, 4, 256 << 20
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
SCALARS |= {12: "d"}
TEXT, ARRAY = 8, 9


class Entry(NamedTuple):
    """A tensor of the file: its shape in torch's order, its type, and its first byte."""

    shape: tuple[int, ...]
    packing: int
    start: int


class Header(NamedTuple):
    """What the file says of itself, and its tensors by name."""

    values: dict[str, Any]
    tensors: dict[str, Entry]


class _Cursor:
    """Reads the header; an end that comes too soon is told by place."""

    def __init__(self, path: Path):
        self.path, self.at = path, 0
        with path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            self.data = file.read(HEADER_MAX)

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            whole = len(self.data) == self.size
            what = "truncated" if whole else f"its header is larger than {HEADER_MAX} bytes"
            raise self.wrong(f"{what} (at byte {self.at}); fetch it again")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self, what: str) -> str:
        length = self.number("Q")
        if length > MOST_TEXT:
            raise self.wrong(f"{what} has {length} bytes, the most is {MOST_TEXT}")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as wrong:
            raise self.wrong(f"{what} is not UTF-8 ({wrong})") from wrong

    def value(self, kind: int, key: str) -> Any:
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == TEXT:
            return self.text(f"the value {key}")
        if kind != ARRAY:
            raise self.wrong(f"the value {key} is of type {kind}, which no GGUF file has")
        inner, count = self.number("I"), self.number("Q")
        if count > MOST_ITEMS or inner == ARRAY:
            raise self.wrong(f"the value {key} is a list of {count} items of type {inner}")
        if inner in SCALARS:
            code = SCALARS[inner]
            return list(struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(code))))
        return [self.value(inner, key) for _ in range(count)]

    def wrong(self, why: str) -> WeightsError:
        return WeightsError(f"{self.path}: {why}")


def read_header(path: str | os.PathLike[str]) -> Header:
    """Everything but the numbers, checked.

    Raises:
        WeightsError: no GGUF file, of another version, truncated, or of types that are not read.
        OSError: it cannot be opened.
    """
    cursor = _Cursor(Path(path))
    if cursor.take(4) != MAGIC:
        raise cursor.wrong("is no GGUF file (it does not begin with GGUF)")
    version = cursor.number("I")
    if version not in VERSIONS:
        raise cursor.wrong(f"is GGUF of version {version}; read are {VERSIONS}, little-endian")
    tensors, values = cursor.number("Q"), cursor.number("Q")
    if tensors > MOST_TENSORS or values > MOST_VALUES:
        raise cursor.wrong(f"announces {tensors} tensors and {values} values: damaged")
    said: dict[str, Any] = {}
    for _ in range(values):
        key = cursor.text("a key")
        if key in said:
            raise cursor.wrong(f"the key {key!r} occurs twice")
        said[key] = cursor.value(cursor.number("I"), key)
    named = [_entry(cursor) for _ in range(tensors)]
    align = said.get("general.alignment", 32)
    if type(align) is not int or not 8 <= align <= 65536 or align % 8:
        raise cursor.wrong(f"general.alignment is {align!r}")
    start = -(-cursor.at // align) * align
    return Header(said, _placed(cursor, named, start, align))


def _entry(cursor: _Cursor) -> tuple[str, Entry]:
    name = cursor.text("a tensor's name")
    axes = cursor.number("I")
    if axes > MOST_AXES:
        raise cursor.wrong(f"tensor {name!r} has {axes} axes")
    shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
    return name, Entry(shape, cursor.number("I"), cursor.number("Q"))


def _placed(
    cursor: _Cursor, named: list[tuple[str, Entry]], start: int, align: int
) -> dict[str, Entry]:
    out: dict[str, Entry] = {}
    spans = []
    for name, entry in named:
        if name in out:
            raise cursor.wrong(f"the tensor {name!r} occurs twice")
        if entry.packing not in PACKINGS:
            known = ", ".join(p.name for p in PACKINGS.values())
            called = OTHERS.get(entry.packing, f"number {entry.packing}")
            raise cursor.wrong(f"tensor {name} is of type {called}, which is not read; {known} are")
        packing = PACKINGS[entry.packing]
        if entry.start % align or min(entry.shape, default=1) < 1:
            raise cursor.wrong(f"tensor {name} {entry.shape} begins at {entry.start}: damaged")
        if entry.shape and entry.shape[-1] % packing.numbers:
            raise cursor.wrong(f"tensor {name}: rows of {entry.shape[-1]} are no whole blocks")
        first = start + entry.start
        spans.append((first, first + _bytes(entry), name))
        out[name] = entry._replace(start=first)
    end = start
    for first, last, name in sorted(spans):
        if first < end:
            raise cursor.wrong(f"tensor {name} overlaps the one before it")
        if last > cursor.size:
            raise cursor.wrong(
                f"truncated: tensor {name} ends at byte {last}, the file has {cursor.size};"
                " fetch it again"
            )
        end = last
    return out


def _bytes(entry: Entry) -> int:
    packing = PACKINGS[entry.packing]
    numbers = 1
    for size in entry.shape:
        numbers *= size
    return numbers // packing.numbers * packing.bytes


def read_gguf(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Header]:
    """All tensors as float32, under the file's names.

    Raises:
        WeightsError, OSError: as `read_header`.
    """
    header = read_header(path)
    mapped = np.memmap(path, np.uint8, mode="r")
    out = {}
    for name, entry in header.tensors.items():
        packing = PACKINGS[entry.packing]
        raw = torch.from_numpy(np.array(mapped[entry.start : entry.start + _bytes(entry)]))
        out[name] = packing.unpack(raw.view(-1, packing.bytes)).reshape(entry.shape)
    return out, header


def packings(header: Header) -> dict[str, int]:
    """How many tensors there are of each type."""
    out: dict[str, int] = {}
    for entry in header.tensors.values():
        name = PACKINGS[entry.packing].name
        out[name] = out.get(name, 0) + 1
    return out


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as GGUF files do."""
    with open(path, "rb") as file:
        return file.read(4) == MAGIC
