"""Writing safetensors files: one pass, plain OSErrors, and the file's sha256 for nothing."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "I64": torch.int64,
    "U64": torch.uint64,
    "F64": torch.float64,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
META = "__metadata__"


class Written(NamedTuple):
    """What a manifest records of a file."""

    sha256: str
    bytes: int


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Written:
    """Writes tensors as safetensors (widest dtype first, then by name), fsynced, to a new file.

    Raises:
        WeightsError: a dtype that the format does not have, or a tensor without data.
        OSError: as the file system says.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {META: dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in NAMES or tensor.layout != torch.strided or tensor.is_meta:
            kind = "no data (meta device)" if tensor.is_meta else f"{tensor.dtype} {tensor.layout}"
            raise WeightsError(f"{path.name}: {name} cannot be stored as safetensors: {kind}")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for block in (len(head).to_bytes(8, "little"), head):
            digest.update(block)
            file.write(block)
        for name in names:
            data = raw(tensors[name])
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Written(digest.hexdigest(), 8 + len(head) + offset)


def raw(tensor: Tensor) -> memoryview:
    """The tensor's elements as bytes, row-major; no copy where it lies so already."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
