"""The proposal network: where in a picture something stands, whatever it is (Ren et al. 2015)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.detect import anchors as grid
from sensorium.nn.detect.anchors import Rounding
from sensorium.nn.detect.boxes import clipped, decode, large, wide
from sensorium.nn.detect.suppress import nms


class Anchors(NamedTuple):
    """Which anchors a cell has; `stride` is that of the map. See `anchors.cell`."""

    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    stride: int
    rounding: Rounding = "none"

    def count(self) -> int:
        """How many a cell has."""
        return len(self.sizes) * len(self.ratios)


class Limits(NamedTuple):
    """How proposals are chosen: best `before` of them, suppression, best `after` of the rest.

    Proposals with a side of less than `least` pixels of the picture as it was given (before it was
    resized) are left out.
    """

    before: int
    after: int
    nms: float
    least: float


class Said(NamedTuple):
    """What the network says of every anchor, cell by cell."""

    score: Float[Tensor, "b n"]  # the logit of "here is something"
    delta: Float[Tensor, "b n 4"]


class RPN(nn.Module):
    """A 3x3 convolution, then for each anchor one logit and one correction.

    Args:
        columns: 1, or 2 where there is one logit for "nothing" and one for "something"; all of the
            first kind come first. Their difference is the score.
    """

    def __init__(self, channels: int, hidden: int, anchors: Anchors, columns: int = 1):
        super().__init__()
        self.anchors, self.columns = anchors, columns
        self.conv = nn.Conv2d(channels, hidden, 3, padding=1)
        self.score = nn.Conv2d(hidden, columns * anchors.count(), 1)
        self.delta = nn.Conv2d(hidden, 4 * anchors.count(), 1)
        for layer in (self.conv, self.score, self.delta):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Said:
        hidden = F.relu(self.conv(x))
        score, delta = self.score(hidden), self.delta(hidden)
        if self.columns == 2:
            nothing, something = score.chunk(2, dim=1)
            score = something - nothing
        score = score.permute(0, 2, 3, 1).flatten(1)
        delta = delta.permute(0, 2, 3, 1).reshape(len(x), -1, 4)
        return Said(score, delta)

    def boxes(self, x: Float[Tensor, "c y x"]) -> Float[Tensor, "n 4"]:
        """The anchors of a map, in pixels of the picture."""
        at = self.anchors
        cell = grid.cell(at.sizes, at.ratios, at.stride, at.rounding).to(x.device)
        return grid.spread(cell, (x.shape[-2], x.shape[-1]), at.stride)

    @property
    def extra(self) -> int:
        """1 where corners name pixels, as in Caffe's detectors (`sensorium.nn.detect.boxes`)."""
        return 1 if self.anchors.rounding == "caffe" else 0

    @torch.no_grad()
    def propose(
        self,
        score: Float[Tensor, " n"],
        delta: Float[Tensor, "n 4"],
        boxes: Float[Tensor, "n 4"],
        size: tuple[int, int],
        limits: Limits,
        resized: float = 1.0,
    ) -> Float[Tensor, "k 4"]:
        """The best boxes of one picture of (height, width), best first.

        Args:
            resized: by how much the picture was enlarged; `limits.least` is in its own pixels.
        """
        if self.extra:  # small ones go first, then the best are taken; Detectron 2 the other way
            moved = clipped(decode(wide(delta), boxes, 1), size, 1)
            fine = large(moved, limits.least * resized, 1)
            moved, score = moved[fine], score[fine]
            best = score.argsort(descending=True, stable=True)[: limits.before]
            moved, score = moved[best], score[best]
        else:
            best = score.argsort(descending=True, stable=True)[: limits.before]
            moved = clipped(decode(wide(delta[best]), boxes[best]), size)
            score = score[best]
            fine = large(moved, limits.least * resized)
            moved, score = moved[fine], score[fine]
        keep = nms(moved, score, limits.nms, most=limits.after, extra=self.extra)
        return moved[keep]
