"""One block of logits, tile by tile: what the exact contrastive losses are made of.

A block is some rows (queries) against some columns (keys). `scan` reads it once and adds to the
running statistics of its rows and of its columns; `pull` reads it again and adds to the gradients.
Neither holds more than one tile of it. How blocks reach a process is somebody else's business.

In the notation of a softmax cross-entropy over logits S_ij = scale * x_i . y_j, a row's loss is

    logsumexp_j S_ij - sum_j T_ij S_ij,    T_ij = positive_i [j answers i] + rest_i [j is seen by i]

where `positive_i` and `rest_i` hold label smoothing and the average over several answers. Columns
are read the same way. Statistics are the largest logit, the sum of exponentials below it, and the
weighted sum of the logits asked for; the first two are kept apart because a logsumexp near 100
would lose seven bits in float32.
"""

from typing import NamedTuple, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

F = TypeVar("F")


def uncompiled(function: F) -> F:
    """Makes torch.compile step around a function: loops over tiles would unroll into its graph."""
    return cast(F, torch.compiler.disable(function))


class Side(NamedTuple):
    """Everything known of the rows of a block, or of its columns."""

    stats: Float[Tensor, "3 k"]  # largest logit, sum of exp(logit - largest), target logit
    weights: Float[Tensor, "2 k"]  # weight of each positive; of every key seen (smoothing)
    group: Int[Tensor, " k"] | None  # equal numbers: false negatives of each other


class Marking(NamedTuple):
    """How a block is marked: the columns' softmax too?, share positives in a group?, tile edge."""

    both: bool
    share: bool
    smooth: bool
    tile: int


class Flow(NamedTuple):
    """Gradients through a block: what weighs each row's and column's loss, and where they go."""

    rows: Float[Tensor, " b"]
    columns: Float[Tensor, " k"]
    dx: Float[Tensor, "b e"] | None  # still to be multiplied by scale
    dy: Float[Tensor, "k e"] | None


def side(weights: Float[Tensor, "2 k"], group: Int[Tensor, " k"] | None) -> Side:
    """A side of which nothing has been read yet."""
    stats = weights.new_zeros((3, weights.shape[1]))
    stats[0] = -torch.inf
    return Side(stats, weights, group)


def losses(stats: Float[Tensor, "3 k"]) -> Float[Tensor, " k"]:
    """The loss of every row (or column) whose statistics are complete."""
    top, total, target = stats
    return (top - target) + total.log()


def merge(stats: Float[Tensor, "3 k"], more: Float[Tensor, "3 k"]) -> None:
    """Adds the statistics of other logits to `stats`, in place."""
    top = torch.maximum(stats[0], more[0])
    low = _finite(top)
    total = stats[1] * (stats[0] - low).exp() + more[1] * (more[0] - low).exp()
    stats[2] += more[2]
    stats[1] = total
    stats[0] = top


def scan(
    x: Float[Tensor, "b e"],
    y: Float[Tensor, "k e"],
    scale: Float[Tensor, ""],
    positive: Int[Tensor, " b"],
    rows: Side,
    columns: Side,
    how: Marking,
) -> None:
    """Adds a block's logits to the statistics of its rows and (if `how.both`) of its columns.

    `positive[i]` is the column that answers row i; out of range: it lies in another block.
    """
    for r, c, logits, at, hit, same, _ in _tiles(x, y, scale, positive, rows, columns, how):
        asked = logits.gather(1, at)[:, 0].masked_fill(~hit, 0)
        seen = logits.masked_fill(logits == -torch.inf, 0) if how.smooth else logits
        shared = logits * same if how.share and same is not None else None
        for dim, mine, part in ((1, rows, r), (0, columns, c)):
            if dim == 0 and not how.both:
                continue
            weights = mine.weights[:, part]
            if shared is not None:
                target = weights[0] * shared.sum(dim)
            elif dim == 1:
                target = weights[0] * asked
            else:
                target = weights[0] * asked.new_zeros(c.stop - c.start).index_add_(
                    0, at[:, 0], asked
                )
            if how.smooth:
                target = target + weights[1] * seen.sum(dim)
            top = logits.amax(dim)
            total = (logits - _finite(top).unsqueeze(dim)).exp_().sum(dim)
            merge(mine.stats[:, part], torch.stack((top, total, target)))


def pull(
    x: Float[Tensor, "b e"],
    y: Float[Tensor, "k e"],
    scale: Float[Tensor, ""],
    positive: Int[Tensor, " b"],
    rows: Side,
    columns: Side,
    how: Marking,
    flow: Flow,
) -> None:
    """Adds a block's gradient to the `dx` and `dy` of `flow`, where they are wanted.

    Both sides' statistics must be complete: with p, q the softmax over the row and the column, and
    u, v what weighs their losses, dL/dS = u_i (p - T) + v_j (q - T').
    """
    u, v, dx, dy = flow
    for r, c, logits, at, hit, same, scaled in _tiles(x, y, scale, positive, rows, columns, how):
        down = u[r]
        grad = (logits - rows.stats[0, r, None]).exp_().mul_((down / rows.stats[1, r])[:, None])
        ask = down * rows.weights[0, r]
        rest = (down * rows.weights[1, r])[:, None]
        if how.both:
            across = v[c]
            other = (logits - columns.stats[0, c]).exp_().mul_(across / columns.stats[1, c])
            grad += other
            asked_across = across * columns.weights[0, c]
            rest = rest + across * columns.weights[1, c]
        else:
            asked_across = torch.zeros_like(v[c])
        if how.share and same is not None:
            grad -= same * (ask[:, None] + asked_across)
        else:
            amount = (ask + asked_across[at[:, 0]]).masked_fill(~hit, 0)
            grad.scatter_add_(1, at, -amount[:, None])
        if how.smooth:
            grad -= rest.expand_as(grad).masked_fill(logits == -torch.inf, 0)
        if dx is not None:
            dx[r].addmm_(grad, y[c].to(grad.dtype))
        if dy is not None:
            dy[c].addmm_(grad.T, scaled)


def _tiles(x, y, scale, positive, rows: Side, columns: Side, how: Marking):
    """Yields (rows, columns, logits, answer, answer is here, same group, scaled x) of each tile."""
    for top in range(0, len(x), how.tile):
        r = slice(top, min(top + how.tile, len(x)))
        scaled = x[r].to(scale.dtype) * scale
        for left in range(0, len(y), how.tile):
            c = slice(left, min(left + how.tile, len(y)))
            logits = scaled @ y[c].to(scale.dtype).T
            at = positive[r] - left
            hit = (at >= 0) & (at < c.stop - c.start)
            at = at.masked_fill(~hit, 0)[:, None]
            same = None
            if rows.group is not None and columns.group is not None:
                same = rows.group[r, None] == columns.group[c]
                if not how.share:
                    hide = same.scatter(1, at, same.gather(1, at) & ~hit[:, None])
                    logits.masked_fill_(hide, -torch.inf)
            yield r, c, logits, at, hit, same, scaled


def _finite(top: Tensor) -> Tensor:
    """0 in place of -inf, where nothing has been seen: exp(-inf - 0) is 0, exp(-inf + inf) not."""
    return top.masked_fill(top == -torch.inf, 0)
