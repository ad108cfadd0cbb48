"""Anchors: the boxes that a proposal network corrects, the same ones at every cell of its map."""

from collections.abc import Sequence
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Rounding = Literal["none", "caffe"]
"""How a cell's anchors are worked out: exactly, or in whole pixels as py-faster-rcnn does."""


def cell(
    sizes: Sequence[float], ratios: Sequence[float], stride: int, rounding: Rounding = "none"
) -> Float[Tensor, "a 4"]:
    """The anchors of the first cell.

    "none": centred on (0, 0), a box of ratio r (height over width) and size s has the area s * s;
    sizes run before ratios (Detectron 2). "caffe": round the sides of a box of `stride` squared
    pixels to each ratio, then enlarge by size / stride around the cell's centre; corners name
    pixels; ratios run before sizes.
    """
    if rounding == "none":
        rows = []
        for size in sizes:
            for ratio in ratios:
                width = sqrt(size**2 / ratio)
                height = ratio * width
                rows.append([-width / 2, -height / 2, width / 2, height / 2])
        return torch.tensor(rows)
    rows, centre = [], (stride - 1) / 2
    for ratio in ratios:
        width = round(sqrt(stride**2 / ratio))
        height = round(width * ratio)
        for size in sizes:
            x, y = (width * size / stride - 1) / 2, (height * size / stride - 1) / 2
            rows.append([centre - x, centre - y, centre + x, centre + y])
    return torch.tensor(rows)


def spread(first: Float[Tensor, "a 4"], grid: tuple[int, int], stride: int) -> Float[Tensor, "n 4"]:
    """The anchors of all cells of a (rows, columns) map: row by row, a cell's anchors together."""
    y = torch.arange(grid[0], device=first.device, dtype=first.dtype) * stride
    x = torch.arange(grid[1], device=first.device, dtype=first.dtype) * stride
    corner = torch.stack([x[None].expand(grid), y[:, None].expand(grid)], dim=-1).reshape(-1, 1, 2)
    return (corner.repeat(1, 1, 2) + first).reshape(-1, 4)
