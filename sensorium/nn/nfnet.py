"""NFNets, residual towers without normalisation (Brock et al. 2021, arXiv 2102.06171, figure 3)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ALPHA = 0.2  # what a residual branch is scaled by
GROUP = 128  # channels of a group of the 3x3 convolutions
GAIN = 1.7015043497085571  # by which GELU keeps the variance of a normal input


class Standardised(nn.Module):
    """A convolution whose weights have mean 0 and variance 1 / fan-in in each output, times a gain.

    Scaled weight standardisation, equation 1 of the paper. Planes are padded as TensorFlow does.
    """

    def __init__(self, c_in: int, c_out: int, size: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.stride, self.groups, self.size = stride, groups, size
        fan = c_in // groups * size * size
        self.weight = nn.Parameter(torch.randn(c_out, c_in // groups, size, size) * fan**-0.5)
        self.gain, self.bias = nn.Parameter(torch.ones(c_out)), nn.Parameter(torch.zeros(c_out))

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        w = self.weight.flatten(1)
        var, mean = torch.var_mean(w, dim=1, keepdim=True, correction=0)
        w = (w - mean) * (var * w.shape[1]).clamp(min=1e-4).rsqrt() * self.gain[:, None]
        left, right = [], []
        for side in (x.shape[3], x.shape[2]):
            more = max((-(-side // self.stride) - 1) * self.stride + self.size - side, 0)
            left.append(more // 2)
            right.append(more - more // 2)
        x = F.pad(x, (left[0], right[0], left[1], right[1]))
        w = w.view_as(self.weight).to(x.dtype)
        return F.conv2d(x, w, self.bias.to(x.dtype), self.stride, groups=self.groups)


def act(x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
    """GELU that keeps the variance."""
    return F.gelu(x) * GAIN


class NFBlock(nn.Module):
    """1x1, two grouped 3x3, 1x1, squeeze and excite; the branch's gain starts at 0.

    `beta` is the inverse of the deviation that the input is expected to have.
    """

    def __init__(self, c_in: int, c_out: int, stride: int, beta: float, group: int):
        super().__init__()
        mid = max(c_out // 2 // group, 1) * group
        groups = mid // group
        self.beta, self.stride = beta, stride
        self.conv0 = Standardised(c_in, mid, 1)
        self.conv1 = Standardised(mid, mid, 3, stride, groups)
        self.conv2 = Standardised(mid, mid, 3, 1, groups)
        self.conv3 = Standardised(mid, c_out, 1)
        self.squeeze, self.excite = nn.Linear(c_out, c_out // 2), nn.Linear(c_out // 2, c_out)
        self.shortcut = Standardised(c_in, c_out, 1) if stride > 1 or c_in != c_out else None
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c2 y2 x2"]:
        out = act(x) * self.beta
        short = x
        if self.shortcut is not None:
            pooled = F.avg_pool2d(out, 2, ceil_mode=True) if self.stride > 1 else out
            short = self.shortcut(pooled)
        out = self.conv2(act(self.conv1(act(self.conv0(out)))))
        out = self.conv3(act(out))
        share = self.excite(F.relu(self.squeeze(out.mean((2, 3))))).sigmoid()
        return short + out * share[:, :, None, None] * 2 * self.gain.to(x.dtype) * ALPHA


class NFNet(nn.Module):
    """The cells of the last stage's plane, row by row: side / 32 rows.

    Args:
        depths: blocks of the four stages; F0 has 1, 2, 6, 3, F6 seven times as many.
        widths: of the stages; 256, 512, 1536, 1536.
        group: channels of a group.
    """

    def __init__(self, depths: tuple[int, ...], widths: tuple[int, ...], group: int = GROUP):
        super().__init__()
        stem = (3, widths[0] // 16, widths[0] // 8, widths[0] // 4, widths[0] // 2)
        strides = (2, 1, 1, 2)
        self.stem = nn.ModuleList(
            Standardised(stem[i], stem[i + 1], 3, stride) for i, stride in enumerate(strides)
        )
        blocks, c_in = [], stem[-1]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            deviation = 1.0
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(NFBlock(c_in, width, stride, 1 / deviation, group))
                c_in = width
                deviation = (1.0 + ALPHA**2) ** 0.5 if i == 0 else (deviation**2 + ALPHA**2) ** 0.5
        self.blocks = nn.ModuleList(blocks)

    def forward(self, image: Float[Tensor, "p c y x"]) -> Float[Tensor, "p n e"]:
        x = image.to(next(self.parameters()).dtype)
        for i, conv in enumerate(self.stem):
            x = conv(x) if i == 0 else conv(act(x))
        for block in self.blocks:
            x = block(x)
        return act(x).flatten(2).transpose(1, 2)
