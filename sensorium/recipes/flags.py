"""A recipe's signature as its command line: arguments are flags, their docs are the help."""

import argparse
import inspect
import re
import types
import typing
from typing import Any

from sensorium.recipes.find import Recipe


def parse(name: str, function: Recipe, words: list[str]) -> dict[str, Any]:
    """The arguments that were given on the command line; exits with 2 where they make no sense."""
    text = inspect.getdoc(function) or ""
    parser = argparse.ArgumentParser(
        prog=f"sensorium train {name}",
        description=text.split("\n\nArgs:")[0],
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    helps = described(text)
    for parameter in inspect.signature(function).parameters.values():
        kind, choices = reading(parameter.annotation)
        default = "" if parameter.default is None else f" (default: {parameter.default})"
        parser.add_argument(
            "--" + parameter.name.replace("_", "-"),
            dest=parameter.name,
            type=kind,
            choices=choices,
            help=(helps.get(parameter.name, "") + default).replace("%", "%%"),
            required=parameter.default is inspect.Parameter.empty,
        )
    return vars(parser.parse_args(words))


def described(text: str) -> dict[str, str]:
    """Argument name to its line in the docstring's Args section."""
    _, _, args = text.partition("Args:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", args, flags=re.MULTILINE)
    return {name: " ".join(lines.split()) for name, lines in found}


def reading(annotation: Any) -> tuple[Any, list[Any] | None]:
    """How a word becomes a value of this type, and the choices there are."""
    if typing.get_origin(annotation) is typing.Literal:
        choices = list(typing.get_args(annotation))
        return type(choices[0]), choices
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = [k for k in typing.get_args(annotation) if k is not type(None)]
        return reading(kinds[0])
    return (truth, None) if annotation is bool else (annotation, None)


def truth(word: str) -> bool:
    """yes or no."""
    if word.lower() in ("yes", "true", "1"):
        return True
    if word.lower() in ("no", "false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{word!r} is neither yes nor no")
