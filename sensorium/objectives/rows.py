"""Samples of a batch taken again, in another order: how objectives mix pictures and texts."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.types import Ids, Patched, Pictured, Ragged, Regions, Shared


def places(
    lengths: Int[Tensor, " b"], index: Int[Tensor, " k"]
) -> tuple[Int[Tensor, " t"], Int[Tensor, " k"]]:
    """Where the tokens of the samples at `index` stand among all, and the lengths of those."""
    chosen = lengths[index]
    starts = (lengths.cumsum(0) - lengths)[index]
    total = int(chosen.sum())
    shift = starts - (chosen.cumsum(0) - chosen)
    here = torch.arange(total, device=lengths.device)
    return here + shift.repeat_interleave(chosen, output_size=total), chosen


def samples(lengths: Int[Tensor, " b"]) -> Int[Tensor, " t"]:
    """The sample that each token belongs to."""
    every = torch.arange(len(lengths), device=lengths.device)
    return every.repeat_interleave(lengths)


def laid(
    lengths: Int[Tensor, " b"],
) -> tuple[Int[Tensor, "b n"], Int[Tensor, " t"], Int[Tensor, " t"]]:
    """`rows`, `back` and each token's position, of samples laid end to end (see `types.Ragged`).

    There is at least one token: where all samples are empty it belongs to none.
    """
    n, total = max(int(lengths.max()), 1), int(lengths.sum())
    starts = lengths.cumsum(0) - lengths
    column = torch.arange(n, device=lengths.device)
    rows = starts[:, None] + torch.minimum(column[None, :], lengths[:, None] - 1)
    sample = samples(lengths)
    pos = torch.arange(total, device=lengths.device) - starts[sample]
    back = sample * n + pos
    if total == 0:
        pos, back = lengths.new_zeros(1), lengths.new_full((1,), len(lengths) * n - 1)
    return rows.clamp(min=0, max=max(total, 1) - 1), back, pos


def relaid(text: Ids, place: Int[Tensor, " t"], lengths: Int[Tensor, " b"]) -> Ids:
    """The tokens at these places of `text`, as texts of these lengths."""
    rows, back, pos = laid(lengths)
    kind = None if text.kind is None else text.kind[place]
    return Ids(text.ids[place], pos, rows, back, lengths, kind)


def take_text(text: Ids, index: Int[Tensor, " k"]) -> Ids:
    """The texts at these places, in this order, possibly repeated."""
    return relaid(text, *places(text.lengths, index))


def take_picture(image: Pictured, index: Int[Tensor, " k"]) -> Pictured:
    """The pictures at these places, in this order, possibly repeated."""
    if isinstance(image, Tensor):
        return image[index]
    if isinstance(image, Shared):
        return image._replace(which=image.which[index])
    place, lengths = places(image.lengths, index)
    rows, back, _ = laid(lengths)
    if len(place) == 0:
        place = place.new_zeros(1)  # nothing seen in all of them: a row that belongs to none
    own = Ragged(rows, back, lengths, causal=False)
    if isinstance(image, Patched):
        return Patched(
            patches=image.patches[place],
            place=image.place[place],
            kind=image.kind[place],
            grid=image.grid[index],
            rows=own.rows,
            back=own.back,
            lengths=own.lengths,
        )
    return Regions(
        features=image.features[place],
        boxes=image.boxes[place],
        kind=image.kind[place],
        masked=image.masked[place],
        words=image.words[place],
        rows=own.rows,
        back=own.back,
        lengths=own.lengths,
    )


def padded(x: Float[Tensor, "1 t d"], at: Ragged) -> Float[Tensor, "b n d"]:
    """Packed states one row a sample; behind a sample's end its last state is repeated."""
    return x[0][at.rows]
