"""A recipe from its name to scores: train, seal the checkpoint with probes, evaluate, report."""

import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import sensorium
from sensorium.recipes.find import arguments, checked, recipe
from sensorium.report.page import report
from sensorium.train.checkpoint import latest
from sensorium.train.loop import train, write_json
from sensorium.train.run import Run
from sensorium.verbs.load import load_folder
from sensorium.verbs.prove import probes_of
from sensorium.weights import folder as folders
from sensorium.weights.header import parse_json

PROBES = 4  # pictures, and texts, that a checkpoint carries to prove itself with
NEEDED = ("torch", "numpy", "pillow", "safetensors", "tokenizers", "simplejpeg")
MOST = 2**31  # steps of a run, samples of a step
Say = Callable[[str], None]


def start(name: str, given: dict[str, Any], folder: Path, say: Say) -> dict[str, Any]:
    """Runs a recipe in a new folder and returns what it found, as plain JSON.

    Raises:
        ValueError: the recipe refuses its arguments or its data, or the folder is in use.
    """
    args = arguments(recipe(name), given)
    if leads() and (folder / "run.json").exists():
        raise ValueError(f"{folder} holds a run already: sensorium resume {folder}, or give --out")
    refuse_odd(args)
    run = recipe(name)(**args)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; a run needs a folder, give another name as --out")
    for ask in run.asks.values():
        ask.source()  # bad data is refused before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    if leads():
        write_json(folder / "run.json", record(name, args, run))
    return finish(run, folder, say)


def resume(folder: Path, say: Say) -> dict[str, Any]:
    """Goes on with a run from its newest checkpoint; on a finished run, evaluates it again.

    Raises:
        ValueError: the folder holds no run, or its run.json was edited or damaged.
    """
    at = folder / "run.json"
    if not at.is_file():
        raise ValueError(f"{folder} holds no run: there is no run.json in it")
    said = parse_json(at.read_bytes(), str(at))
    name, args = said.get("recipe"), said.get("arguments")
    if not isinstance(name, str) or not isinstance(args, dict):
        raise ValueError(f"{at}: names no recipe and its arguments: it was edited; train anew")
    try:
        refuse_odd(args)
        run = recipe(name)(**checked(recipe(name), args))
    except ValueError as wrong:
        raise ValueError(f"{at}: {wrong}") from wrong
    refuse_damaged(folder)
    return finish(run, folder, say)


def refuse_damaged(folder: Path) -> None:
    """Refuses to go on from a newest checkpoint of which a byte has changed.

    Raises:
        ValueError: says which, and which older one is whole.
    """
    newest = latest(folder)
    if newest is None:
        return
    try:
        folders.load(newest, full_check=True)
    except ValueError as wrong:
        others = [at for at in newest.parent.glob("step-*") if at.name < newest.name]
        way = f"the run goes on from {max(others)}" if others else "the run starts anew"
        raise ValueError(f"{wrong}\n  Move {newest} away, resume again, and {way}.") from wrong


def refuse_odd(args: dict[str, Any]) -> None:
    """Refuses numbers with which nothing can be trained, before anything is written.

    Raises:
        ValueError: names the argument and its limits.
    """
    args = {name: value for name, value in args.items() if value is not None}
    for name in ("steps", "batch", "slices"):
        if name in args and not 1 <= args[name] <= MOST:
            raise ValueError(f"--{name} {args[name]}: from 1 to {MOST:,} is possible")
    if "lr" in args and not 0 <= args["lr"] < math.inf:
        raise ValueError(f"--lr {args['lr']}: a learning rate is a number from 0 up")
    if "seed" in args and not 0 <= args["seed"] < 2**63:
        raise ValueError(f"--seed {args['seed']}: a seed is a number from 0 to 2^63 - 1")
    pieces = int(os.environ.get("WORLD_SIZE", "1")) * args.get("slices", 1)
    if args.get("batch", pieces) % pieces:
        raise ValueError(
            f"a batch of {args['batch']} cannot be cut evenly for all ranks and slices: choose a "
            f"multiple of {pieces}"
        )


def finish(run: Run, folder: Path, say: Say) -> dict[str, Any]:
    """Trains what is left to train, then seals, scores and reports."""
    began = time.monotonic()
    last = train(run, folder)
    if not leads():
        return {}
    spent = time.monotonic() - began
    final = seal(run, last, folder / "checkpoint")
    found: dict[str, Any] = {"run": str(folder), "checkpoint": str(final)}
    if run.finish is not None:
        say("scoring")
        model, records = load_folder(final), folder / "records"
        records.mkdir(exist_ok=True)
        found |= run.finish.scores(model, records, quiet)
    found["seconds"] = {"training": round(spent, 1)}
    write_json(folder / "scores.json", found)
    found["report"] = str(report(folder, run, found))
    return found


def seal(run: Run, last: Path, at: Path) -> Path:
    """The run's last weights as a checkpoint without training state, with probes of its own."""
    saved, package = folders.load(last), run.package()
    folders.save(at, saved.tensors, package.manifest, package.files)
    if run.finish is None:
        return at
    samples, model = run.finish.samples(), load_folder(at)
    few = [samples[i * len(samples) // PROBES] for i in range(min(PROBES, len(samples)))]
    texts = [sample.texts[0] for sample in few if "texts" in type(sample)._fields]
    probes = probes_of(model, [s.image for s in few], texts, "own first run")
    return folders.save(at, saved.tensors, package.manifest, package.files, probes)


def record(name: str, args: dict[str, Any], run: Run) -> dict[str, Any]:
    """What run.json says: enough to run it again, and to know where it ran."""
    plain = (int, float, str, bool, type(None))
    values = {f.name: getattr(run, f.name) for f in fields(run)}
    return {
        "recipe": name,
        "arguments": args,
        "settings": {k: v for k, v in values.items() if isinstance(v, plain)},
        "library": sensorium.__version__,
        "versions": {package: installed(package) for package in NEEDED},
        "python": platform.python_version(),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "ranks": int(os.environ.get("WORLD_SIZE", "1")),
        "command": sys.argv[1:],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def installed(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def leads() -> bool:
    """Whether this process is the first of its ranks."""
    return int(os.environ.get("RANK", "0")) == 0


def quiet(done: int, total: int) -> None:
    """Progress that nobody asked for."""
