"""What a key-map rule may do to tensors on the way from a published layout to ours, and back.

Every op maps a tuple of tensors to a tuple of tensors and knows its exact inverse; it refuses what
it could not undo. `arity` says how many tensors leave when n arrive, so that a rule whose ends do
not fit is refused when it is written, not when it is used.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError

Tensors = tuple[Tensor, ...]


class Op(NamedTuple):
    """A step and its inverse. `name` is shown in errors."""

    name: str
    load: Callable[[Tensors], Tensors]  # theirs -> ours
    save: Callable[[Tensors], Tensors]  # ours -> theirs
    arity: Callable[[int], int]


def inverse(op: Op, arity: Callable[[int], int]) -> Op:
    """The same step walked the other way."""
    return Op(f"inverse of {op.name}", op.save, op.load, arity)


def permute(*dims: int) -> Op:
    """Reorders the axes of each tensor: axis i of ours is axis `dims[i]` of theirs."""
    if sorted(dims) != list(range(len(dims))):
        raise WeightsError(f"permute{dims}: the axes must be 0..{len(dims) - 1}, each once")
    back = tuple(dims.index(axis) for axis in range(len(dims)))

    def along(order: tuple[int, ...]) -> Callable[[Tensors], Tensors]:
        def step(tensors: Tensors) -> Tensors:
            for tensor in tensors:
                if tensor.ndim != len(order):
                    raise WeightsError(f"has {tensor.ndim} axes where {len(order)} are permuted")
            return tuple(tensor.permute(order).contiguous() for tensor in tensors)

        return step

    return Op(f"permute{dims}", along(dims), along(back), lambda n: n)


def reshape(theirs: tuple[int, ...], ours: tuple[int, ...]) -> Op:
    """Gives each tensor another shape of the same elements, both shapes said.

    One axis a side may be -1 (any size): `reshape((-1, heads, 64), (-1, heads * 64))`.
    """
    for shape in (theirs, ours):
        if shape.count(-1) > 1 or any(size < -1 for size in shape):
            raise WeightsError(f"reshape {theirs} -> {ours}: at most one axis a side may be -1")

    def between(before: tuple[int, ...], after: tuple[int, ...]) -> Callable[[Tensors], Tensors]:
        def step(tensors: Tensors) -> Tensors:
            for tensor in tensors:
                same = len(before) == tensor.ndim and all(
                    want in (-1, size) for want, size in zip(before, tensor.shape, strict=True)
                )
                if not same:
                    raise WeightsError(f"is {tuple(tensor.shape)}, the rule expects {before}")
            out = tuple(_reshaped(tensor, after) for tensor in tensors)
            return out

        return step

    return Op(
        f"reshape {theirs} -> {ours}", between(theirs, ours), between(ours, theirs), lambda n: n
    )


def _reshaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    known = 1
    for size in shape:
        known *= size if size != -1 else 1
    fits = tensor.numel() == known if -1 not in shape else known and tensor.numel() % known == 0
    if not fits:
        raise WeightsError(f"is {tuple(tensor.shape)}, which cannot be seen as {shape}")
    return tensor.reshape(shape).contiguous()


def concat(parts: int, dim: int = 0, sizes: tuple[int, ...] | None = None) -> Op:
    """Joins `parts` tensors along an existing axis; `sizes` when they are not equally long."""
    if parts < 1 or (sizes is not None and len(sizes) != parts):
        raise WeightsError(f"concat of {parts} parts with sizes {sizes}: one size a part")

    def join(tensors: Tensors) -> Tensors:
        for tensor in tensors:
            if not 0 <= dim < tensor.ndim:
                raise WeightsError(
                    f"is {tuple(tensor.shape)}, which has no axis {dim} to join along"
                )
        lengths = tuple(tensor.shape[dim] for tensor in tensors)
        if lengths != (sizes if sizes is not None else lengths[:1] * parts):
            asked = "equal lengths" if sizes is None else str(sizes)
            raise WeightsError(f"parts are {lengths} long on axis {dim}, the rule says {asked}")
        others = {(t.dtype, t.shape[:dim] + t.shape[dim + 1 :]) for t in tensors}
        if len(others) > 1:
            seen = ", ".join(f"{tuple(t.shape)} {t.dtype}" for t in tensors)
            raise WeightsError(f"parts differ and cannot be joined on axis {dim}: {seen}")
        return (torch.cat(tensors, dim),)

    def cut(tensors: Tensors) -> Tensors:
        (tensor,) = tensors
        if not 0 <= dim < tensor.ndim:
            raise WeightsError(f"is {tuple(tensor.shape)}, which has no axis {dim} to cut")
        length = tensor.shape[dim]
        lengths = sizes if sizes is not None else (length // parts,) * parts
        if sum(lengths) != length:
            said = f"{parts} equal parts" if sizes is None else f"parts of {sizes}"
            raise WeightsError(f"axis {dim} is {length} long and cannot be cut into {said}")
        return tuple(part.contiguous() for part in tensor.split(lengths, dim))

    return Op(f"concat({parts}, dim={dim})", join, cut, _from_to(parts, 1))


def chunk(parts: int, dim: int = 0, sizes: tuple[int, ...] | None = None) -> Op:
    """Cuts one tensor into `parts` along an axis: the inverse of `concat`."""
    return inverse(concat(parts, dim, sizes), _from_to(1, parts))


def unbind(count: int, dim: int = 0) -> Op:
    """Takes one tensor apart along an axis, which goes (layers stacked in one array)."""

    def apart(tensors: Tensors) -> Tensors:
        (tensor,) = tensors
        if not 0 <= dim < tensor.ndim or tensor.shape[dim] != count:
            raise WeightsError(f"is {tuple(tensor.shape)}, axis {dim} should be {count} long")
        return tuple(part.contiguous() for part in tensor.unbind(dim))

    def together(tensors: Tensors) -> Tensors:
        if len({(t.shape, t.dtype) for t in tensors}) > 1:
            raise WeightsError(f"{count} tensors to be stacked differ in shape or dtype")
        return (torch.stack(tensors, dim),)

    return Op(f"unbind({count}, dim={dim})", apart, together, _from_to(1, count))


def _from_to(before: int, after: int) -> Callable[[int], int]:
    def arity(n: int) -> int:
        if n != before:
            raise WeightsError(f"takes {before} tensors, {n} arrive")
        return after

    return arity
