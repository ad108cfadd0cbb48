"""The class names and templates with which CLIP was scored zero-shot, 28 tables of them.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
section 3.1.4; the tables are those its authors published (tables/SOURCE.md). A template holds one
"{}", where the name of a class goes. "imagenet7" is ImageNet with 7 of its 80 templates, found by
forward selection; they did a little better than all 80.
"""

import json
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files

from sensorium.data.errors import DataError


def names() -> tuple[str, ...]:
    """The tables there are, in order of the alphabet."""
    return _names()


def templates(name: str) -> tuple[str, ...]:
    """The templates of this table, as published, each with one "{}".

    DataError: no table of that name; the text lists candidates.
    """
    return _table(name)[1]


def classes(name: str) -> tuple[str, ...]:
    """One name a class, by the index of the class; where there are several, the first.

    The order is the published one, for ImageNet that of the 1,000 labels. Two of ImageNet's names
    occur twice there ("missile", "sunglasses"), so never look a class up by its name.
    DataError: as `templates`.
    """
    return tuple(called[0] for called in _table(name)[0])


def aliases(name: str) -> tuple[tuple[str, ...], ...]:
    """All names of each class; only "facialemotionrecognition2013" has classes of several.

    DataError: as `templates`.
    """
    return _table(name)[0]


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    found = (entry.name for entry in (files(__name__) / "tables").iterdir())
    return tuple(sorted(n.removesuffix(".json") for n in found if n.endswith(".json")))


@lru_cache(maxsize=64)
def _table(name: str) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    if name not in names():
        near = get_close_matches(str(name).lower(), names(), n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise DataError(
            f"no prompts called {name!r}; {hint}there are: {', '.join(names())}. A prompt of your "
            "own has a {} where the name of the class goes"
        )
    table = json.loads((files(__name__) / "tables" / f"{name}.json").read_text("utf-8"))
    called = tuple((c,) if isinstance(c, str) else tuple(c) for c in table["classes"])
    return called, tuple(table["templates"])
