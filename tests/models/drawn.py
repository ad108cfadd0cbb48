"""Weights and pictures by formula: the same numbers on every machine, so that golden files can hold
outputs alone. The scripts that make golden files draw them here too."""

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def uniform(name: str, shape: Sequence[int]) -> Tensor:
    """Numbers in [-1, 1) that depend on the name and the place alone (splitmix64 of both)."""
    count = math.prod(shape)
    with np.errstate(over="ignore"):
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z += np.uint64(zlib.crc32(name.encode())) * np.uint64(0xD1342543DE82EF95)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    flat = (z >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1
    return torch.from_numpy(flat.astype(np.float32).reshape(tuple(shape)))


def weight(name: str, shape: Sequence[int]) -> Tensor:
    """A tensor of a net, nowhere zero by rule, of the size that its name and shape suggest."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    u = uniform(name, shape)
    if name == "logit_scale":
        return 2.5 + 0 * u
    if name.endswith("running_var"):
        return 1 + 0.5 * u
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + 0.3 * u
    if len(shape) == 1 or "embed" in name or "token" in name:
        return 0.4 * u
    return u * math.sqrt(3 / math.prod(shape[1:]))


def state(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """All tensors of a net."""
    return {name: weight(name, shape) for name, shape in shapes.items()}


def names_and_shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    """A fingerprint of a state dict's names and shapes."""
    lines = [f"{name} {list(shapes[name])}\n" for name in sorted(shapes)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def drift(reference: Tensor, got: Tensor) -> float:
    """max |difference| / max |reference|."""
    assert got.shape == reference.shape
    return float((reference.double() - got.double()).abs().max() / reference.double().abs().max())
