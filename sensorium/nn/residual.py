"""The residual tower of He et al. 2015 (arXiv 1512.03385) with basic blocks, for small pictures.

Two changes for pictures of some fifty pixels: the stem is one 3x3 convolution of stride 2 in place
of a 7x7 and a pool, and the shortcut pools before its 1x1 (He et al. 2018, ResNet-D).
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.norm import BatchNorm2d
from sensorium.nn.resnet import conv
from sensorium.types import Grid


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the last gain starts at zero."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, c_out, 3, stride=stride), BatchNorm2d(c_out)
        self.conv2, self.bn2 = conv(c_out, c_out, 3), BatchNorm2d(c_out)
        nn.init.zeros_(self.bn2.weight)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            parts = {"pool": pool, "conv": conv(c_in, c_out, 1), "norm": BatchNorm2d(c_out)}
            self.shortcut = nn.Sequential(OrderedDict(parts))

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A stem of stride 2, then stages of basic blocks: all but the first halve the plane and
    double the width."""

    def __init__(self, blocks: tuple[int, ...], width: int):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 3, stride=2), BatchNorm2d(width)
        stages, c_in = [], width
        for i, depth in enumerate(blocks):
            c_out, stage = width * 2**i, []
            for j in range(depth):
                stage.append(BasicBlock(c_in, c_out, stride=2 if i > 0 and j == 0 else 1))
                c_in = c_out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Float[Tensor, "b 3 y x"]) -> Grid:
        x = F.relu(self.bn1(self.conv1(image.contiguous(memory_format=torch.channels_last))))
        for stage in self.stages:
            x = stage(x)
        return Grid(x)
