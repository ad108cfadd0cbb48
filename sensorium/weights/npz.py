"""Reading NumPy archives without pickles, within a budget."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from sensorium.weights.errors import WeightsError, some

RATIO = 20  # weights hardly compress; above this (and FREE bytes) a file is taken for a bomb
FREE = 256 << 20
NO_ARRAY = (ValueError, TypeError, KeyError, IndexError, SyntaxError, tokenize.TokenError)
NO_ARRAY += (RecursionError, MemoryError)


def read_npz(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The arrays of an .npz by name, and notes on what was reinterpreted.

    Big-endian and Fortran-ordered arrays become plain ones; 2-byte void arrays, which is how JAX
    writes bfloat16, become bfloat16.

    Raises:
        WeightsError: object arrays (pickles), texts, complex numbers, a damaged or bursting zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(path, archive)
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
    ) as wrong:
        raise WeightsError(
            f"{path}: a damaged or truncated zip ({wrong}); fetch it again"
        ) from wrong
    except zlib.error as wrong:
        raise WeightsError(f"{path}: damaged compressed data ({wrong}); fetch it again") from wrong


def _read(path: Path, archive: zipfile.ZipFile) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise WeightsError(f"{path}: two members of the zip have one name")
    size, packed = sum(m.file_size for m in members), path.stat().st_size
    if size > max(FREE, RATIO * packed):
        raise WeightsError(f"{path}: {packed} bytes would unpack to {size}; it is taken for a bomb")
    tensors: dict[str, Tensor] = {}
    brains: list[str] = []
    for member in members:
        name = member.filename.removesuffix(".npy")
        array = _array(path, archive, member, name)
        if array.dtype.kind == "V" and array.dtype.itemsize == 2 and array.dtype.names is None:
            tensors[name] = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
            brains.append(name)
        elif array.dtype.kind in "fiub" and array.dtype.itemsize <= 8:
            tensors[name] = torch.from_numpy(array)
        else:
            raise WeightsError(f"{path}: {name} has dtype {array.dtype}, which is no tensor's")
    notes = (f"2-byte void arrays read as bfloat16: {some(brains)}",) if brains else ()
    return tensors, notes


def _array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(member) as file:
        try:
            version = npy.read_magic(file)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(file)
        except NO_ARRAY as wrong:
            raise WeightsError(f"{path}: {name} is no NumPy array ({wrong})") from wrong
        if dtype.hasobject:
            raise WeightsError(
                f"{path}: {name} is an object array, that is a pickle, which can carry programs;"
                " save plain arrays"
            )
        count = math.prod(shape)
        data = file.read(count * dtype.itemsize + 1) if count >= 0 else b""
    if len(data) != count * dtype.itemsize or any(length < 0 for length in shape):
        raise WeightsError(
            f"{path}: {name} {shape} {dtype} does not have the bytes its shape needs"
        )
    flat = np.frombuffer(bytearray(data), dtype)
    array = flat.reshape(shape[::-1]).transpose() if fortran else flat.reshape(shape)
    native = array.astype(dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(native).reshape(shape)
