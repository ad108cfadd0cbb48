"""What is read off a region: its feature, its class, a better box, an attribute."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.detect.trunk import stage

Pool = Callable[[Float[Tensor, "c y x"], Float[Tensor, "n 4"]], Float[Tensor, "n c s s"]]


class Read(NamedTuple):
    """What a head says of regions; class 0 is the background."""

    feature: Float[Tensor, "n d"]
    classes: Float[Tensor, "n v"]  # logits
    delta: Float[Tensor, "n k 4"]  # a correction of the box for each class
    attributes: Float[Tensor, "n a"] | None  # logits, 0 is "none"; None: the net has no such head


class Res5(nn.Module):
    """The last stage of a ResNet over a pooled region, then the mean: `pool5_flat`, 0 or more."""

    def __init__(self, channels: int, blocks: int, stride: int, dilation: int):
        super().__init__()
        self.stage = stage(channels, channels // 2, 2 * channels, blocks, stride, dilation)
        self.width = 2 * channels

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, "n d"]:
        return self.stage(x).mean((2, 3))


class TwoLayers(nn.Module):
    """Two linear layers with ReLU over a pooled region, all its cells laid end to end."""

    def __init__(self, channels: int, side: int, width: int):
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(channels * side**2, width), nn.Linear(width, width)
        self.width = width

    def forward(self, x: Float[Tensor, "n c s s"]) -> Float[Tensor, "n d"]:
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


class Predict(nn.Module):
    """Linear classes and boxes; attributes from the feature and the embedded class.

    As bottom-up attention has it (Anderson et al. 2018, section 3.1): the class is the true one
    while training, else the likeliest, background included.

    Args:
        boxes: corrections a region: one a class, or one more where the background has one too.
        units: what the four numbers of a correction are multiplied by before they are learnt.
    """

    def __init__(
        self, width: int, classes: int, boxes: int, attributes: int, units: tuple[float, ...]
    ):
        super().__init__()
        self.units = units
        self.classes, self.boxes = nn.Linear(width, classes + 1), nn.Linear(width, 4 * boxes)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.normal_(self.boxes.weight, std=0.001)
        self.background = boxes - classes
        self.attributes: Attributes | None = None
        if attributes > 0:
            self.attributes = Attributes(width, classes, attributes)

    def forward(
        self, feature: Float[Tensor, "n d"], label: Int[Tensor, " n"] | None = None
    ) -> Read:
        """`label`: the class that attributes are read under; None: the likeliest."""
        classes = self.classes(feature)
        delta = self.boxes(feature).view(len(feature), -1, 4)[:, self.background :]
        said = None
        if self.attributes is not None:
            said = self.attributes(feature, classes.argmax(1) if label is None else label)
        return Read(feature, classes, delta / delta.new_tensor(self.units), said)


class Attributes(nn.Module):
    """Class embedding beside the feature, one hidden layer, one logit an attribute and "none"."""

    def __init__(self, width: int, classes: int, attributes: int):
        super().__init__()
        self.embed = nn.Embedding(classes + 1, width // 8)
        self.hidden = nn.Linear(width + width // 8, width // 4)
        self.out = nn.Linear(width // 4, attributes + 1)

    def forward(self, feature: Float[Tensor, "n d"], label: Int[Tensor, " n"]) -> Tensor:
        return self.out(F.relu(self.hidden(torch.cat([feature, self.embed(label)], dim=-1))))
