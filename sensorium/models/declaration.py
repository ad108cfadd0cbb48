"""A model as data: a function of this package and every argument it was called with.

This is what a checkpoint's manifest holds. Nothing else is ever imported from a file: the function
must be a public one of a module in `sensorium.models`, and its arguments are plain JSON values.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

import sensorium.models


class Declaration(NamedTuple):
    """A model function and its arguments, all of them; `build()` gives the net."""

    function: Callable[..., nn.Module]
    args: dict[str, Any]

    def build(self) -> nn.Module:
        return self.function(**self.args)

    def spec(self) -> dict[str, Any]:
        """As plain JSON values, every default written out."""
        bound = inspect.signature(self.function).bind(**self.args)
        bound.apply_defaults()
        module = self.function.__module__.removeprefix("sensorium.models.")
        args = {name: plain(value) for name, value in bound.arguments.items()}
        return {"function": f"{module}.{self.function.__name__}", "args": args}

    def parameters(self) -> int:
        """How many numbers the net learns, counted without making them."""
        with torch.device("meta"):
            return sum(p.numel() for p in self.build().parameters())


class Paper(NamedTuple):
    """A row of the survey's table: what a system is made of."""

    name: str
    year: int
    citation: str
    text: str
    vision: str
    fusion: str
    objectives: str
    data: str


def plain(value: Any) -> Any:
    """A NamedTuple of sizes as a dictionary, a tuple as a list, anything else as it is."""
    if isinstance(value, tuple) and "_fields" in vars(type(value)):
        return {k: plain(v) for k, v in zip(type(value)._fields, value, strict=True)}  # type: ignore[attr-defined]
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value


def declared(spec: dict[str, Any]) -> Declaration:
    """The declaration that `spec` (from a manifest) describes.

    Raises:
        ValueError: the function is not a public model function, or an argument is missing or
            unknown; the message names it.
    """
    module, _, name = str(spec.get("function", "")).rpartition(".")
    modules = [m.name for m in pkgutil.iter_modules(sensorium.models.__path__)]
    if module not in modules:
        raise ValueError(f"model function {spec.get('function')!r}: no such module in {modules}")
    function = getattr(importlib.import_module(f"sensorium.models.{module}"), name, None)
    own = f"sensorium.models.{module}"
    if not inspect.isfunction(function) or function.__module__ != own or name.startswith("_"):
        raise ValueError(f"sensorium.models.{module} has no model function {name!r}")
    signature, args = inspect.signature(function), spec.get("args", {})
    missing, unknown = set(signature.parameters) - set(args), set(args) - set(signature.parameters)
    if missing or unknown:
        raise ValueError(
            f"model {spec['function']}: the manifest must give every argument; "
            f"missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    return Declaration(function, {k: sized(signature.parameters[k], v) for k, v in args.items()})


def sized(parameter: inspect.Parameter, value: Any) -> Any:
    """`value` as the NamedTuple that the parameter is annotated with, if it is one."""
    kind = parameter.annotation
    if not (inspect.isclass(kind) and issubclass(kind, tuple) and isinstance(value, dict)):
        return value
    fields = kind._fields  # type: ignore[attr-defined]
    if set(value) != set(fields):
        raise ValueError(f"{parameter.name} needs the values {list(fields)}, not {sorted(value)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})


def systems() -> Iterator[tuple[str, Any]]:
    """Every module of `sensorium.models` that declares a system (it has PAPER and SIZES)."""
    for found in pkgutil.iter_modules(sensorium.models.__path__):
        module = importlib.import_module(f"sensorium.models.{found.name}")
        if "PAPER" in vars(module):
            yield found.name, module
