"""Compiling a net block by block, where this machine can."""

import torch
from torch import nn

from sensorium.nn.block import Block

GRAPHS = 64  # all blocks share one code object, and dynamo keeps so many graphs of one


def compile_blocks(net: nn.Module, backend: str = "inductor") -> str | None:
    """Compiles every `Block` in place, for tokens and texts of any number.

    A trial is made first. Where it fails, for want of a C++ compiler or of Python's headers as a
    rule, everything stays eager, and the notice that is returned says so and why; None: compiled.
    """
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    if not blocks:
        return None
    device = next(net.parameters()).device
    failed = trial(device, backend)
    if failed is not None:
        return (
            f"torch.compile does not work here ({failed}); everything runs eagerly, with the same "
            "results but more slowly. Install a C++ compiler (g++), and Python's headers, or leave "
            "compiling off."
        )
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    for block in blocks:
        block.compile(dynamic=True, backend=backend)
    return None


def trial(device: torch.device, backend: str = "inductor") -> str | None:
    """Compiles something small on the device; None if that works, else the error's first line."""
    x = torch.ones(8, device=device)
    try:
        torch.compile(_double, backend=backend, dynamic=True)(x)
    except (RuntimeError, OSError) as wrong:  # torch's errors of compiling are RuntimeErrors
        lines = [line.strip() for line in str(wrong).splitlines() if line.strip()]
        return lines[0] if lines else type(wrong).__name__
    return None


def _double(x: torch.Tensor) -> torch.Tensor:
    return (2 * x).sin()
