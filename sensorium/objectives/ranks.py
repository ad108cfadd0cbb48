"""Rows that live on several ranks: fetching them, and sending sums home.

Every rank may hold another number of rows, none included; `sizes` lists them, the same list on
every rank. With `ranks` None a process is alone and nothing is sent.
"""

from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor


def position(ranks: dist.ProcessGroup | None) -> tuple[int, int]:
    """This process's place among `ranks`, and their number."""
    return (0, 1) if ranks is None else (dist.get_rank(ranks), dist.get_world_size(ranks))


def agree(
    count: int, facts: dict[str, int], device: torch.device, ranks: dist.ProcessGroup | None
) -> list[int]:
    """Every rank's `count`; refuses when the ranks do not agree about `facts`.

    Asked before any collective whose shape or presence depends on them, so that a disagreement is
    an error on every rank and not a hang.
    """
    if ranks is None:
        return [count]
    mine = torch.tensor([count, *facts.values()], device=device)
    theirs = [torch.empty_like(mine) for _ in range(dist.get_world_size(ranks))]
    dist.all_gather(theirs, mine, group=ranks)
    table = [row.tolist() for row in theirs]
    for k, name in enumerate(facts, start=1):
        values = [row[k] for row in table]
        if len(set(values)) > 1:
            raise ValueError(
                f"the ranks do not agree about {name}: rank by rank it is {values}; a loss over "
                "ranks needs the same on all of them (a rank without samples passes empty tensors)"
            )
    return [row[0] for row in table]


def gather(x: Tensor, sizes: list[int], ranks: dist.ProcessGroup | None) -> Tensor:
    """All ranks' rows in the order of ranks, (sum(sizes), ...); alone, x itself. No gradient."""
    if ranks is None:
        return x
    out = x.new_empty((sum(sizes), *x.shape[1:]))
    if len(set(sizes)) == 1:
        if sizes[0]:
            dist.all_gather_into_tensor(out, x.contiguous(), group=ranks)
        return out
    own, _ = position(ranks)
    for owner, part in enumerate(parts(sizes)):
        if owner == own:
            out[part] = x
        if sizes[owner]:
            dist.broadcast(out[part], group=ranks, group_src=owner)
    return out


def send_home(x: Tensor, sizes: list[int], ranks: dist.ProcessGroup | None) -> Tensor:
    """Sums x, (sum(sizes), ...), over the ranks and returns this rank's rows of the sum.

    The reverse of `gather`. Overwrites x.
    """
    if ranks is None:
        return x
    own, _ = position(ranks)
    for owner, part in enumerate(parts(sizes)):
        if sizes[owner]:
            dist.reduce(x[part], group=ranks, group_dst=owner)
    return x[parts(sizes)[own]].clone()  # a copy, so that the whole x can be freed


def merge_columns(stats: Tensor, ranks: dist.ProcessGroup | None) -> None:
    """Completes the column statistics of `tiles.Side` over ranks, in place."""
    if ranks is None or not stats.shape[1]:
        return
    top = stats[0].clone()
    dist.all_reduce(top, op=dist.ReduceOp.MAX, group=ranks)
    # a rank without rows has seen nothing: -inf, and a sum of 0
    stats[1] *= (stats[0] - top).exp()
    dist.all_reduce(stats[1:], group=ranks)
    stats[0] = top


def parts(sizes: list[int]) -> list[slice]:
    """Where each rank's rows lie among all."""
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
