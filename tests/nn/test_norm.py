"""Batch normalisation over the batch of all ranks."""

import copy
import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from sensorium.nn.norm import BatchNorm2d

BATCH, WORLD, STEPS = 6, 2, 3


def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3), BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), BatchNorm2d(4)
    ).double()
    for module in made:
        if isinstance(module, BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -1, 1)
    return made


def pictures() -> torch.Tensor:
    return 100 + torch.randn(STEPS, BATCH, 3, 9, 7, generator=torch.Generator().manual_seed(1))


def learn(rows: slice, world: int) -> dict[str, torch.Tensor]:
    """The state and the last gradients after a few steps on some rows of every batch."""
    made = net()
    for images in pictures().double():
        x = images[rows].clone().requires_grad_()
        made.zero_grad()
        made(x).square().sum().sin().backward() if world == 1 else halves(made, x)
        for p in made.parameters():
            if world > 1:
                dist.all_reduce(p.grad)
            p.data -= 1e-3 * p.grad
    grads = {f"grad of {name}": p.grad for name, p in made.named_parameters()}
    return {**made.state_dict(), **grads, "grad of x": x.grad}


def halves(made: nn.Module, x: torch.Tensor) -> None:
    """Back-propagates sin(sum over ranks), whose outer derivative needs the sum of all ranks."""
    own = made(x).square().sum()
    total = own.detach().clone()
    dist.all_reduce(total)
    (own * total.cos()).backward()


def one(rank: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    uneven = slice(0, 2) if rank == 0 else slice(2, BATCH)  # ranks may differ in size
    torch.save(learn(uneven, WORLD), f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.ranks
def test_two_ranks_are_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    args = (str(tmp_path / "store"), str(tmp_path))
    ranks = [context.Process(target=one, args=(rank, *args)) for rank in range(WORLD)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
        assert rank.exitcode == 0
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    alone = learn(slice(0, BATCH), 1)
    for name, value in alone.items():
        if name == "grad of x":
            together = torch.cat([part[name] for part in parts])
            assert torch.allclose(together, value, rtol=1e-9, atol=1e-12)
            continue
        for part in parts:
            assert torch.allclose(part[name], value, rtol=1e-9, atol=1e-9), name


def test_alone_it_is_torchs_own() -> None:
    ours = net()
    theirs = nn.Sequential(*[copy.deepcopy(m) for m in ours])
    for place, module in enumerate(theirs):
        if isinstance(module, BatchNorm2d):
            plain = nn.BatchNorm2d(module.num_features).double()
            plain.load_state_dict(module.state_dict())
            theirs[place] = plain
    for images in pictures().double():
        assert torch.equal(ours(images), theirs(images))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(
        torch.equal(a, b)
        for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    )
    ours.eval(), theirs.eval()
    assert torch.equal(ours(images), theirs(images))
