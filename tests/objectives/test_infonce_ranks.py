"""1, 2, 3 and 4 processes give the loss and the gradients of one."""
# pyright: reportCallIssue=false, reportArgumentType=false

import math
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.infonce import dense_one_way, dense_symmetric, one_way, symmetric
from sensorium.objectives.ring import ring_symmetric
from sensorium.objectives.sigmoid import dense_sigmoid_pairs, sigmoid_pairs

SPLITS = {1: [[13]], 2: [[6, 6], [9, 4], [0, 13]], 3: [[5, 0, 8]], 4: [[3, 3, 3, 3], [1, 7, 0, 5]]}
GROUP = torch.tensor([5, 1, 2, 5, 3, 4, 2, 6, 7, 5, 8, 9, 0])
TYPES = [(torch.float64, 1e-12), (torch.float32, 1e-5)]
HOW = [
    {"smoothing": 0.1},
    {"group": GROUP},
    {"group": GROUP, "smoothing": 0.1},
    {"group": GROUP, "repeats": "share"},
]


def pairs(rows: int, scale: float, dtype: torch.dtype) -> list[Tensor]:
    g = torch.Generator().manual_seed(rows)
    image = F.normalize(torch.randn(rows, 16, generator=g, dtype=torch.float64), dim=1)
    text = F.normalize(torch.randn(rows, 16, generator=g, dtype=torch.float64) + image, dim=1)
    log_scale = torch.tensor([math.log(scale)], dtype=torch.float64)
    return [x.to(dtype).requires_grad_() for x in (image, text, log_scale)]


def own_part(rows: list[int], rank: int) -> slice:
    return slice(sum(rows[:rank]), sum(rows[: rank + 1]))


def close(found: Tensor, wanted: Tensor, relative: float, what: str) -> None:
    error = (found.double() - wanted.double()).norm()
    assert error <= relative * wanted.double().norm(), f"{what}: off by {error:.2e}"


def marks(loss: tuple[Tensor, Tensor], leaves: list[Tensor], weights: tuple[float, float]):
    total = weights[0] * loss[0] + weights[1] * loss[1]
    return torch.stack(loss).detach(), torch.autograd.grad(total, leaves)


def check_symmetric(ranks: dist.ProcessGroup) -> None:
    rank, world = dist.get_rank(ranks), dist.get_world_size(ranks)
    for rows, (dtype, relative), scale, how in cases(world):
        own = own_part(rows, rank)
        whole = pairs(sum(rows), scale, torch.float64)
        group = GROUP[: sum(rows)]
        exact = {**how, "group": group} if "group" in how else how
        mine = {**how, "group": group[own]} if "group" in how else how
        wanted = marks(dense_symmetric(*whole, **exact), whole, (1.0, 0.3))
        for loss_over_ranks in (symmetric, ring_symmetric):
            leaves = [whole[0][own], whole[1][own], whole[2]]
            leaves = [x.detach().to(dtype).requires_grad_() for x in leaves]
            loss = loss_over_ranks(*leaves, **mine, ranks=ranks, tile=4)
            found = marks(loss, leaves, (1.0, 0.3))
            compare(found, wanted, own, relative, ranks, f"{rows} {dtype} {scale} {how}")


def cases(world: int):
    """Every split at both precisions and the highest scale; masks on the least even split."""
    for rows in SPLITS[world]:
        for kind in TYPES:
            yield rows, kind, 100.0, {}
        yield rows, TYPES[0], 1.0, {}
    for how in HOW:
        yield SPLITS[world][-1], TYPES[0], 1 / 0.07, how


def compare(found, wanted, own: slice, relative: float, ranks, what: str) -> None:
    loss, (image, text, log_scale) = found
    for shared in (loss, log_scale):
        dist.all_reduce(shared, group=ranks)
    close(loss, wanted[0], relative, f"loss {what}")
    whole_image, whole_text, whole_scale = wanted[1]
    # measured against the whole gradient: a rank's few rows may hold next to nothing of it
    for name, mine, whole in (("image", image, whole_image), ("text", text, whole_text)):
        error = (mine.double() - whole[own]).norm()
        assert error <= relative * whole.norm(), f"{name} {what}: off by {error:.2e}"
    close(log_scale, whole_scale, relative, f"log_scale {what}")


