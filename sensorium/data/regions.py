"""Regions of pictures laid end to end (`types.Regions`), and the ways there and back."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.data.errors import DataError
from sensorium.data.ragged import places
from sensorium.types import Regions


class Looked(NamedTuple):
    """One sample's regions: features, boxes as shares of the picture (corners), and of each which
    picture it is of and the places of the words it is linked with (None: no links)."""

    features: Float[Tensor, "r c"]
    boxes: Float[Tensor, "r 4"]
    kind: Int[Tensor, " r"] | None = None
    words: Int[Tensor, "r w"] | None = None


def lay_regions(samples: Sequence[Looked]) -> Regions:
    """Lay the regions of b samples end to end.

    DataError: no samples, features of several widths, boxes that do not belong to them, or numbers
    that are not finite; the text says which sample.
    """
    if len(samples) == 0:
        raise DataError("no pictures: a batch needs at least one")
    width = samples[0].features.shape[-1]
    for place, one in enumerate(samples):
        _check(one, place, width)
    lengths = torch.tensor([len(one.features) for one in samples])
    most = max((one.words.shape[1] for one in samples if one.words is not None), default=0)
    features = torch.cat([one.features for one in samples])
    kind = torch.cat([_kind(one) for one in samples])
    words = torch.cat([_words(one, most) for one in samples])
    boxes = torch.cat([one.boxes.to(features.dtype) for one in samples])
    return _regions(features, boxes, kind, torch.zeros_like(kind), words, lengths)


def unlay_regions(regions: Regions) -> list[Looked]:
    """What `lay_regions` was given, kinds and words written out."""
    cuts = regions.lengths.tolist()
    fields = (regions.features, regions.boxes, regions.kind, regions.words)
    parts = [field[: sum(cuts)].split(cuts) for field in fields]
    return [Looked(*one) for one in zip(*parts, strict=True)]


def take_regions(regions: Regions, index: Int[Tensor, " k"]) -> Regions:
    """The regions of the pictures at these places, in this order, possibly repeated.

    DataError: an empty index, or a place outside the batch.
    """
    b = len(regions.lengths)
    index = index.to(regions.lengths.device)
    if len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= b:
        raise DataError(f"index {index.tolist()[:8]} must name pictures 0 to {b - 1}")
    lengths = regions.lengths[index]
    starts = (regions.lengths.cumsum(0) - regions.lengths)[index]
    total = int(lengths.sum())
    shift = starts - (lengths.cumsum(0) - lengths)
    place = torch.arange(total, device=lengths.device)
    place = place + shift.repeat_interleave(lengths, output_size=total)
    r = regions
    kind, masked, words = r.kind[place], r.masked[place], r.words[place]
    return _regions(r.features[place], r.boxes[place], kind, masked, words, lengths)


def _regions(
    features: Tensor, boxes: Tensor, kind: Tensor, masked: Tensor, words: Tensor, lengths: Tensor
) -> Regions:
    if len(features) == 0:  # nothing seen in the whole batch: one row that belongs to no picture
        features, boxes = features.new_zeros(1, features.shape[1]), boxes.new_zeros(1, 4)
        kind, masked = kind.new_zeros(1), masked.new_zeros(1)
        words = words.new_full((1, words.shape[1]), -1)
    n = max(int(lengths.max()), 1)
    rows, back, _ = places(lengths, n, len(features))
    return Regions(features, boxes, kind, masked, words, rows, back, lengths)


def _kind(one: Looked) -> Tensor:
    return torch.zeros(len(one.features), dtype=torch.long) if one.kind is None else one.kind


def _links(one: Looked) -> Tensor:
    if one.words is None:
        return torch.zeros(len(one.features), 0, dtype=torch.long)
    return one.words


def _words(one: Looked, most: int) -> Tensor:
    links = _links(one)
    return torch.nn.functional.pad(links.long(), (0, most - links.shape[1]), value=-1)


def _check(one: Looked, place: int, width: int) -> None:
    if one.features.ndim != 2 or one.features.shape[1] != width:
        raise DataError(f"sample {place}: features {tuple(one.features.shape)}, not (r, {width})")
    r = len(one.features)
    if one.boxes.shape != (r, 4):
        raise DataError(f"sample {place}: boxes {tuple(one.boxes.shape)} for {r} regions of 4")
    if not (one.features.isfinite().all() and one.boxes.isfinite().all()):
        raise DataError(f"sample {place}: features or boxes are not finite numbers")
    if (one.kind is not None and len(one.kind) != r) or (
        one.words is not None and len(one.words) != r
    ):
        raise DataError(f"sample {place}: kinds or words are not one a region ({r})")
