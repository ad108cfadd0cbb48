"""Recipes by name: every function of this package that returns a Run. Nothing is registered."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator
from typing import Any

import sensorium.recipes
from sensorium.train.run import Run

Recipe = Callable[..., Run]


def recipes() -> Iterator[tuple[str, Recipe]]:
    """Every recipe: `clip` for clip.clip, `uniter.pretrain` for any other function's name."""
    for found in pkgutil.iter_modules(sensorium.recipes.__path__):
        module = importlib.import_module(f"sensorium.recipes.{found.name}")
        for name, function in vars(module).items():
            own = inspect.isfunction(function) and function.__module__ == module.__name__
            if own and not name.startswith("_") and declares(function):
                yield (found.name if name == found.name else f"{found.name}.{name}"), function


def declares(function: Recipe) -> bool:
    """Whether a function gives a Run for arguments that a command line can say."""
    kinds = [p.annotation for p in inspect.signature(function).parameters.values()]
    said = (int, float, str, bool, str | None, int | None, float | None)
    plain = [k in said or typing.get_origin(k) is typing.Literal for k in kinds]
    return function.__annotations__.get("return") is Run and all(plain)


def recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    known = dict(recipes())
    if name not in known:
        raise ValueError(f"no recipe is called {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]


def checked(function: Recipe, args: dict[str, Any]) -> dict[str, Any]:
    """Arguments from a file, each of the type that the recipe says.

    Raises:
        ValueError: one is missing, unknown, or of another type.
    """
    signature = inspect.signature(function).parameters
    missing, unknown = signature.keys() - args.keys(), args.keys() - signature.keys()
    if missing or unknown:
        raise ValueError(
            f"the recipe's arguments are others: missing {sorted(missing)}, unknown "
            f"{sorted(unknown)}; use the version that began the run, or train anew"
        )
    for name, value in args.items():
        kind = signature[name].annotation
        if typing.get_origin(kind) is typing.Literal:
            fits = value in typing.get_args(kind)
        else:
            number = kind is float and isinstance(value, int) and not isinstance(value, bool)
            truth = isinstance(value, bool) and kind is not bool
            fits = number or (isinstance(value, kind) and not truth)
        if not fits:
            raise ValueError(f"the argument {name} is {value!r:.60}, which is no {kind}")
    return args


def arguments(function: Recipe, given: dict[str, Any]) -> dict[str, Any]:
    """Every argument of a recipe, the defaults written out: what run.json records."""
    bound = inspect.signature(function).bind(**given)
    bound.apply_defaults()
    return dict(bound.arguments)
