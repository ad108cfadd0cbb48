"""Regions seen as small pictures: a feature that is learnt with the net, without a detector."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.activation import activation
from sensorium.nn.regions import Box
from sensorium.types import Regions, Tokens


class Crops(nn.Module):
    """What a box cuts out, as `side` x `side` pixels laid flat, to a feature.

    Convolutions of stride 2 and one linear layer; no norm over the batch, so that a region's
    feature does not depend on the others.
    """

    def __init__(self, side: int, channels: tuple[int, ...], feature: int):
        super().__init__()
        if not channels or side % 2 ** len(channels):
            raise ValueError(f"crops of {side} pixels cannot be halved {len(channels)} times")
        self.side, self.act = side, activation("gelu")
        pairs = zip((3, *channels[:-1]), channels, strict=True)
        self.steps = nn.ModuleList([nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs])
        self.proj = nn.Linear(channels[-1] * (side // 2 ** len(channels)) ** 2, feature)

    def forward(self, crops: Float[Tensor, "r c"]) -> Float[Tensor, "r d"]:
        if crops.shape[1] != 3 * self.side**2:
            raise ValueError(
                f"this net reads crops of 3 x {self.side} x {self.side} pixels, not regions of"
                f" {crops.shape[1]} features"
            )
        x = crops.to(self.proj.weight.dtype).view(-1, 3, self.side, self.side)
        for step in self.steps:
            x = self.act(step(x))
        return self.proj(x.flatten(1))


class Waves(Box):
    """Where a box is, finely, as a part of its region's feature.

    Sines and cosines of the corners, as shares of the picture, of 1, 2, 4 ... 2^(count-1) periods a
    side (Mildenhall et al. 2020, equation 4), through a linear layer.
    """

    def __init__(self, count: int, feature: int):
        super().__init__(lambda boxes: waves(boxes, count), 8 * count, feature)


def waves(boxes: Float[Tensor, "r 4"], count: int) -> Float[Tensor, "r g"]:
    """Sines, then cosines, of `count` frequencies of each corner."""
    turns = 2 * math.pi * 2.0 ** torch.arange(count, device=boxes.device, dtype=boxes.dtype)
    angles = (boxes[:, :, None] * turns).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Cropped(nn.Module):
    """Regions whose features are crops, seen by `crops` and embedded by `image`.

    What an objective has hidden is hidden from both: a masked region's feature is zero. Boxes are
    never hidden: what `place` (None: nothing) makes of them is added.
    """

    def __init__(self, crops: Crops, image: nn.Module, place: Waves | None = None):
        super().__init__()
        self.crops, self.image, self.place = crops, image, place

    def forward(self, regions: Regions) -> Tokens:
        seen = featured(self.crops, regions)
        if self.place is not None:
            seen = seen._replace(features=seen.features + self.place(regions))
        return self.image(seen)


class CroppedWhole(nn.Module):
    """A token of the whole picture (`nn.regions.WholePicture`) over crops, which are borrowed."""

    def __init__(self, crops: Crops, whole: nn.Module):
        super().__init__()
        self.borrowed, self.whole = (crops,), whole

    def forward(self, regions: Regions) -> Tokens:
        return self.whole(featured(self.borrowed[0], regions))


def featured(crops: Crops, regions: Regions) -> Regions:
    """Regions with the features of their crops in place of the pixels."""
    shown = (regions.masked == 0)[:, None]
    return regions._replace(features=torch.where(shown, crops(regions.features), 0))
