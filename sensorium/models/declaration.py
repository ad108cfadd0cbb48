"""A model as data: a function of this package and every argument it was called with.

This is what a checkpoint's manifest holds. Nothing else is ever imported from a file: the function
must be a public one of a module in `sensorium.models`, and its arguments are plain JSON values.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from types import UnionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import sensorium.models

LARGEST, DEEPEST = 2**24, 1024  # sizes, and counts of layers, that a manifest may ask for
DEPTHS = ("layers", "blocks")


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
        with torch.device("meta"), _Undrawn():
            return sum(p.numel() for p in self.build().parameters())


class _Undrawn(TorchFunctionMode):
    """No random start is drawn: on the meta device drawing gives nothing and takes most time."""

    DRAWS = (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.kaiming_uniform_)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = kwargs or {}
        if func in self.DRAWS:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


class Paper(NamedTuple):
    """A row of the survey's table (Du et al. 2022, "A Survey of Vision-Language Pre-Trained
    Models", table 1): what a system is made of.

    `notes` say of a cell, by its name, where the system differs from the table, or is more exact.
    """

    name: str
    year: int
    citation: str
    text: str
    vision: str
    fusion: str
    objectives: str
    data: str
    notes: Mapping[str, str] = {}


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
            unknown, or of another type or size than it can have; the message names it.
    """
    if not isinstance(spec, dict):
        raise ValueError(f"a model is described by its function and args, not by {spec!r:.60}")
    module, _, name = str(spec.get("function", "")).rpartition(".")
    modules = [m.name for m in pkgutil.iter_modules(sensorium.models.__path__)]
    if module not in modules:
        raise ValueError(f"model function {spec.get('function')!r}: no such module in {modules}")
    function = getattr(importlib.import_module(f"sensorium.models.{module}"), name, None)
    own = f"sensorium.models.{module}"
    if not inspect.isfunction(function) or function.__module__ != own or not makes(function):
        raise ValueError(f"sensorium.models.{module} has no model function {name!r}")
    signature, args = inspect.signature(function), spec.get("args", {})
    if not isinstance(args, dict):
        raise ValueError(f"model {spec['function']}: args must be an object, not {args!r:.60}")
    missing, unknown = set(signature.parameters) - set(args), set(args) - set(signature.parameters)
    if missing or unknown:
        raise ValueError(
            f"model {spec['function']}: the manifest must give every argument; "
            f"missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    kinds = {k: signature.parameters[k].annotation for k in args}
    return Declaration(function, {k: read(k, kinds[k], v) for k, v in args.items()})


def makes(function: Callable[..., Any]) -> bool:
    """Whether a function says that it makes a net, and is public."""
    made = function.__annotations__.get("return")
    public = not function.__name__.startswith("_")
    return public and inspect.isclass(made) and issubclass(made, nn.Module)


def read(name: str, kind: Any, value: Any) -> Any:
    """A JSON value as what the argument `name` is annotated with: sizes as their NamedTuple.

    Raises:
        ValueError: it is of another type, or a number that no model has.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any or kind is inspect.Parameter.empty:
        return value
    if origin in (typing.Union, UnionType):
        if value is None and type(None) in parts:
            return None
        return read(name, next(part for part in parts if part is not type(None)), value)
    if origin is typing.Literal and value in parts:
        return value
    if inspect.isclass(kind) and issubclass(kind, tuple) and isinstance(value, dict):
        fields: dict[str, Any] = kind.__annotations__
        if set(value) != set(fields):
            raise ValueError(f"{name} needs the values {list(fields)}, not {sorted(value)}")
        return kind(**{k: read(f"{name}.{k}", fields[k], value[k]) for k in fields})
    if origin is tuple and isinstance(value, (list, tuple)):
        each = [parts[0]] * len(value) if Ellipsis in parts else list(parts)
        if len(each) == len(value):
            return tuple(read(name, part, v) for part, v in zip(each, value, strict=True))
    plain_kind = origin or kind
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if plain_kind is int and number and isinstance(value, int):
        most = DEEPEST if name.rpartition(".")[2] in DEPTHS else LARGEST
        if 0 <= value <= most:
            return value
        raise ValueError(f"{name} is {value}: no model has that (0 to {most})")
    if plain_kind is float and isinstance(value, (int, float)) and number and isfinite(value):
        return value
    if plain_kind in (str, bool, dict) and isinstance(value, plain_kind):
        return value
    raise ValueError(
        f"{name} is {value!r:.60}, which is no {kind.__name__ if inspect.isclass(kind) else kind}"
    )


def systems() -> Iterator[tuple[str, Any]]:
    """Every module of `sensorium.models` that declares a system (it has PAPER and SIZES)."""
    for found in pkgutil.iter_modules(sensorium.models.__path__):
        module = importlib.import_module(f"sensorium.models.{found.name}")
        if "PAPER" in vars(module):
            yield found.name, module
