"""A net that reads regions, over features of its own: it sees what each box cuts out."""

from typing import Any

from torch import nn

from sensorium.models.declaration import declared
from sensorium.nn.crops import Cropped, CroppedWhole, Crops, Waves


def over_crops(
    of: dict[str, Any], side: int, channels: tuple[int, ...], feature: int, waves: int = 0
) -> nn.Module:
    """The model declared by `of`, which reads regions of `feature` numbers, over crops of pixels.

    Args:
        of: the other model's declaration, as a manifest has it.
        side: of a crop; pixels are laid flat, channel by channel.
        channels: of the convolutions, each of which halves the side.
        waves: frequencies by which a region's place is told finely, as a part of its feature.

    Raises:
        ValueError: the declaration is not valid, or is of no net that fuses words and regions.
    """
    net = declared(of).build()
    if not {"text", "image", "heads"} <= dict(net.named_children()).keys():
        raise ValueError(f"model {of['function']} does not read words beside regions")
    crops, parts = Crops(side, channels, feature), dict(net.named_children())
    place = Waves(waves, feature) if waves else None
    net.add_module("image", Cropped(crops, parts["image"], place))
    if "whole" in parts:
        net.add_module("whole", CroppedWhole(crops, parts["whole"]))
    return net
