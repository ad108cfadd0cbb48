"""Pictures of any shapes cut into patches and laid end to end (`types.Patched`)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.data.errors import DataError
from sensorium.data.ragged import places
from sensorium.types import Patched


def lay_patches(pictures: Sequence[Float[Tensor, "3 _ _"]], patch: int) -> Patched:
    """Cut pictures into square patches of `patch` pixels, row by row, and lay them end to end.

    DataError: no pictures, or a picture whose sides are no multiples of `patch`.
    """
    if len(pictures) == 0:
        raise DataError("no pictures: a batch needs at least one")
    for number, picture in enumerate(pictures):
        sides = tuple(picture.shape)
        if len(sides) != 3 or sides[1] % patch or sides[2] % patch or not picture.numel():
            raise DataError(
                f"picture {number} is {sides}: no channels, rows and columns of {patch}"
            )
    cuts = [cut(picture, patch) for picture in pictures]
    grid = torch.tensor([[p.shape[1] // patch, p.shape[2] // patch] for p in pictures])
    place = torch.cat([_raster(*one) for one in grid.tolist()])
    return _patched(torch.cat(cuts), place, torch.zeros(len(place)).long(), grid, grid.prod(dim=1))


def cut(picture: Float[Tensor, "c y x"], patch: int) -> Float[Tensor, "n p"]:
    """A picture's patches, row by row; of each the pixels, channel by channel, row by row."""
    c, y, x = picture.shape
    parts = picture.reshape(c, y // patch, patch, x // patch, patch).permute(1, 3, 0, 2, 4)
    return parts.reshape(-1, c * patch * patch)


def take_patches(batch: Patched, index: Int[Tensor, " k"]) -> Patched:
    """The pictures at these places, in this order, possibly repeated.

    DataError: an empty index, or a place outside the batch.
    """
    b = len(batch.lengths)
    index = index.to(batch.lengths.device)
    if len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= b:
        raise DataError(f"index {index.tolist()[:8]} must name pictures 0 to {b - 1}")
    lengths = batch.lengths[index]
    starts = (batch.lengths.cumsum(0) - batch.lengths)[index]
    total = int(lengths.sum())
    shift = starts - (lengths.cumsum(0) - lengths)
    where = torch.arange(total, device=lengths.device)
    where = where + shift.repeat_interleave(lengths, output_size=total)
    return _chosen(batch, where, batch.grid[index], lengths)


def drawn_patches(batch: Patched, most: int, g: torch.Generator) -> Patched:
    """Of pictures with `most` patches or more, as many at random, in random order.

    ViLT's pre-training does so with 200 (its paper, section 4.1; `visual_embed` in its code). The
    order shows in the states of patches alone: a patch carries its place. Pictures with fewer stay
    as they are. DataError: `most` below 1.
    """
    if most < 1:
        raise DataError(f"{most} patches of a picture are to be kept: it must be 1 or more")
    kept, start = [], 0
    for length in batch.lengths.tolist():
        order = (
            torch.randperm(length, generator=g)[:most] if length >= most else torch.arange(length)
        )
        kept.append(start + order)
        start += length
    where = torch.cat(kept).to(batch.lengths.device)
    return _chosen(batch, where, batch.grid, batch.lengths.clamp(max=most))


def _raster(rows: int, columns: int) -> Int[Tensor, "n 2"]:
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).view(-1, 2)


def _chosen(
    batch: Patched, where: Int[Tensor, " t"], grid: Int[Tensor, "b 2"], lengths: Int[Tensor, " b"]
) -> Patched:
    b = batch
    return _patched(b.patches[where], b.place[where], b.kind[where], grid, lengths)


def _patched(
    patches: Float[Tensor, "t c"],
    place: Int[Tensor, "t 2"],
    kind: Int[Tensor, " t"],
    grid: Int[Tensor, "b 2"],
    lengths: Int[Tensor, " b"],
) -> Patched:
    rows, back, _ = places(lengths, int(lengths.max()), len(patches))
    return Patched(patches, place, kind, grid, rows, back, lengths)
