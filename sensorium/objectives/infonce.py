"""InfoNCE, one-directional and symmetric, exact at any batch size and over any number of ranks.

    one_way:    -sum_i log [ exp(s q_i.k_p(i)) / sum_{j=1..B} exp(s q_i.k_j) ]
    symmetric:  the same from image to text and from text to image

Every function returns sums over this rank's rows, never means: whoever adds micro-batches and
ranks divides once. CLIP takes the mean of the two directions, the survey and ALIGN their sum.

`symmetric` and `one_way` never hold the B x B logits: they stream tiles, keep two running numbers a
row and a column, and compute the tiles again in the backward pass, with gradients exact for both
embeddings and the scale. `dense_symmetric` and `dense_one_way` are their slow, obvious twins.

Sources: van den Oord et al. 2018 (InfoNCE, eq. 4); Radford et al. 2021 (CLIP, figure 3); Jia et al.
2021 (ALIGN, label smoothing); Yang et al. 2022 (UniCL, shared positives); Cheng et al. 2024
(Inf-CL) for tiling. The denominator holds B terms: the positive and B - 1 negatives.
"""

from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium.objectives import tiles
from sensorium.objectives.ranks import agree, gather, merge_columns, parts, position, send_home

TILE = 1024  # rows and columns of a tile: 4 MB of logits in float32
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


# --- the slow twins ----------------------------------------------------------------------------


