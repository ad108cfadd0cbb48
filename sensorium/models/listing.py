"""What `sensorium models` prints: the survey's table and the sizes, read from the declarations."""

from types import ModuleType
from typing import Any

import torch

from sensorium.models.declaration import Declaration, systems


def table() -> dict[str, Any]:
    """A row a system, as in the survey, with its published sizes and their parameters."""
    return {name: row(module) for name, module in systems()}


def row(module: ModuleType) -> dict[str, Any]:
    """A system's row: what its paper says of it, and its sizes."""
    paper = module.PAPER
    sizes = {size: f"{d.parameters():,}" for size, d in module.SIZES.items()}
    said = {k: v for k, v in paper._asdict().items() if k != "name" and v != {}}
    return {"system": paper.name, **said, "sizes": sizes}


def one(system: str, size: str | None = None) -> dict[str, Any]:
    """A system's row, or one size of it: its declaration and the parameters of each part.

    Raises:
        ValueError: no such system or size; the message lists those there are.
    """
    modules = dict(systems())
    if system not in modules:
        raise ValueError(f"no system is called {system!r}; there are: {', '.join(modules)}")
    if size is None:
        return {system: row(modules[system])}
    sizes: dict[str, Declaration] = modules[system].SIZES
    if size not in sizes:
        raise ValueError(f"{system} has no size {size!r}; it has: {', '.join(sizes)}")
    with torch.device("meta"):
        net = sizes[size].build()
    parts = {name: sum(p.numel() for p in m.parameters()) for name, m in net.named_children()}
    return {
        "declaration": sizes[size].spec(),
        "parameters": {"all": sizes[size].parameters(), **parts},
        "tensors": {name: list(p.shape) for name, p in net.named_parameters()},
    }
