"""Reading CTranslate2's model.bin: a header, variables by name, and names that stand for others.

Little-endian and unpadded. Eight-bit weights have a scale a row: real = stored / scale. Everything
comes out as float32 (scalars that are no weights as they are). Nothing is believed before it is
checked against the bytes that there are.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError

VERSIONS = range(2, 7)
MOST_VARIABLES, MOST_AXES, MOST_NAME = 100_000, 8, 4096
DTYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}
KINDS = {0: "float32", 1: "int8", 2: "int16", 3: "int32", 4: "float16", 5: "bfloat16"}
OLD = {4: 0, 1: 1, 2: 2}  # bytes an element, before the type was written (float16 came later)
SCALE = "_scale"


class Header(NamedTuple):
    """What a file says of itself: its kind of model, and how many variables of which type."""

    spec: str
    revision: int
    kinds: dict[str, int]


def is_ct2(path: Path) -> bool:
    """Whether a file begins as CTranslate2's do."""
    with path.open("rb") as file:
        head = file.read(64)
    if len(head) < 8 or int.from_bytes(head[:4], "little") not in VERSIONS:
        return False
    length = int.from_bytes(head[4:6], "little")
    name = head[6 : 6 + length]
    return 1 < length < 58 and name[-1:] == b"\0" and name[:-1].isascii() and name[:-1].isalnum()


class _Reader:
    def __init__(self, path: Path):
        self.path, self.at = path, 0
        self.file = path.open("rb")
        self.size = os.fstat(self.file.fileno()).st_size

    def take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise WeightsError(f"{self.path}: is truncated (at byte {self.at}); fetch it again")
        self.at += count
        return self.file.read(count)

    def number(self, form: str) -> int:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        length = self.number("H")
        if not 0 < length <= MOST_NAME:
            raise WeightsError(f"{self.path}: a name of {length} bytes (at byte {self.at})")
        data = self.take(length)
        try:
            return data.rstrip(b"\0").decode()
        except UnicodeDecodeError as wrong:
            raise WeightsError(f"{self.path}: a name that is no text: {data[:40]!r}") from wrong


def read_ct2(path: Path) -> tuple[dict[str, Tensor], Header]:
    """The weights under CTranslate2's names, 8-bit ones multiplied out, aliases as copies.

    Raises:
        WeightsError: truncated, damaged, of a version or a type that is not known.
        OSError: it cannot be opened.
    """
    reader = _Reader(path)
    with reader.file:
        version = reader.number("I")
        if version not in VERSIONS:
            raise WeightsError(f"{path}: version {version} of CTranslate2's format is not known")
        spec, revision = reader.text(), reader.number("I")
        found: dict[str, Tensor] = {}
        kinds: dict[str, int] = {}
        for _ in range(_count(reader)):
            name, tensor, kind = _variable(reader, version)
            if name in found:
                raise WeightsError(f"{path}: has {name!r} twice")
            found[name] = tensor
            kinds[kind] = kinds.get(kind, 0) + 1
        for _ in range(_count(reader) if version >= 3 else 0):
            alias, target = reader.text(), reader.text()
            if target not in found or alias in found:
                raise WeightsError(f"{path}: {alias!r} stands for {target!r}, which cannot be")
            found[alias] = found[target]
        if reader.at != reader.size:
            raise WeightsError(f"{path}: {reader.size - reader.at} bytes are left over: damaged")
    return _real(found, path), Header(spec, revision, kinds)


def _count(reader: _Reader) -> int:
    count = reader.number("I")
    if count > MOST_VARIABLES:
        raise WeightsError(f"{reader.path}: {count} variables: damaged")
    return count


def _variable(reader: _Reader, version: int) -> tuple[str, Tensor, str]:
    name, rank = reader.text(), reader.number("B")
    if rank > MOST_AXES:
        raise WeightsError(f"{reader.path}: {name} has {rank} axes: damaged")
    shape = tuple(reader.number("I") for _ in range(rank))
    if version >= 4:
        code, length = reader.number("B"), reader.number("I")
    else:
        width, count = reader.number("B"), reader.number("I")
        code, length = OLD.get(width, -1), width * count
    if code not in DTYPES:
        raise WeightsError(f"{reader.path}: {name} is of type {code}, which is not known")
    kind = np.dtype(DTYPES[code])
    elements = 1
    for side in shape:
        elements *= side
    if elements * kind.itemsize != length:
        raise WeightsError(f"{reader.path}: {name} is {shape}, but has {length} bytes: damaged")
    flat = np.frombuffer(bytearray(reader.take(length)), kind).reshape(shape)
    tensor = torch.from_numpy(flat.astype(np.int32) if code == 5 else flat)
    return name, (tensor << 16).view(torch.float32) if code == 5 else tensor, KINDS[code]


def _real(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Stored numbers as the real ones; scales go."""
    out: dict[str, Tensor] = {}
    for name, tensor in found.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in found:
            continue
        scale = found.get(name + SCALE)
        if scale is None:
            if tensor.dtype == torch.int8 and tensor.dim() > 1:
                raise WeightsError(f"{path}: {name} is in 8 bits, without its scale")
            out[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
            continue
        if scale.dim() not in (0, 1) or (scale.dim() == 1 and len(scale) != len(tensor)):
            raise WeightsError(f"{path}: {name}: {tuple(scale.shape)} scales do not fit its rows")
        if not (scale.float() > 0).all():
            raise WeightsError(f"{path}: {name}: a scale is not above zero")
        by_row = scale.float().reshape(-1, *[1] * (tensor.dim() - 1))
        out[name] = tensor.float() / by_row
    return out
