"""The command line. Thin: parses, imports what is needed only then, calls, prints."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import sensorium


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns 0 when done, 1 when it failed, 2 when it was used wrongly."""
    words = sys.argv[1:] if argv is None else argv
    options, rest = parser().parse_known_args(words)
    if rest and options.command != "train":
        parser().error(f"unknown words: {' '.join(rest)}")
    if options.command is None:
        parser().print_help()
        return 2
    try:
        options.run(options, rest)
    except BrokenPipeError:
        return 1
    except (ValueError, OSError) as error:
        print(f"sensorium: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their options, those of recipes excepted: they are the recipe's arguments."""
    top = argparse.ArgumentParser(
        prog="sensorium", description="Multimodal foundation models, trained and checked."
    )
    top.add_argument("--version", action="version", version=sensorium.__version__)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, run, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--json", action="store_true", help="print one JSON object at the end")
        made.set_defaults(run=run)
        return made

    one = command("train", train, "run a recipe: train, score, report")
    one.add_argument("recipe", help="its name, as `sensorium recipes` lists it")
    one.add_argument("--out", type=Path, help="the run's folder (default: runs/RECIPE-DATE)")
    one = command("resume", resume, "go on with a run that was stopped")
    one.add_argument("folder", type=Path, help="the run's folder")
    command("recipes", recipes, "list what can be trained")
    return top


# --- commands ---------------------------------------------------------------------------------


def train(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.execute import start
    from sensorium.recipes.find import recipe
    from sensorium.recipes.flags import parse

    given = parse(options.recipe, recipe(options.recipe), words)
    folder = options.out or Path("runs") / f"{options.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    show(start(options.recipe, given, folder, say), options.json)


def resume(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.execute import resume

    show(resume(options.folder, say), options.json)


def recipes(options: argparse.Namespace, words: list[str]) -> None:
    from sensorium.recipes.find import recipes

    found = {name: (function.__doc__ or "").splitlines()[0] for name, function in recipes()}
    if options.json:
        print(json.dumps(found))
        return
    for name, text in found.items():
        print(f"{name:24} {text}")


# --- what people see ----------------------------------------------------------------------------


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show(found: dict[str, Any], as_json: bool) -> None:
    """The result: for people, or as one JSON object on the last line of standard output."""
    if not found:
        return
    if as_json:
        print(json.dumps(found))
        return
    print(json.dumps(found, indent=1))
