"""Convolutional trunks of detectors: the ResNet of He et al. 2015 as detectors use it, a small one.

Batch normalisation is frozen (its statistics are buffers, its weights learn) where weights are
published; the small trunk, which is trained from nothing, normalises the channels of each cell. So
no picture's numbers depend on what shares its batch.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

EPS = 1e-5


class FrozenNorm(nn.Module):
    """Batch normalisation by stored statistics, in training as well."""

    def __init__(self, channels: int, eps: float = EPS):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        scale = self.weight * (self.get_buffer("running_var") + self.eps).rsqrt()
        shift = self.bias - self.get_buffer("running_mean") * scale
        return x * scale[:, None, None] + shift[:, None, None]


class CellNorm(nn.Module):
    """Layer normalisation over the channels of each cell."""

    def __init__(self, channels: int, eps: float = EPS):
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; the first 1x1 has the stride, as in the original ResNet."""

    def __init__(self, c_in: int, c_mid: int, c_out: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c_in, c_mid, 1, stride, bias=False), FrozenNorm(c_mid)
        self.conv2 = nn.Conv2d(c_mid, c_mid, 3, 1, dilation, dilation, bias=False)
        self.norm2 = FrozenNorm(c_mid)
        self.conv3, self.norm3 = nn.Conv2d(c_mid, c_out, 1, bias=False), FrozenNorm(c_out)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride, bias=False), FrozenNorm(c_out)
            )

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        out = F.relu(self.norm1(self.conv1(x)))
        out = F.relu(self.norm2(self.conv2(out)))
        return F.relu(self.norm3(self.conv3(out)) + self.shortcut(x))


def stage(
    c_in: int, c_mid: int, c_out: int, blocks: int, stride: int, dilation: int = 1
) -> nn.Sequential:
    """Bottlenecks of which the first one changes channels and stride."""
    made = [Bottleneck(c_in, c_mid, c_out, stride, dilation)]
    made += [Bottleneck(c_out, c_mid, c_out, 1, dilation) for _ in range(blocks - 1)]
    return nn.Sequential(*made)


class ResNetC4(nn.Module):
    """Stem and the stages up to the fourth: a map of side / 16 with 16 `width` channels.

    The pool of the stem has no padding and rounds its size up, as Caffe does.
    """

    def __init__(self, blocks: Sequence[int], width: int):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, width, 7, 2, 3, bias=False), FrozenNorm(width)
        stages, c_in = [], width
        for i, count in enumerate(blocks):
            c_mid = width * 2**i
            stages.append(stage(c_in, c_mid, 4 * c_mid, count, stride=1 if i == 0 else 2))
            c_in = 4 * c_mid
        self.stages = nn.ModuleList(stages)
        self.channels = c_in

    def forward(self, image: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        x = image.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 3, 2, ceil_mode=True)
        for one in self.stages:
            x = one(x)
        return x


class Basic(nn.Module):
    """Two 3x3 convolutions with a shortcut, normalised a cell at a time."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = CellNorm(c_out)
        self.conv2, self.norm2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), CellNorm(c_out)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            self.shortcut = nn.Conv2d(c_in, c_out, 1, stride, bias=False)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x))


class Merged(nn.Module):
    """A small trunk: stages that halve the plane, the coarse ones laid back over a finer one.

    One map comes out, of the finest stage in `blocks`, which has seen what the coarser ones saw
    (the top-down path of Lin et al. 2016, feature pyramids, with one level kept).

    Args:
        widths: channels of the stem and of each stage.
        blocks: of each stage.
        stride: of the map that comes out; 4 is that of the first stage.
        channels: of the map that comes out.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], stride: int, channels: int):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False), CellNorm(widths[0])
        stages = []
        for i, count in enumerate(blocks):
            rest = [Basic(widths[i + 1], widths[i + 1], 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(Basic(widths[i], widths[i + 1], 2), *rest))
        self.stages = nn.ModuleList(stages)
        self.first = [4 * 2**i for i in range(len(blocks))].index(stride)
        self.sides = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in widths[self.first + 1 :])
        self.out = nn.Conv2d(channels, channels, 3, 1, 1)
        self.channels = channels

    def forward(self, image: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b c y2 x2"]:
        x = image.contiguous(memory_format=torch.channels_last)
        x, levels = F.relu(self.norm(self.stem(x))), []
        for one in self.stages:
            x = one(x)
            levels.append(x)
        merged = None
        for side, level in zip(reversed(self.sides), reversed(levels[self.first :]), strict=True):
            here = side(level)
            if merged is not None:
                here = here + F.interpolate(merged, size=here.shape[-2:], mode="nearest")
            merged = here
        assert merged is not None
        return F.relu(self.out(merged))
