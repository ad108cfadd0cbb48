"""Recipes by name: every function of this package that returns a Run. Nothing is registered."""

import importlib
import inspect
import pkgutil
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
            if own and not name.startswith("_") and function.__annotations__.get("return") is Run:
                yield (found.name if name == found.name else f"{found.name}.{name}"), function


def recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    known = dict(recipes())
    if name not in known:
        raise ValueError(f"no recipe is called {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]


def arguments(function: Recipe, given: dict[str, Any]) -> dict[str, Any]:
    """Every argument of a recipe, the defaults written out: what run.json records."""
    bound = inspect.signature(function).bind(**given)
    bound.apply_defaults()
    return dict(bound.arguments)
