"""From regions of pictures to tokens: what is seen, where, in which picture, by which words.

A `RegionEmbed` is a sum of parts, each of which maps regions to one vector a region. Which parts
there are, and where norms stand, is the declaration's: VisualBERT sums a projection, one position
and a picture's kind; UNITER and LXMERT norm what is seen and where it is before the sum.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.dropout import dropped
from sensorium.nn.joint import joined
from sensorium.types import Ragged, Regions, Tokens

Geometry = Callable[[Float[Tensor, "r 4"]], Float[Tensor, "r g"]]


def corners(boxes: Float[Tensor, "r 4"]) -> Float[Tensor, "r 4"]:
    """x1, y1, x2, y2 as shares of the picture's sides (LXMERT)."""
    return boxes


def area(boxes: Float[Tensor, "r 4"]) -> Float[Tensor, "r 5"]:
    """The corners, and the share of the picture that the box covers (ViLBERT)."""
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return torch.cat([boxes, (w * h)[:, None]], dim=1)


def sides(boxes: Float[Tensor, "r 4"]) -> Float[Tensor, "r 6"]:
    """The corners, width and height (VisualBERT's Flickr30k features)."""
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return torch.cat([boxes, w[:, None], h[:, None]], dim=1)


def sides_and_area(boxes: Float[Tensor, "r 4"]) -> Float[Tensor, "r 7"]:
    """The corners, width, height, and their product (UNITER)."""
    six = sides(boxes)
    return torch.cat([six, (six[:, 4] * six[:, 5])[:, None]], dim=1)


class Look(nn.Module):
    """What is seen: the feature through a linear layer (and a norm).

    `hidden`: whether a learnt vector is added to the features that an objective has masked.
    """

    def __init__(
        self, feature: int, width: int, norm: nn.Module | None = None, hidden: bool = False
    ):
        super().__init__()
        self.proj = nn.Linear(feature, width)
        self.norm = norm if norm is not None else nn.Identity()
        self.mask = nn.Embedding(2, feature) if hidden else None  # row 0 is never read (UNITER)

    def forward(self, regions: Regions) -> Float[Tensor, "r d"]:
        x = regions.features.to(self.proj.weight.dtype)
        if x.shape[1] != self.proj.in_features:
            want = self.proj.in_features
            raise ValueError(f"this net reads regions of {want} features, not of {x.shape[1]}")
        if self.mask is not None:
            x = x + regions.masked[:, None].to(x.dtype) * self.mask.weight[1]
        return self.norm(self.proj(x))


class Box(nn.Module):
    """Where it is: numbers of the box through a linear layer (and a norm)."""

    def __init__(self, geometry: Geometry, numbers: int, width: int, norm: nn.Module | None = None):
        super().__init__()
        self.geometry = geometry
        self.proj = nn.Linear(numbers, width)
        self.norm = norm if norm is not None else nn.Identity()

    def forward(self, regions: Regions) -> Float[Tensor, "r d"]:
        boxes = regions.boxes.to(self.proj.weight.dtype)
        return self.norm(self.proj(self.geometry(boxes)))


class Kind(nn.Module):
    """Which picture of the sample it is of: row `kind` + `offset` of a table of another part.

    The table (the words' segments) is borrowed: it is no child, and saved once.
    """

    def __init__(self, table: nn.Embedding, offset: int = 0):
        super().__init__()
        self.borrowed, self.offset = (table,), offset

    def forward(self, regions: Regions) -> Float[Tensor, "r d"]:
        return self.borrowed[0](regions.kind + self.offset)


class OwnKind(nn.Module):
    """Which picture of the sample it is of: row `kind` of a table of its own (VisualBERT)."""

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def forward(self, regions: Regions) -> Float[Tensor, "r d"]:
        return self.table(regions.kind)


