"""CLIP's modified ResNet and its attention pooling (Radford et al. 2021, section 2.4).

Three changes to the ResNet of He et al.: a stem of three convolutions, anti-aliased striding (every
convolution has stride 1, an average pool does the striding), attention in place of the mean pool.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.norm import BatchNorm2d
from sensorium.nn.sight import attend
from sensorium.types import Grid


def conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the plane's size up to its stride."""
    return nn.Conv2d(c_in, c_out, size, stride=stride, padding=size // 2, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3, average pool of the stride, 1x1; the shortcut pools before its 1x1."""

    def __init__(self, c_in: int, c_mid: int, stride: int, expansion: int = 4):
        super().__init__()
        c_out = c_mid * expansion
        self.conv1, self.bn1 = conv(c_in, c_mid, 1), BatchNorm2d(c_mid)
        self.conv2, self.bn2 = conv(c_mid, c_mid, 3), BatchNorm2d(c_mid)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3, self.bn3 = conv(c_mid, c_out, 1), BatchNorm2d(c_out)
        self.shortcut = nn.Identity()
        if stride > 1 or c_in != c_out:
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, conv(c_in, c_out, 1), BatchNorm2d(c_out))

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.pool(out)))
        return F.relu(out + self.shortcut(x))


class ModifiedResNet(nn.Module):
    """Stem, then four stages that halve the plane (the first does not): side / 32 in the end."""

    def __init__(self, blocks: tuple[int, int, int, int], width: int):
        super().__init__()
        half = width // 2
        self.conv1, self.bn1 = conv(3, half, 3, stride=2), BatchNorm2d(half)
        self.conv2, self.bn2 = conv(half, half, 3), BatchNorm2d(half)
        self.conv3, self.bn3 = conv(half, width, 3), BatchNorm2d(width)
        stages, c_in = [], width
        for i, depth in enumerate(blocks):
            c_mid, stage = width * 2**i, []
            for j in range(depth):
                stage.append(Bottleneck(c_in, c_mid, stride=2 if i > 0 and j == 0 else 1))
                c_in = 4 * c_mid
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Float[Tensor, "b 3 y x"]) -> Grid:
        x = image.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        for stage in self.stages:
            x = stage(x)
        return Grid(x)


class AttentionPool(nn.Module):
    """One attention over the cells of a plane in which only their mean asks."""

    def __init__(self, grid: int, width: int, heads: int, embed: int):
        super().__init__()
        self.heads = heads
        self.pos = nn.Parameter(torch.randn(grid**2 + 1, width) * width**-0.5)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, embed)

    def forward(self, grid: Grid) -> Float[Tensor, "b e"]:
        x = grid.x.flatten(2).transpose(1, 2)
        if x.shape[1] + 1 != self.pos.shape[0]:
            cells = f"{grid.x.shape[2]} x {grid.x.shape[3]}"
            raise ValueError(f"attention pool of {self.pos.shape[0] - 1} cells was given {cells}")
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.pos
        b, n, _ = x.shape
        q = self.q(x[:, :1]).view(b, 1, self.heads, -1)
        k, v = self.k(x).view(b, n, self.heads, -1), self.v(x).view(b, n, self.heads, -1)
        return self.out(attend(q, k, v, None))[:, 0]