def check_one_way(ranks: dist.ProcessGroup) -> None:
    """Ranks with other numbers of queries than of keys."""
    rank, world = dist.get_rank(ranks), dist.get_world_size(ranks)
    rows = SPLITS[world][-1]
    own = own_part(rows, rank)
    query, keys, log_scale = pairs(sum(rows), 20.0, torch.float64)
    picks = [slice(part.start, part.start + (part.stop - part.start) // 2) for part in
             (own_part(rows, r) for r in range(world))]  # fmt: skip
    asked = torch.cat([torch.arange(p.start, p.stop) for p in picks])
    wanted_loss = dense_one_way(query[asked], keys, log_scale, asked)
    wanted = torch.autograd.grad(wanted_loss, (query, keys, log_scale))
    mine = [query[picks[rank]], keys[own], log_scale]
    mine = [x.detach().clone().requires_grad_() for x in mine]
    loss = one_way(*mine, torch.arange(len(mine[0])), ranks=ranks, tile=2)
    found = torch.autograd.grad(loss, mine)
    loss = loss.detach()
    dist.all_reduce(loss, group=ranks)
    dist.all_reduce(found[2], group=ranks)
    close(loss, wanted_loss.detach(), 1e-12, "loss")
    torch.testing.assert_close(found[0], wanted[0][picks[rank]])
    torch.testing.assert_close(found[1], wanted[1][own])
    close(found[2], wanted[2], 1e-12, "log_scale")


def check_sigmoid(ranks: dist.ProcessGroup) -> None:
    rank, world = dist.get_rank(ranks), dist.get_world_size(ranks)
    rows = SPLITS[world][-1]
    own = own_part(rows, rank)
    bias = torch.full((1,), -3.0, dtype=torch.float64)
    whole = [*pairs(sum(rows), 10.0, torch.float64), bias.requires_grad_()]
    for group in (None, GROUP[: sum(rows)]):
        wanted_loss = dense_sigmoid_pairs(*whole, group)
        wanted = torch.autograd.grad(wanted_loss, whole)
        mine = [whole[0][own], whole[1][own], whole[2], whole[3]]
        mine = [x.detach().clone().requires_grad_() for x in mine]
        part = None if group is None else group[own]
        loss = sigmoid_pairs(*mine, part, ranks=ranks, tile=3)
        found = torch.autograd.grad(loss, mine)
        loss = loss.detach()
        for shared in (loss, found[2], found[3]):
            dist.all_reduce(shared, group=ranks)
        close(loss, wanted_loss.detach(), 1e-12, "loss")
        torch.testing.assert_close(found[0], wanted[0][own])
        torch.testing.assert_close(found[1], wanted[1][own])
        close(found[2], wanted[2], 1e-12, "log_scale")
        close(found[3], wanted[3], 1e-12, "bias")


def check_weights_by_rank(ranks: dist.ProcessGroup) -> None:
    """Each rank may weigh its own sums: the gradient is that of what the ranks add up to."""
    rank, world = dist.get_rank(ranks), dist.get_world_size(ranks)
    rows = SPLITS[world][0]
    whole = pairs(sum(rows), 20.0, torch.float64)
    logits = whole[2].exp() * whole[0] @ whole[1].T
    each = torch.tensor([1.0 + r for r in range(world)], dtype=torch.float64)
    weights = each.repeat_interleave(torch.tensor(rows))
    down = (weights * (logits.logsumexp(1) - logits.diagonal())).sum()
    across = weights**2 @ (logits.logsumexp(0) - logits.diagonal())
    wanted = torch.autograd.grad(down + across, whole)
    own = own_part(rows, rank)
    mine = [x.detach()[own].clone().requires_grad_() for x in whole[:2]]
    mine.append(whole[2].detach().clone().requires_grad_())
    loss = symmetric(*mine, ranks=ranks)
    found = torch.autograd.grad(each[rank] * loss[0] + each[rank] ** 2 * loss[1], mine)
    dist.all_reduce(found[2], group=ranks)
    torch.testing.assert_close(found[0], wanted[0][own])
    torch.testing.assert_close(found[1], wanted[1][own])
    torch.testing.assert_close(found[2], wanted[2])


def check_disagreement(ranks: dist.ProcessGroup) -> None:
    """Every rank is told; none waits for ever."""
    rank = dist.get_rank(ranks)
    image, text, log_scale = pairs(4, 20.0, torch.float64)
    text = text.detach() if rank == 0 else text
    with pytest.raises(ValueError, match="second embeddings need a gradient"):
        symmetric(image, text, log_scale, ranks=ranks)
    group = torch.arange(4) if rank == 0 else None
    with pytest.raises(ValueError, match="whether there are groups"):
        symmetric(image, text if rank else image, log_scale, group, ranks=ranks)


MEMBERS = {1: [2], 2: [1, 3], 3: [0, 2, 3], 4: [0, 1, 2, 3]}


def rank_main(rank: int, folder: str) -> None:
    """All checks in groups of 1, 2, 3 and 4: a place in a group is not the place in the world."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    patience = timedelta(seconds=60)  # ranks out of step fail, they do not hang
    dist.init_process_group("gloo", store, timeout=patience, rank=rank, world_size=4)
    try:
        for members in MEMBERS.values():
            ranks = dist.new_group(members)
            if rank not in members:
                continue
            assert ranks is not None
            check_symmetric(ranks)
            check_one_way(ranks)
            check_sigmoid(ranks)
            check_weights_by_rank(ranks)
            if len(members) > 1:
                check_disagreement(ranks)
    finally:
        dist.destroy_process_group()


@pytest.mark.ranks
def test_ranks_equal_one_process(tmp_path: Path):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        mp.spawn(rank_main, (folder,), nprocs=4)
