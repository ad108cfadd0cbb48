"""Compiled against eager: loss and gradients, block by block or the whole net.

    python tests/models/compiling.py blocks|whole BACKEND NAME...

prints one JSON object: by name the largest relative error of loss and gradients. A program of its
own, since the checks of shapes and the compiler do not mix.
"""

import json
import sys

import torch
from torch import nn

from sensorium.train.compiled import compile_blocks
from tests.models.nets import TINY, Posed, filled, marked, posed


def learned(net: nn.Module, asked: Posed) -> dict[str, torch.Tensor]:
    """Loss and gradients."""
    net.train().zero_grad()
    loss = marked(net, asked)
    loss.backward()
    grads = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **grads}


def error(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    """The largest difference, as a share of the largest gradient (of the loss itself)."""
    assert got.keys() == wanted.keys()
    largest = max(float(v.abs().max()) for n, v in wanted.items() if n != "loss")
    parts = [float((got[n] - v).abs().max()) / largest for n, v in wanted.items() if n != "loss"]
    return max(*parts, abs(float(got["loss"] / wanted["loss"]) - 1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    how, backend, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    found = {}
    for name in names:
        torch._dynamo.reset()
        net, twin = filled(TINY[name]), filled(TINY[name])
        if how == "blocks":
            notice = compile_blocks(net, backend)
            assert notice is None, notice
        else:
            net.compile(backend=backend, fullgraph=True, dynamic=True)
        errors = []
        for rows, longest in ((8, 9), (4, 6), (6, 12)):  # other numbers must not compile anew
            asked = posed(TINY[name], twin, rows, longest)
            errors.append(error(learned(net, asked), learned(twin, asked)))
        found[name] = max(errors)
    print(json.dumps(found))
