"""One process, several with a copy each (DDP), or several with a share each (FSDP2).

Which of them is decided by how the process was started: `torchrun` sets RANK and WORLD_SIZE.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from sensorium.nn.block import Block


class Place(NamedTuple):
    """This process among its ranks, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0


@contextmanager
def joined() -> Iterator[Place]:
    """Joins the ranks that `torchrun` started, leaves them in the end; alone if there are none."""
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if world == 1:
        yield Place(0, 1, device)
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Place(dist.get_rank(), world, device)
        dist.barrier()  # a rank that leaves while another still exchanges is aborted at its exit
    finally:
        gc.collect()  # sharded modules are cycles that hold the group
        dist.destroy_process_group()


def spread(
    step: nn.Module, place: Place, how: Literal["ddp", "fsdp"], idle: bool = False
) -> nn.Module:
    """The module to call: wrapped in DDP, or sharded block by block, or as it is on one process.

    Gradients are averaged over the ranks in both; the loop multiplies the loss by their number.
    What is frozen must be so already. `idle`: there are steps that leave some parameters out.
    """
    if place.world == 1:
        return step
    if how == "ddp":
        ids = [place.device.index] if place.device.type == "cuda" else None
        return DistributedDataParallel(step, device_ids=ids, find_unused_parameters=idle)
    for module in step.modules():
        if isinstance(module, Block):
            fully_shard(module)
    fully_shard(step)
    return step


@contextmanager
def synced(module: nn.Module, now: bool) -> Iterator[None]:
    """Whether the backward passes inside exchange gradients; all but a step's last need not."""
    if isinstance(module, DistributedDataParallel) and not now:
        with module.no_sync():
            yield
        return
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(now)
    yield


def summed(values: torch.Tensor, place: Place) -> torch.Tensor:
    """The sum over ranks of a small tensor."""
    if place.world > 1:
        dist.all_reduce(values)
    return values


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor gathered from its shards, on the CPU; every rank must call it."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu().contiguous()


def put(target: torch.Tensor, value: torch.Tensor) -> None:
    """Writes a whole tensor into a possibly sharded one."""
    value = value.to(target.device, target.dtype)
    if isinstance(target, DTensor):
        value = distribute_tensor(value, target.device_mesh, target.placements)
    with torch.no_grad():
        target.copy_(value)


def anywhere(flag: bool, place: Place) -> bool:
    """Whether any rank says so: the same answer on all of them."""
    return bool(summed(torch.tensor(float(flag), device=place.device), place))
