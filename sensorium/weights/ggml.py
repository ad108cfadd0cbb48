"""The block formats of GGUF files, to float32: numbers that share a scale, packed in few bits.

Each block holds 32 or 256 numbers of one row. A type is its number in the file, its name, how many
numbers and bytes a block has, and how blocks are unpacked. Formulas: ggml's `quants` as published;
d and m are a block's scale and minimum, x = d q + m or d q - m.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """A tensor type. `unpack`: uint8 (blocks, bytes) to float32 (blocks, numbers)."""

    name: str
    numbers: int
    bytes: int
    unpack: Callable[[Tensor], Tensor]


def _half(b: Tensor, at: int) -> Tensor:
    return b[:, at : at + 2].contiguous().view(torch.float16).float()


def _bits(b: Tensor, width: int, count: int) -> Tensor:
    """The fields of each byte, lowest first: (blocks, n) to (blocks, count, n)."""
    shifts = torch.arange(0, width * count, width, dtype=torch.uint8)[None, :, None]
    return (b[:, None, :] >> shifts) & ((1 << width) - 1)


def _runs(b: Tensor, run: int, width: int, count: int) -> Tensor:
    """`_bits` of runs of bytes, run after run, in one row: (blocks, n * count)."""
    blocks = len(b)
    return _bits(b.reshape(-1, run), width, count).reshape(blocks, -1)


def _fifth(b: Tensor) -> Tensor:
    """32 single bits out of four bytes, shifted to where a fifth bit belongs."""
    place = torch.arange(32)
    return ((b[:, place // 8] >> (place % 8).to(torch.uint8)) & 1) << 4


def _q4_0(b: Tensor) -> Tensor:
    return _half(b, 0) * (_runs(b[:, 2:], 16, 4, 2).float() - 8)


def _q4_1(b: Tensor) -> Tensor:
    return _half(b, 0) * _runs(b[:, 4:], 16, 4, 2) + _half(b, 2)


def _q5_0(b: Tensor) -> Tensor:
    return _half(b, 0) * ((_runs(b[:, 6:], 16, 4, 2) | _fifth(b[:, 2:6])).float() - 16)


def _q5_1(b: Tensor) -> Tensor:
    return _half(b, 0) * (_runs(b[:, 8:], 16, 4, 2) | _fifth(b[:, 4:8])) + _half(b, 2)


def _q8_0(b: Tensor) -> Tensor:
    return _half(b, 0) * b[:, 2:].contiguous().view(torch.int8)


def _q2_k(b: Tensor) -> Tensor:
    scales, q = b[:, :16], _runs(b[:, 16:80], 32, 2, 4).view(-1, 16, 16)
    d = (_half(b, 80) * (scales & 15))[:, :, None]
    return (d * q - (_half(b, 82) * (scales >> 4))[:, :, None]).flatten(1)


def _q3_k(b: Tensor) -> Tensor:
    low = _runs(b[:, 32:96], 32, 2, 4)
    high = _runs(b[:, :32], 32, 1, 8)  # a set bit: nothing is taken away
    four, two = _runs(b[:, 96:104], 8, 4, 2), _runs(b[:, 104:108], 4, 2, 4)
    scale = (four | (two << 4)).float() - 32
    q = (low.float() - 4 * (1 - high.float())).view(-1, 16, 16)
    return ((_half(b, 108) * scale)[:, :, None] * q).flatten(1)


def _six(b: Tensor) -> tuple[Tensor, Tensor]:
    """Eight scales and eight minima of six bits each, out of twelve bytes."""
    d, m, rest = b[:, :4], b[:, 4:8], b[:, 8:12]
    scale = torch.cat([d & 63, (rest & 15) | ((d >> 6) << 4)], dim=1)
    return scale, torch.cat([m & 63, (rest >> 4) | ((m >> 6) << 4)], dim=1)


def _scaled(b: Tensor, q: Tensor) -> Tensor:
    scale, least = _six(b[:, 4:16])
    d, m = (_half(b, 0) * scale)[:, :, None], (_half(b, 2) * least)[:, :, None]
    return (d * q.view(-1, 8, 32) - m).flatten(1)


def _q4_k(b: Tensor) -> Tensor:
    return _scaled(b, _runs(b[:, 16:], 32, 4, 2))


def _q5_k(b: Tensor) -> Tensor:
    return _scaled(b, _runs(b[:, 48:], 32, 4, 2) | (_runs(b[:, 16:48], 32, 1, 8) << 4))


def _q6_k(b: Tensor) -> Tensor:
    q = _runs(b[:, :128], 64, 4, 2) | (_runs(b[:, 128:192], 32, 2, 4) << 4)
    scale = b[:, 192:208].contiguous().view(torch.int8)
    return ((_half(b, 208) * scale)[:, :, None] * (q.float() - 32).view(-1, 16, 16)).flatten(1)


def _plain(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda b: b.contiguous().view(dtype).float()


PACKINGS: dict[int, Packing] = {
    0: Packing("F32", 1, 4, _plain(torch.float32)),
    1: Packing("F16", 1, 2, _plain(torch.float16)),
    2: Packing("Q4_0", 32, 18, _q4_0),
    3: Packing("Q4_1", 32, 20, _q4_1),
    6: Packing("Q5_0", 32, 22, _q5_0),
    7: Packing("Q5_1", 32, 24, _q5_1),
    8: Packing("Q8_0", 32, 34, _q8_0),
    10: Packing("Q2_K", 256, 84, _q2_k),
    11: Packing("Q3_K", 256, 110, _q3_k),
    12: Packing("Q4_K", 256, 144, _q4_k),
    13: Packing("Q5_K", 256, 176, _q5_k),
    14: Packing("Q6_K", 256, 210, _q6_k),
    30: Packing("BF16", 1, 2, _plain(torch.bfloat16)),
}
OTHERS = {9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S"}
OTHERS |= {20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32"}
OTHERS |= {27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}
