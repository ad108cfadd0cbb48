"""Non-maximum suppression without a compiled kernel: of boxes that overlap, the best one stays.

Greedy suppression is a fixed point: a box stays unless a better one that stays overlaps it.
Starting from "all stay" and applying this to all boxes at once reaches it after as many rounds as
the longest chain of boxes has links; rounds are few and each is one product of matrices.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.nn.detect.boxes import overlaps

BLOCK = 1024  # boxes compared with each other at a time: bounds memory
CELLS = 1 << 24  # pairs of boxes, over all classes, worked on at a time


def settle(beats: Bool[Tensor, "*c n n"], stays: Bool[Tensor, "*c n"]) -> Bool[Tensor, "*c n"]:
    """Which boxes stay, where `beats[i, j]` says that i, if it stays, removes j.

    `beats` must follow an order (no box beats a better one); of `stays` only what is true can be.
    """
    weights = beats.to(torch.float32)
    now = stays
    while True:
        lost = (now.to(torch.float32).unsqueeze(-2) @ weights).squeeze(-2) > 0
        then = stays & ~lost
        if torch.equal(then, now):
            return now
        now = then


def nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    limit: float,
    *,
    kinds: Int[Tensor, " n"] | None = None,
    most: int | None = None,
    extra: int = 0,
) -> Int[Tensor, " k"]:
    """The boxes that stay, best first.

    Args:
        limit: a box goes when it overlaps (intersection over union) a better one by more.
        kinds: only boxes of one kind remove each other (classes, or levels of a pyramid).
        most: how many are wanted; the best ones.
        extra: see `sensorium.nn.detect.boxes`.
    """
    order = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    count = 0
    for block in order.split(BLOCK):
        here = boxes[block]
        stays = torch.ones(len(block), dtype=torch.bool, device=boxes.device)
        for before in kept:
            removes = overlaps(boxes[before], here, extra) > limit
            if kinds is not None:
                removes &= kinds[before][:, None] == kinds[block][None]
            stays &= ~removes.any(0)
        beats = (overlaps(here, here, extra) > limit).triu(1)
        if kinds is not None:
            beats &= kinds[block][:, None] == kinds[block][None]
        kept.append(block[settle(beats, stays)])
        count += len(kept[-1])
        if most is not None and count >= most:
            break
    return torch.cat(kept)[:most] if kept else order


def nms_by_class(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n c"], limit: float, extra: int = 0
) -> Bool[Tensor, "n c"]:
    """For each class alone, which of the same n boxes stay when ordered by that class's score.

    What bottom-up attention's extraction does with the 300 proposals and 1,600 classes.
    """
    n, c = scores.shape
    over = overlaps(boxes, boxes, extra) > limit
    stays = torch.empty(n, c, dtype=torch.bool, device=boxes.device)
    step = max(1, CELLS // max(n * n, 1))
    for first in range(0, c, step):
        order = scores[:, first : first + step].argsort(dim=0, descending=True, stable=True).T
        beats = over[order[:, :, None], order[:, None, :]].triu(1)
        found = settle(beats, torch.ones_like(order, dtype=torch.bool))
        stays[:, first : first + step] = torch.zeros_like(found).scatter(1, order, found).T
    return stays
