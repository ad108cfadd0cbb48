"""Writes docs/cli.md from the command line's own parser and the recipes' signatures.

python scripts/cli_page.py
"""

import argparse
import inspect
from collections.abc import Iterator
from pathlib import Path

from sensorium.cli import parser
from sensorium.recipes.find import recipes
from sensorium.recipes.flags import described

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
HEAD = """# Command line

<!-- Written by scripts/cli_page.py from the parser itself; a test compares the two. -->

`sensorium --help` lists the commands, `sensorium COMMAND --help` explains one, and
`sensorium train RECIPE --help` the arguments of a recipe, which are those of its function.

Exit codes: 0 done, 1 failed (one line on standard error says what, where and what to do), 2 wrong
use, 130 stopped by a signal. Progress goes to standard error. With `--json` the last line of
standard output is one JSON object with everything that was found.
"""


def page() -> str:
    """The text of docs/cli.md."""
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    parts = [HEAD]
    for name, command in every(commands):
        own = [a for a in command._actions if a.dest not in ("help", "json")]
        parts.append(f"## {name}\n\n{sentence(command.description)}\n")
        parts.append(table([row(action) for action in own]))
    parts.append("# Recipes\n\nWhat `sensorium train` and `sensorium recipes` know.\n")
    for name, function in recipes():
        text = inspect.getdoc(function) or ""
        parts.append(f"## train {name}\n\n{text.splitlines()[0]}\n")
        helps, rows = described(text), []
        for one in inspect.signature(function).parameters.values():
            default = "needed" if one.default is one.empty else shown(one.default)
            rows.append((f"`--{one.name.replace('_', '-')}`", helps.get(one.name, ""), default))
        parts.append(table(rows))
    return "\n".join(parts)


def every(commands: argparse._SubParsersAction) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All commands by name; of those that have commands of their own, these."""
    for name, command in commands.choices.items():
        inner = [a for a in command._actions if isinstance(a, argparse._SubParsersAction)]
        for one in inner:
            yield from ((f"{name} {word}", own) for word, own in every(one))
        if not inner:
            yield name, command


def row(action: argparse.Action) -> tuple[str, str, str]:
    """How an argument is written, what it is for, what it is when left out."""
    if not action.option_strings:
        return f"`{action.dest.upper()}`", action.help or "", many(action)
    word = f"`{action.option_strings[-1]}`"
    if action.choices:
        word += " " + " or ".join(f"`{c}`" for c in action.choices)
    needed = "needed" if action.required else shown(action.default)
    return word, action.help or "", needed


def many(action: argparse.Action) -> str:
    """Whether a positional argument may be left out or repeated."""
    return {"+": "one or more", "*": "any number"}.get(str(action.nargs), "needed")


def shown(value: object) -> str:
    """A default as the table has it."""
    return "" if value in (None, False) else f"`{value}`"


def sentence(text: str | None) -> str:
    """With a capital and a full stop."""
    text = text or ""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def table(rows: list[tuple[str, str, str]]) -> str:
    """A Markdown table; nothing where there are no rows."""
    if not rows:
        return "No arguments of its own.\n"
    lines = ["| argument | what it is | if left out |", "|---|---|---|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in one) + " |" for one in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