class SamePlace(nn.Module):
    """One learnt vector for every region: row 0 of a table of positions (VisualBERT).

    The other rows are there because the published weights have them; they are never read.
    """

    def __init__(self, rows: int, width: int):
        super().__init__()
        self.table = nn.Embedding(rows, width)

    def forward(self, regions: Regions) -> Float[Tensor, "r d"]:
        return self.table.weight[:1].expand(len(regions.kind), -1)


class LinkedWords(nn.Module):
    """The mean position vector of the words that a region is linked with (VisualBERT on VCR)."""

    def __init__(self, positions: nn.Embedding):
        super().__init__()
        self.borrowed = (positions,)

    def forward(self, regions: Regions) -> Float[Tensor, "r d"]:
        table = self.borrowed[0]
        linked = (regions.words >= 0)[:, :, None].to(table.weight.dtype)
        vectors = table(regions.words.clamp(min=0)) * linked
        return vectors.sum(dim=1) / linked.sum(dim=1).clamp(min=1)


class RegionEmbed(nn.Module):
    """scale * (the sum of its parts), normalised: one token a region, as they lie.

    Args:
        parts: each maps `Regions` to one vector a region.
        norm: behind the sum; None: nothing.
        scale: LXMERT halves the sum.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        norm: nn.Module | None = None,
        drop: float = 0.0,
        scale: float = 1.0,
    ):
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.norm = norm if norm is not None else nn.Identity()
        self.drop, self.scale = drop, scale

    def forward(self, regions: Regions) -> Tokens:
        x = torch.stack([part(regions) for part in self.parts.values()]).sum(dim=0)
        if self.scale != 1.0:
            x = x * self.scale
        x = dropped(self.norm(x), self.drop, self.training)
        return Tokens(x[None], Ragged(regions.rows, regions.back, regions.lengths, causal=False))


class WholePicture(nn.Module):
    """A token of the whole picture: the mean of its regions' features, and the box of all of it.

    It is embedded as the regions are, by the same part, which is borrowed (ViLBERT).
    """

    def __init__(self, embed: RegionEmbed):
        super().__init__()
        self.borrowed = (embed,)

    def forward(self, regions: Regions) -> Tokens:
        return self.borrowed[0](whole(regions))


def whole(regions: Regions) -> Regions:
    """Of each picture one region: all of it, with the mean feature (0 where there is no region)."""
    b, n = regions.rows.shape
    x, device, dtype = regions.features, regions.features.device, regions.boxes.dtype
    real = torch.arange(len(x), device=device) < regions.lengths.sum()
    sample = (regions.back // n).clamp(max=b - 1)
    total = x.new_zeros(b, x.shape[1]).index_add(0, sample, x * real[:, None])
    place, none = torch.arange(b, device=device), regions.kind.new_zeros(b)
    return Regions(
        features=total / regions.lengths.clamp(min=1)[:, None],
        boxes=torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=dtype, device=device).expand(b, 4),
        kind=none,
        masked=none,
        words=regions.words.new_full((b, regions.words.shape[1]), -1),
        rows=place[:, None],
        back=place,
        lengths=torch.ones_like(regions.lengths),
    )


def beside(first: Regions, second: Regions) -> Regions:
    """The regions of two pictures to a sample as those of one: the second's have the next kind."""
    a, z = first, second._replace(kind=second.kind + 1)
    layouts = [Ragged(x.rows, x.back, x.lengths, causal=False) for x in (a, z)]
    at, order, _ = joined(*layouts)
    most = max(a.words.shape[1], z.words.shape[1])
    links = [F.pad(x.words, (0, most - x.words.shape[1]), value=-1) for x in (a, z)]
    return Regions(
        features=torch.cat([a.features, z.features])[order],
        boxes=torch.cat([a.boxes, z.boxes])[order],
        kind=torch.cat([a.kind, z.kind])[order],
        masked=torch.cat([a.masked, z.masked])[order],
        words=torch.cat(links)[order],
        rows=at.rows,
        back=at.back,
        lengths=at.lengths,
    )
