"""Reading whisper.cpp's ggml files: sizes, mel filters, a vocabulary, and OpenAI's tensors.

An older format than GGUF, of one kind of model. Packed numbers come out as float32 (see `ggml`).
"""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError
from sensorium.weights.ggml import PACKINGS

MAGIC = 0x67676D6C
FIELDS = (
    *("vocab", "frames", "hearing_width", "hearing_heads", "listening", "length"),
    *("width", "heads", "layers", "mels", "type"),
)
MOST_WORDS, MOST_WORD, MOST_NAME, MOST_TENSORS = 100_000, 4096, 256, 10_000


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        sizes: by the names of `FIELDS`.
        words: the bytes of every id that the file spells; those after the last are special.
        kinds: how many tensors of which type.
    """

    sizes: dict[str, int]
    words: list[bytes]
    kinds: dict[str, int]


def is_ggml(path: Path) -> bool:
    """Whether a file begins as whisper.cpp's do."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC.to_bytes(4, "little")


class _Reader:
    def __init__(self, path: Path):
        self.path, self.at = path, 0
        self.file = path.open("rb")
        self.size = os.fstat(self.file.fileno()).st_size

    def take(self, count: int) -> bytes:
        if not 0 <= count <= self.size - self.at:
            raise WeightsError(f"{self.path}: is truncated (at byte {self.at}); fetch it again")
        self.at += count
        return self.file.read(count)

    def numbers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.take(4 * count))


def read_ggml(path: Path) -> tuple[dict[str, Tensor], Header]:
    """The tensors under OpenAI's names.

    Raises:
        WeightsError: truncated, damaged, not whisper.cpp's, or of a packing that is not known.
        OSError: it cannot be opened.
    """
    reader = _Reader(path)
    with reader.file:
        (magic,) = reader.numbers(1)
        if magic != MAGIC:
            raise WeightsError(f"{path}: is no ggml file of whisper.cpp")
        sizes = dict(zip(FIELDS, reader.numbers(len(FIELDS)), strict=True))
        if min(sizes[k] for k in FIELDS[:-1]) < 1 or max(sizes.values()) > 1 << 24:
            raise WeightsError(f"{path}: sizes that no model has: {sizes}")
        mels, tones = reader.numbers(2)
        if mels != sizes["mels"] or not 0 < tones < 10_000:
            raise WeightsError(f"{path}: mel filters of {mels} by {tones}: damaged")
        reader.take(4 * mels * tones)
        words = _words(reader)
        tensors: dict[str, Tensor] = {}
        kinds: dict[str, int] = {}
        while reader.at < reader.size:
            name, tensor, kind = _tensor(reader)
            if name in tensors or len(tensors) >= MOST_TENSORS:
                raise WeightsError(f"{path}: has {name!r} twice, or too many tensors: damaged")
            tensors[name] = tensor
            kinds[kind] = kinds.get(kind, 0) + 1
    return tensors, Header(sizes, words, kinds)


def _words(reader: _Reader) -> list[bytes]:
    (count,) = reader.numbers(1)
    if not 0 < count <= MOST_WORDS:
        raise WeightsError(f"{reader.path}: a vocabulary of {count}: damaged")
    words = []
    for _ in range(count):
        (length,) = reader.numbers(1)
        if not 0 <= length <= MOST_WORD:
            raise WeightsError(f"{reader.path}: a word of {length} bytes: damaged")
        words.append(reader.take(length))
    return words


def _tensor(reader: _Reader) -> tuple[str, Tensor, str]:
    axes, length, code = reader.numbers(3)
    if not 0 < axes <= 4 or not 0 < length <= MOST_NAME or code not in PACKINGS:
        raise WeightsError(
            f"{reader.path}: a tensor of {axes} axes, a name of {length} bytes and type {code}"
            f" (at byte {reader.at}): damaged, or of a packing that is not known"
        )
    shape = tuple(reversed(reader.numbers(axes)))
    name = reader.take(length).decode("ascii", errors="replace")
    packing, elements = PACKINGS[code], 1
    for side in shape:
        if side < 1:
            raise WeightsError(f"{reader.path}: {name} is {shape}: damaged")
        elements *= side
    if shape[-1] % packing.numbers:
        raise WeightsError(f"{reader.path}: {name}: rows of {shape[-1]} in {packing.name}: damaged")
    data = reader.take(elements // packing.numbers * packing.bytes)
    raw = torch.from_numpy(np.frombuffer(bytearray(data), np.uint8))
    return name, packing.unpack(raw.view(-1, packing.bytes)).reshape(shape), packing.name


def facts(header: Header) -> dict[str, Any]:
    """The header as what stands beside the weights."""
    return {**header.sizes, "words": header.words}
