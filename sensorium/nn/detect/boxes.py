"""Boxes (x1, y1, x2, y2) in pixels: areas, overlaps, clipping, and their coding as regressions.

`extra` is the width of a box whose corners are equal: 0 where corners are positions, 1 where they
name the first and the last pixel, as in Caffe's detectors (py-faster-rcnn and what came from it).
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LARGEST = math.log(1000 / 16)  # of a regressed log-scale: a 16-pixel anchor becomes 1000 pixels


def wide(x: Tensor) -> Tensor:
    """In at least float32: corners of large pictures have no room in halves."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sides(boxes: Float[Tensor, "*n 4"], extra: int = 0) -> Float[Tensor, "*n 2"]:
    """Widths and heights."""
    return boxes[..., 2:] - boxes[..., :2] + extra


def overlaps(
    a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"], extra: int = 0
) -> Float[Tensor, "n m"]:
    """Intersection over union of every pair; 0 where a union has no area."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a.T[:, :, None], b.T[:, None, :]
    wide = (torch.minimum(az, bz) - torch.maximum(ax, bx) + extra).clamp_(min=0)
    shared = (torch.minimum(aw, bw) - torch.maximum(ay, by) + extra).clamp_(min=0).mul_(wide)
    whole = sides(a, extra).prod(-1)[:, None] + sides(b, extra).prod(-1)[None] - shared
    return torch.where(whole > 0, shared / whole, torch.zeros_like(shared))


def clipped(boxes: Float[Tensor, "*n 4"], size: tuple[int, int], extra: int = 0) -> Tensor:
    """Boxes cut to a picture of (height, width); with `extra` 1 the last pixel is the edge."""
    y, x = size[0] - extra, size[1] - extra
    most = boxes.new_tensor([x, y, x, y])
    return torch.minimum(boxes, most).clamp(min=0)


def large(boxes: Float[Tensor, "n 4"], least: float, extra: int = 0) -> Bool[Tensor, " n"]:
    """Which boxes have both sides of at least `least` pixels; of 0 any that has an area."""
    both = sides(boxes, extra)
    return (both >= least).all(-1) if least > 0 else (both > 0).all(-1)


def encode(
    truth: Float[Tensor, "*n 4"], boxes: Float[Tensor, "*n 4"], extra: int = 0
) -> Float[Tensor, "*n 4"]:
    """What turns `boxes` into `truth`: shift of the centre in sides, log of the sides' ratio.

    Ren et al. 2015, equation 2.
    """
    own, want = sides(boxes, extra), sides(truth, extra)
    shift = (truth[..., :2] + want / 2 - boxes[..., :2] - own / 2) / own
    return torch.cat([shift, (want / own).log()], dim=-1)


def decode(
    delta: Float[Tensor, "*n 4"], boxes: Float[Tensor, "*n 4"], extra: int = 0
) -> Float[Tensor, "*n 4"]:
    """The boxes that `encode` was given; the log of the scale is capped.

    With `extra` 1 the far corner lies half a side from the centre, not half a side less a pixel:
    so Caffe's detectors have it, and so their weights expect it.
    """
    own = sides(boxes, extra)
    centre = boxes[..., :2] + own / 2 + delta[..., :2] * own
    half = delta[..., 2:].clamp(max=LARGEST).exp() * own / 2
    return torch.cat([centre - half, centre + half], dim=-1)
