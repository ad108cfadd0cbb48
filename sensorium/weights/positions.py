"""Carrying learned position embeddings to another grid of patches.

This is a change of the weights, not a key-map rule: it cannot be undone.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from sensorium.weights.errors import WeightsError

Method = Literal["bilinear-corners", "bicubic-antialias", "bicubic", "bilinear"]


def resize_grid(
    pos: Float[Tensor, "n d"],
    old: tuple[int, int],
    new: tuple[int, int],
    method: Method,
    prefix: int = 1,
) -> Float[Tensor, "m d"]:
    """Position embeddings of an (old) grid, row-major, interpolated to a (new) one.

    Args:
        pos: `prefix` rows that belong to no patch (the class token), then one row a patch.
        old: rows and columns of the grid that `pos` has.
        new: rows and columns wanted.
        method: "bilinear-corners" is what Google's ViT fine-tuning does (scipy.ndimage.zoom, order
            1: the corner patches stay); "bicubic-antialias" is open_clip's and timm's
            (half-pixel centres); "bicubic" the same without anti-aliasing, as Hugging Face does;
            "bilinear" half-pixel without anti-aliasing.
        prefix: rows kept as they are.

    Raises:
        WeightsError: `pos` does not have `prefix` + old rows, or the method is unknown.
    """
    if pos.shape[0] != prefix + old[0] * old[1]:
        raise WeightsError(
            f"positions have {pos.shape[0]} rows, {prefix} + {old[0]} x {old[1]} are expected"
        )
    if min(*old, *new) < 1:
        raise WeightsError(f"a grid of {old} or {new} patches is empty")
    if old == new:
        return pos.clone()
    grid = pos[prefix:].float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    if method == "bilinear-corners":
        wide = F.interpolate(grid, new, mode="bilinear", align_corners=True)
    elif method == "bicubic-antialias":
        wide = F.interpolate(grid, new, mode="bicubic", align_corners=False, antialias=True)
    elif method == "bicubic":
        wide = F.interpolate(grid, new, mode="bicubic", align_corners=False)
    elif method == "bilinear":
        wide = F.interpolate(grid, new, mode="bilinear", align_corners=False)
    else:
        raise WeightsError(f"no method {method!r}; the choices: {', '.join(Method.__args__)}")
    rows = wide.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1).to(pos.dtype)
    return torch.cat([pos[:prefix], rows])