def dense_one_way(
    query: Float[Tensor, "b e"],
    keys: Float[Tensor, "k e"],
    log_scale: Float[Tensor, " 1"],
    positive: Int[Tensor, " b"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """`one_way` with all logits in memory, on one process."""
    logits = log_scale.exp() * query @ keys.T
    return F.cross_entropy(logits, positive, reduction="sum", label_smoothing=smoothing)


def dense_symmetric(
    image: Float[Tensor, "b e"],
    text: Float[Tensor, "b e"],
    log_scale: Float[Tensor, " 1"],
    group: Int[Tensor, " b"] | None = None,
    repeats: Literal["mask", "share"] = "mask",
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """`symmetric` with all logits in memory, on one process."""
    logits = log_scale.exp() * image @ text.T
    own = torch.eye(len(image), dtype=torch.bool, device=image.device)
    same = own if group is None else group[:, None] == group[None, :]
    positive = same if repeats == "share" else own
    seen = positive | ~same
    target = (1 - smoothing) * F.normalize(positive.to(logits), p=1, dim=1)
    target = target + smoothing * F.normalize(seen.to(logits), p=1, dim=1)
    logits = logits.masked_fill(~seen, torch.finfo(logits.dtype).min / 4)
    return (
        F.cross_entropy(logits, target, reduction="sum"),
        F.cross_entropy(logits.T, target, reduction="sum"),
    )


# --- tiled -------------------------------------------------------------------------------------


@tiles.uncompiled
def one_way(
    query: Float[Tensor, "b e"],
    keys: Float[Tensor, "k e"],
    log_scale: Float[Tensor, " 1"],
    positive: Int[Tensor, " b"],
    smoothing: float = 0.0,
    ranks: dist.ProcessGroup | None = None,
    tile: int = TILE,
) -> Float[Tensor, ""]:
    """The lecture's one-directional InfoNCE: every query against all keys.

    Args:
        query: unit vectors.
        keys: unit vectors; every query's positive and its negatives.
        log_scale: logarithm of the inverse temperature.
        positive: for each query the index, among this rank's `keys`, of its positive.
        smoothing: label smoothing, spread evenly over all keys.
        ranks: the processes whose keys count; None: this one alone. All must take part, in the
            backward pass too; a rank without queries passes empty tensors.
        tile: rows and columns of a tile.

    Returns:
        The sum over this rank's queries, float32 (float64 for float64 inputs). Back-propagating it
        on every rank gives each rank d(sum over ranks)/d(its query, its keys), and of the gradient
        of log_scale its part: they add up to the whole.

    Raises:
        ValueError: shapes, dtypes or indices do not fit, or the ranks do not agree.
    """
    check(query, keys, log_scale, smoothing, tile)
    if len(positive) != len(query) or positive.is_floating_point():
        raise ValueError(
            f"positive must hold one index a query: it is {positive.dtype} of shape "
            f"{tuple(positive.shape)} for {len(query)} queries"
        )
    if len(positive) and not 0 <= int(positive.min()) <= int(positive.max()) < len(keys):
        raise ValueError(
            f"positive holds {int(positive.min())} to {int(positive.max())}, "
            f"but the keys of this rank are 0 to {len(keys) - 1}"
        )
    sizes = row_sizes(query, keys, log_scale, ranks, ("no groups", None))
    start = parts(sizes)[position(ranks)[0]].start
    total = sum(sizes)
    weights = query.new_tensor([[1 - smoothing], [smoothing / max(total, 1)]], dtype=working(query))
    how = tiles.Marking(both=False, share=False, smooth=smoothing > 0, tile=tile)
    plan = Plan(
        positive=positive + start,
        rows=(weights.expand(2, len(query)), None),
        columns=(weights.expand(2, total), None),
        sizes=sizes,
        how=how,
        ranks=ranks,
    )
    return _Gathered.apply(query, keys, log_scale, plan)[0]


@tiles.uncompiled
def symmetric(
    image: Float[Tensor, "b e"],
    text: Float[Tensor, "b e"],
    log_scale: Float[Tensor, " 1"],
    group: Int[Tensor, " b"] | None = None,
    repeats: Literal["mask", "share"] = "mask",
    smoothing: float = 0.0,
    ranks: dist.ProcessGroup | None = None,
    tile: int = TILE,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """CLIP's loss in both directions, from one pass over the logits; row i of both belong together.

    Over ranks the texts are gathered and each rank marks its pictures against all texts; of every
    text's softmax only two numbers travel. Traffic a rank: all texts once forward, their gradients
    once backward. `ring.ring_symmetric` gives the same without ever holding all texts.

    Args:
        image: unit vectors.
        text: unit vectors.
        log_scale: logarithm of the inverse temperature.
        group: pairs with equal numbers are false negatives of each other (None: CLIP's behaviour,
            a caption that occurs twice is its own negative).
        repeats: "mask" takes false negatives out of the softmax; "share" makes them positives too,
            averaged over (UniCL).
        smoothing: label smoothing, spread evenly over the keys left in the softmax (ALIGN: 0.1).
        ranks: the processes whose pairs count; None: this one alone. All must take part, in the
            backward pass too; a rank without pairs passes empty tensors.
        tile: rows and columns of a tile.

    Returns:
        (image to text, text to image): sums over this rank's pairs, float32 (float64 for float64
        inputs). Back-propagating on every rank gives each rank d(sum over ranks)/d(its image, its
        text), and of the gradient of log_scale its part: they add up to the whole.

    Raises:
        ValueError: shapes or dtypes do not fit, or the ranks do not agree.
    """
    plan = plan_symmetric(image, text, log_scale, group, repeats, smoothing, ranks, tile)
    return _Gathered.apply(image, text, log_scale, plan)


class Plan(NamedTuple):
    """All that is known of a step before any logit is computed."""

    positive: Int[Tensor, " b"]  # the answer's place among all keys of all ranks
    rows: tuple[Tensor, Tensor | None]  # weights and groups of this rank's rows
    columns: tuple[Tensor, Tensor | None]  # weights and groups of all columns of all ranks
    sizes: list[int]  # columns by rank
    how: tiles.Marking
    ranks: dist.ProcessGroup | None


def plan_symmetric(
    image: Tensor,
    text: Tensor,
    log_scale: Tensor,
    group: Tensor | None,
    repeats: str,
    smoothing: float,
    ranks: dist.ProcessGroup | None,
    tile: int,
) -> Plan:
    """Checks the arguments of `symmetric`, here and against the other ranks, and counts groups."""
    check(image, text, log_scale, smoothing, tile)
    if len(image) != len(text):
        raise ValueError(
            f"row i of image and text must belong together, but there are {len(image)} images "
            f"and {len(text)} texts"
        )
    if repeats not in ("mask", "share"):
        raise ValueError(f"repeats must be 'mask' or 'share', not {repeats!r}")
    if group is not None and (group.shape != image.shape[:1] or group.is_floating_point()):
        raise ValueError(
            f"group must hold one integer a pair: it is {group.dtype} of shape "
            f"{tuple(group.shape)} for {len(image)} pairs"
        )
    sizes = row_sizes(image, text, log_scale, ranks, ("groups", group))
    own = parts(sizes)[position(ranks)[0]]
    total = sum(sizes)
    answers = torch.ones(total, dtype=working(image), device=image.device)
    seen = torch.full_like(answers, total)
    every = None
    if group is not None:
        every = gather(group.long(), sizes, ranks)
        _, inverse, counts = every.unique(return_inverse=True, return_counts=True)
        if repeats == "share":
            answers = counts[inverse].to(answers)
        else:
            seen = total + 1 - counts[inverse].to(seen)
    weights = torch.stack(((1 - smoothing) / answers, smoothing / seen))
    return Plan(
        positive=torch.arange(own.start, own.stop, device=image.device),
        rows=(weights[:, own], None if every is None else every[own]),
        columns=(weights, every),
        sizes=sizes,
        how=tiles.Marking(both=True, share=repeats == "share", smooth=smoothing > 0, tile=tile),
        ranks=ranks,
    )


class _Gathered(torch.autograd.Function):
    """This rank's rows against the gathered keys of all ranks."""

    @staticmethod
    def forward(ctx, query: Tensor, keys: Tensor, log_scale: Tensor, plan: Plan):
        with torch.autocast(query.device.type, enabled=False):
            scale = log_scale.to(working(query)).exp().reshape(())
            every = gather(keys, plan.sizes, plan.ranks)
            rows, columns = tiles.side(*plan.rows), tiles.side(*plan.columns)
            tiles.scan(query, every, scale, plan.positive, rows, columns, plan.how)
            down, across = tiles.losses(rows.stats).sum(), scale.new_zeros(())
            if plan.how.both:
                merge_columns(columns.stats, plan.ranks)
                own = parts(plan.sizes)[position(plan.ranks)[0]]
                across = tiles.losses(columns.stats[:, own]).sum()
        ctx.save_for_backward(query, keys, every, log_scale, rows.stats, columns.stats)
        ctx.plan = plan
        return down, across

    @staticmethod
    @once_differentiable
    def backward(ctx, down: Tensor, across: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        query, keys, every, log_scale, row_stats, column_stats = ctx.saved_tensors
        plan: Plan = ctx.plan
        need_query, need_keys, need_scale, _ = ctx.needs_input_grad
        with torch.autocast(query.device.type, enabled=False):
            scale = log_scale.to(working(query)).exp().reshape(())
            rows = tiles.Side(row_stats, plan.rows[0], plan.rows[1])
            columns = tiles.Side(column_stats, plan.columns[0], plan.columns[1])
            dx = torch.zeros_like(query, dtype=scale.dtype) if need_query or need_scale else None
            dy = torch.zeros_like(every, dtype=scale.dtype) if need_keys else None
            weights = owners(across, plan.sizes, plan.ranks)
            flow = tiles.Flow(down.expand(len(query)), weights, dx, dy)
            tiles.pull(query, every, scale, plan.positive, rows, columns, plan.how, flow)
            d_scale = scale_gradient(query, dx, log_scale, scale) if dx is not None else None
            d_keys = (
                send_home(dy, plan.sizes, plan.ranks).to(keys.dtype) if dy is not None else None
            )
        return dx.to(query.dtype) if dx is not None else None, d_keys, d_scale, None


def owners(value: Tensor, sizes: list[int], ranks: dist.ProcessGroup | None) -> Tensor:
    """Each column's upstream gradient, which is that of the rank it lives on."""
    _, world = position(ranks)
    values = gather(value.reshape(1), [1] * world, ranks)
    return values.repeat_interleave(
        torch.tensor(sizes, device=value.device), output_size=sum(sizes)
    )


def scale_gradient(x: Tensor, dx: Tensor, log_scale: Tensor, scale: Tensor) -> Tensor:
    """Multiplies dx by the scale; dL/d(log scale) = sum_ij S_ij dL/dS_ij is then sum_i x_i.dx_i."""
    dx.mul_(scale)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for part, slope in zip(x.split(TILE), dx.split(TILE), strict=True):
        total += (part * slope).sum(dtype=torch.float64)
    return total.to(log_scale.dtype).reshape(log_scale.shape)


def working(x: Tensor) -> torch.dtype:
    """What logits and gradients of such embeddings are computed in."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check(x: Tensor, y: Tensor, log_scale: Tensor, smoothing: float, tile: int) -> None:
    """Refuses shapes, types and numbers that no loss here can take."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            "embeddings must be (rows, width) with one width on both sides, "
            f"not {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if x.dtype != y.dtype or x.dtype not in DTYPES:
        raise ValueError(
            f"embeddings must both be of one floating type, not {x.dtype} and {y.dtype}"
        )
    if log_scale.numel() != 1:
        raise ValueError(f"log_scale must be one number, not of shape {tuple(log_scale.shape)}")
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be at least 0 and less than 1, not {smoothing}")
    if tile < 1:
        raise ValueError(f"a tile must have at least one row, not {tile}")


def row_sizes(
    x: Tensor,
    y: Tensor,
    log_scale: Tensor,
    ranks: dist.ProcessGroup | None,
    extra: tuple[str, Tensor | None],
) -> list[int]:
    """The number of keys on every rank, once all agree about everything else."""
    grad = torch.is_grad_enabled()
    facts = {
        "the width of the embeddings": x.shape[1],
        "their dtype (0 float64, 1 float32, 2 bfloat16, 3 float16)": DTYPES.index(x.dtype),
        "whether the first embeddings need a gradient": int(grad and x.requires_grad),
        "whether the second embeddings need a gradient": int(grad and y.requires_grad),
        "whether log_scale needs a gradient": int(grad and log_scale.requires_grad),
        f"whether there are {extra[0]}": int(extra[1] is not None),
    }
    return agree(len(y), facts, x.device, ranks)
