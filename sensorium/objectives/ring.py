"""The symmetric InfoNCE with texts that travel in a ring: memory that does not grow with the ranks.

Each rank keeps its pictures. The texts go round, block by block, with two numbers a text for its
softmax over the pictures; after a round both are complete and home. Backward they go round again,
and the gradient of each block travels one hop behind it. A rank holds its own rows, two blocks of
texts and, backward, two blocks of gradients, whatever the number of ranks.

Source: Inf-CL (Cheng et al. 2024) for the ring, which it runs once a direction; here both
directions come from one round, so the logits are computed half as often.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.objectives import tiles
from sensorium.objectives.infonce import TILE, Plan, owners, plan_symmetric, scale_gradient, working
from sensorium.objectives.ranks import parts, position


@tiles.uncompiled
def ring_symmetric(
    image: Float[Tensor, "b e"],
    text: Float[Tensor, "b e"],
    log_scale: Float[Tensor, " 1"],
    group: Int[Tensor, " b"] | None = None,
    repeats: Literal["mask", "share"] = "mask",
    smoothing: float = 0.0,
    ranks: dist.ProcessGroup | None = None,
    tile: int = TILE,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`infonce.symmetric`, argument by argument and to rounding number by number, in a ring.

    Traffic a rank and step: all texts forward; all texts and their gradients backward. Sending the
    texts overlaps with the tiles. Only group numbers, 8 bytes a pair, are held for all ranks.

    Raises:
        ValueError: shapes or dtypes do not fit, or the ranks do not agree.
    """
    plan = plan_symmetric(image, text, log_scale, group, repeats, smoothing, ranks, tile)
    return _Ring.apply(image, text, log_scale, plan)


class _Ring(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, text: Tensor, log_scale: Tensor, plan: Plan):
        own, world = position(plan.ranks)
        places = parts(plan.sizes)
        with torch.autocast(image.device.type, enabled=False):
            scale = log_scale.to(working(image)).exp().reshape(())
            rows = tiles.side(*plan.rows)
            block = text.detach()
            stats = tiles.side(*_columns(plan, places[own])).stats
            for hop in range(world):
                place = places[(own - hop) % world]
                coming, arrival = (None, None) if hop == world - 1 else _pass_on(plan, hop, [block])
                columns = tiles.Side(stats, *_columns(plan, place))
                answers = plan.positive - place.start
                tiles.scan(image, block, scale, answers, rows, columns, plan.how)
                if arrival is not None and coming is not None:
                    _wait(arrival)
                    block = coming[0]
                stats = _now(plan, hop, stats.T).T.contiguous()
            down, across = tiles.losses(rows.stats).sum(), tiles.losses(stats).sum()
        ctx.save_for_backward(image, text, log_scale, rows.stats, stats)
        ctx.plan = plan
        return down, across

    @staticmethod
    @once_differentiable
    def backward(ctx, down: Tensor, across: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        image, text, log_scale, row_stats, stats = ctx.saved_tensors
        plan: Plan = ctx.plan
        need_image, need_text, need_scale, _ = ctx.needs_input_grad
        own, world = position(plan.ranks)
        places = parts(plan.sizes)
        with torch.autocast(image.device.type, enabled=False):
            scale = log_scale.to(working(image)).exp().reshape(())
            rows = tiles.Side(row_stats, plan.rows[0], plan.rows[1])
            weights = owners(across, plan.sizes, plan.ranks)
            block = text
            dx = torch.zeros_like(image, dtype=scale.dtype) if need_image or need_scale else None
            dy = torch.zeros_like(text, dtype=scale.dtype) if need_text else None
            for hop in range(world):
                place = places[(own - hop) % world]
                coming, arrival = None, None
                if hop < world - 1:
                    coming, arrival = _pass_on(plan, hop, [block, stats.T.contiguous()])
                tiles.pull(
                    image,
                    block,
                    scale,
                    plan.positive - place.start,
                    rows,
                    tiles.Side(stats, *_columns(plan, place)),
                    plan.how,
                    tiles.Flow(down.expand(len(image)), weights[place], dx, dy),
                )
                if arrival is not None and coming is not None:
                    _wait(arrival)
                    block, stats = coming[0], coming[1].T.contiguous()
                dy = _now(plan, hop, dy) if dy is not None else None
            d_scale = scale_gradient(image, dx, log_scale, scale) if dx is not None else None
        return (
            dx.to(image.dtype) if dx is not None else None,
            dy.to(text.dtype) if dy is not None else None,
            d_scale,
            None,
        )


def _columns(plan: Plan, place: slice) -> tuple[Tensor, Tensor | None]:
    weights, group = plan.columns
    return weights[:, place], None if group is None else group[place]


def _pass_on(plan: Plan, hop: int, held: Sequence[Tensor]) -> tuple[list[Tensor], list[dist.Work]]:
    """Starts sending `held` to the next rank and receiving the like from the one before."""
    own, world = position(plan.ranks)
    size = plan.sizes[(own - hop - 1) % world]
    coming = [x.new_empty((size, *x.shape[1:])) for x in held]
    sends = [
        dist.P2POp(dist.isend, x.contiguous(), group=plan.ranks, group_peer=(own + 1) % world)
        for x in held
        if x.numel()
    ]
    receives = [
        dist.P2POp(dist.irecv, x, group=plan.ranks, group_peer=(own - 1) % world)
        for x in coming
        if x.numel()
    ]
    return coming, dist.batch_isend_irecv(sends + receives) if sends + receives else []


def _wait(arrival: Sequence[dist.Work]) -> None:
    for work in arrival:
        work.wait()


def _now(plan: Plan, hop: int, x: Tensor) -> Tensor:
    """`_pass_on`, waited for; with one rank x stays where it is."""
    if len(plan.sizes) == 1:
        return x
    coming, arrival = _pass_on(plan, hop, [x])
    _wait(arrival)
    return coming[0]
