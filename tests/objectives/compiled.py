"""Losses of fusion objectives with compiled blocks against eager ones: python compiled.py BACKEND.

A program of its own, since the checks of shapes and the compiler do not mix.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sensorium.train.compiled import compile_blocks
from tests.objectives.align_net import align_fuse, pairs
from tests.objectives.test_aligned import objective, posed
from tests.objectives.test_passes import everything, net_that_answers, questions


def cases() -> Iterator[tuple[nn.Module, Any, Any]]:
    """A pass of all parts, and ALBEF's losses, in single precision."""
    one, parts = net_that_answers(), everything()
    yield one.float(), parts, single(questions(one, parts)[0])
    two, made = align_fuse().float(), objective().float()
    yield two, made, single(posed(made, two, pairs(4)))


def single(question: Any) -> Any:
    """All numbers in single precision."""
    return tree_map(
        lambda x: x.float() if isinstance(x, Tensor) and x.is_floating_point() else x, question
    )


def learned(net: nn.Module, objective: Any, question: Any) -> dict[str, Tensor]:
    """Losses, and the gradient of their sum."""
    net.zero_grad()
    sums = objective.mark(objective.encode(net, question), question)
    torch.stack(list(sums.values())).sum().backward()
    grads = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in sums.items()} | grads


if __name__ == "__main__":
    torch.set_num_threads(1)
    for net, asked, question in cases():
        eager = learned(net, asked, question)
        torch._dynamo.reset()
        notice = compile_blocks(nn.ModuleList([net]), sys.argv[1])
        assert notice is None, notice
        for name, value in learned(net, asked, question).items():
            torch.testing.assert_close(value, eager[name], rtol=1e-3, atol=1e-4)
