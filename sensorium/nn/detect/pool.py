"""A region of a feature map as a grid of fixed size: RoIPool and RoIAlign, in plain torch.

Both differentiate with respect to the map. Boxes are in pixels of the picture; `scale` takes them
to cells of the map.
"""

import torch
from jaxtyping import Float
from torch import Tensor

ELEMENTS = 1 << 22  # pooled at a time: pieces that stay in the caches and the allocator's hands


def roi_pool(
    x: Float[Tensor, "c y x"], boxes: Float[Tensor, "n 4"], side: int, scale: float
) -> Float[Tensor, "n c side side"]:
    """The maximum of each of `side` x `side` bins, their edges rounded to cells (Girshick 2015).

    Corners are rounded half away from zero, a bin covers every cell it touches, and an empty one
    (outside the map) gives 0. The maxima come from tables of the maxima of 2^k x 2^l cells: any bin
    is covered by four overlapping entries of one table.
    """
    c, height, width = x.shape
    corners = (boxes * scale + 0.5).floor().long()
    top, bottom = _bins(corners[:, 1], corners[:, 3], side, height)
    left, right = _bins(corners[:, 0], corners[:, 2], side, width)
    tall, wide = bottom - top, right - left
    empty = (tall <= 0)[:, :, None] | (wide <= 0)[:, None, :]
    rows, columns = _power(tall), _power(wide)
    levels = int(rows.max()) + 1 if len(boxes) else 1, int(columns.max()) + 1 if len(boxes) else 1
    table = _tables(x.permute(1, 2, 0), levels)  # (levels, y, x, c)
    at = (rows[:, :, None] * levels[1] + columns[:, None, :]) * height
    above, before = (bottom - 2**rows).clamp(min=0), (right - 2**columns).clamp(min=0)
    starts = [
        (y.clamp(max=height - 1), z.clamp(max=width - 1))
        for y in (top, above)
        for z in (left, before)
    ]
    parts = []
    step = max(1, ELEMENTS // (side * side * c))
    for first in range(0, len(boxes), step):
        some = slice(first, first + step)
        places = [(at[some] + y[some, :, None]) * width + z[some, None, :] for y, z in starts]
        found = table.index_select(0, places[0].reshape(-1))
        for place in places[1:]:
            found = torch.maximum(found, table.index_select(0, place.reshape(-1)))
        parts.append(found)
    out = torch.cat(parts) if parts else x.new_zeros(0, c)
    out = out.view(len(boxes), side, side, c).masked_fill(empty[..., None], 0)
    return out.permute(0, 3, 1, 2)


def _bins(low: Tensor, high: Tensor, side: int, cells: int) -> tuple[Tensor, Tensor]:
    """First cell and the one after the last of each bin, cut to the map."""
    span = (high - low + 1).clamp(min=1)
    # in the arithmetic of the original kernels: the size of a bin first, in float32
    each = span.to(torch.float32)[:, None] / side
    step = torch.arange(side, device=low.device, dtype=torch.float32)
    first = (step * each).floor().long() + low[:, None]
    last = ((step + 1) * each).ceil().long() + low[:, None]
    return first.clamp(0, cells), last.clamp(0, cells)


def _power(length: Tensor) -> Tensor:
    """The largest k with 2^k at most the length (0 for none)."""
    return torch.log2(length.clamp(min=1).to(torch.float64)).floor().long()


def _tables(x: Float[Tensor, "y x c"], levels: tuple[int, int]) -> Float[Tensor, "k c"]:
    """Maxima over 2^k rows and 2^l columns from every cell on, one table a (k, l), laid flat."""
    rows = [x]
    for k in range(1, levels[0]):
        rows.append(_max_with_later(rows[-1], 0, 2 ** (k - 1)))
    out = []
    for table in rows:
        columns = [table]
        for k in range(1, levels[1]):
            columns.append(_max_with_later(columns[-1], 1, 2 ** (k - 1)))
        out += columns
    return torch.stack(out).reshape(-1, x.shape[-1])


def _max_with_later(x: Tensor, dim: int, step: int) -> Tensor:
    length = x.shape[dim]
    if step >= length:
        return x
    later = torch.cat([x.narrow(dim, step, length - step), x.narrow(dim, length - step, step)], dim)
    return torch.maximum(x, later)


def roi_align(
    x: Float[Tensor, "c y x"],
    boxes: Float[Tensor, "n 4"],
    side: int,
    scale: float,
    samples: int = 2,
) -> Float[Tensor, "n c side side"]:
    """The mean of `samples` x `samples` interpolated points of each bin (He et al. 2017, 3).

    Nothing is rounded; corners are shifted by half a cell, so that a cell's value stands at its
    centre ("aligned"). A point more than one cell outside the map counts as 0. Interpolation and
    mean are products of one factor a row and one a column, so the whole is two matrix products.
    """
    c, height, width = x.shape
    moved = boxes * scale - 0.5
    y = _factors(moved[:, 1], moved[:, 3], side, height, samples).to(x.dtype)
    z = _factors(moved[:, 0], moved[:, 2], side, width, samples).to(x.dtype)
    n = len(boxes)
    mixed = (y.reshape(n * side, height) @ x.permute(1, 0, 2).reshape(height, c * width)).view(
        n, side, c, width
    )
    return torch.einsum("npcx,nqx->ncpq", mixed, z)


def _factors(low: Tensor, high: Tensor, side: int, cells: int, samples: int) -> Tensor:
    """(n, side, cells): how much each cell along an axis counts for each bin."""
    step = (high - low) / side
    place = (torch.arange(side * samples, device=low.device, dtype=low.dtype) + 0.5) / samples
    at = low[:, None] + place[None] * step[:, None]
    inside = (at >= -1) & (at <= cells)
    at = at.clamp(0, cells - 1)
    below = at.floor()
    share = at - below
    first = below.long()
    out = torch.zeros(*at.shape, cells, dtype=low.dtype, device=low.device)
    out.scatter_add_(2, first[..., None], ((1 - share) * inside)[..., None])
    out.scatter_add_(2, (first + 1).clamp(max=cells - 1)[..., None], (share * inside)[..., None])
    return out.view(len(low), side, samples, cells).mean(2)
