"""SigLIP's pairwise loss: every pair of a picture and a text is a yes-or-no question of its own.

    L = -sum_ij log sigmoid( m_ij (s x_i.y_j + bias) ),    m_ij = 1 if i, j belong together, or -1

No softmax couples the pairs, so tiles are summed in any order and nothing is kept between passes.

Source: Zhai et al. 2023 (SigLIP), equation 2 and section 3.1; they start from s = 10, bias = -10,
where the loss is about 10 a pair: nearly all of it from the positives.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.objectives.infonce import TILE, check, row_sizes, scale_gradient, working
from sensorium.objectives.ranks import gather, parts, position, send_home
from sensorium.objectives.tiles import uncompiled


def dense_sigmoid_pairs(
    image: Float[Tensor, "b e"],
    text: Float[Tensor, "b e"],
    log_scale: Float[Tensor, " 1"],
    bias: Float[Tensor, " 1"],
    group: Int[Tensor, " b"] | None = None,
) -> Float[Tensor, ""]:
    """`sigmoid_pairs` with all logits in memory, on one process."""
    logits = log_scale.exp() * image @ text.T + bias
    own = torch.eye(len(image), dtype=torch.bool, device=image.device)
    positive = own if group is None else group[:, None] == group[None, :]
    return -F.logsigmoid(torch.where(positive, logits, -logits)).sum()


@uncompiled
def sigmoid_pairs(
    image: Float[Tensor, "b e"],
    text: Float[Tensor, "b e"],
    log_scale: Float[Tensor, " 1"],
    bias: Float[Tensor, " 1"],
    group: Int[Tensor, " b"] | None = None,
    ranks: dist.ProcessGroup | None = None,
    tile: int = TILE,
) -> Float[Tensor, ""]:
    """SigLIP's loss, tile by tile, over any number of ranks; row i of both belong together.

    Args:
        image: unit vectors.
        text: unit vectors.
        log_scale: logarithm of the inverse temperature.
        bias: added to every logit.
        group: pairs with equal numbers are positives of each other (None: only row i with row i).
        ranks: the processes whose texts count; None: this one alone. All must take part, in the
            backward pass too; a rank without pairs passes empty tensors.
        tile: rows and columns of a tile.

    Returns:
        The sum over this rank's pictures and all texts, float32 (float64 for float64 inputs).
        Back-propagating on every rank gives each rank d(sum over ranks)/d(its image, its text), and
        of the gradients of log_scale and bias its part: they add up to the whole.

    Raises:
        ValueError: shapes or dtypes do not fit, or the ranks do not agree.
    """
    check(image, text, log_scale, 0.0, tile)
    if bias.numel() != 1:
        raise ValueError(f"bias must be one number, not of shape {tuple(bias.shape)}")
    if len(image) != len(text):
        raise ValueError(
            f"row i of image and text must belong together, but there are {len(image)} images "
            f"and {len(text)} texts"
        )
    if group is not None and (group.shape != image.shape[:1] or group.is_floating_point()):
        raise ValueError(
            f"group must hold one integer a pair: it is {group.dtype} of shape "
            f"{tuple(group.shape)} for {len(image)} pairs"
        )
    sizes = row_sizes(image, text, log_scale, ranks, ("groups", group))
    own = parts(sizes)[position(ranks)[0]]
    # without groups every pair is a group of its own
    every = torch.arange(sum(sizes), device=image.device)
    if group is not None:
        every = gather(group.long(), sizes, ranks)
    return _SigmoidPairs.apply(
        image, text, log_scale, bias, _Plan(every[own], every, sizes, ranks, tile)
    )


class _Plan(NamedTuple):
    rows: Int[Tensor, " b"]
    columns: Int[Tensor, " k"]
    sizes: list[int]
    ranks: dist.ProcessGroup | None
    tile: int


class _SigmoidPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, text: Tensor, log_scale: Tensor, bias: Tensor, plan: _Plan):
        with torch.autocast(image.device.type, enabled=False):
            every = gather(text, plan.sizes, plan.ranks)
            scale, shift = _parameters(image, log_scale, bias)
            total = torch.zeros((), dtype=torch.float64, device=image.device)
            for _, _, logits, positive, _ in _tiles(image, every, scale, shift, plan):
                total -= F.logsigmoid(torch.where(positive, logits, -logits)).sum()
        ctx.save_for_backward(image, text, every, log_scale, bias)
        ctx.plan = plan
        return total.to(scale.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, down: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        image, text, every, log_scale, bias = ctx.saved_tensors
        plan: _Plan = ctx.plan
        need_image, need_text, need_scale, _, _ = ctx.needs_input_grad
        with torch.autocast(image.device.type, enabled=False):
            scale, shift = _parameters(image, log_scale, bias)
            dx = torch.zeros_like(image, dtype=scale.dtype) if need_image or need_scale else None
            dy = torch.zeros_like(every, dtype=scale.dtype) if need_text else None
            d_bias = torch.zeros((), dtype=torch.float64, device=image.device)
            for r, c, logits, positive, scaled in _tiles(image, every, scale, shift, plan):
                wrong = torch.where(positive, -logits, logits).sigmoid_().mul_(down)
                slope = torch.where(positive, -wrong, wrong)
                d_bias += slope.sum()
                if dx is not None:
                    dx[r].addmm_(slope, every[c].to(slope.dtype))
                if dy is not None:
                    dy[c].addmm_(slope.T, scaled)
            d_scale = scale_gradient(image, dx, log_scale, scale) if dx is not None else None
            d_text = (
                send_home(dy, plan.sizes, plan.ranks).to(text.dtype) if dy is not None else None
            )
        return (
            dx.to(image.dtype) if dx is not None else None,
            d_text,
            d_scale,
            d_bias.to(bias.dtype).reshape(bias.shape),
            None,
        )


def _parameters(image: Tensor, log_scale: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    kind = working(image)
    return log_scale.to(kind).exp().reshape(()), bias.to(kind).reshape(())


def _tiles(x: Tensor, y: Tensor, scale: Tensor, shift: Tensor, plan: _Plan):
    """Yields (rows, columns, logits, belong together, scaled x) of each tile."""
    for top in range(0, len(x), plan.tile):
        r = slice(top, min(top + plan.tile, len(x)))
        scaled = x[r].to(scale.dtype) * scale
        for left in range(0, len(y), plan.tile):
            c = slice(left, min(left + plan.tile, len(y)))
            logits = torch.addmm(shift, scaled, y[c].to(scale.dtype).T)
            yield r, c, logits, plan.rows[r, None] == plan.columns[c], scaled
