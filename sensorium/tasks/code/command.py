"""`sensorium score code`: a file of samples in, pass@k with its evidence out."""

import argparse
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.datasets.catalogue import root
from sensorium.datasets.humaneval import CodingSet, humaneval
from sensorium.datasets.mbpp import SPLITS, mbpp
from sensorium.sandbox import Limits, Sandbox
from sensorium.sandbox.commands import sandboxed
from sensorium.sandbox.selftest import proven
from sensorium.tasks.code.passk import checked
from sensorium.tasks.code.samples import read
from sensorium.tasks.code.score import Asked, judged, pass_at_k, recount
from sensorium.tasks.records import Progress, TaskError
from sensorium.tasks.records import read as read_records
from sensorium.tasks.scores import to_json


def coding(name: str, folder: Path | None = None) -> CodingSet:
    """The problems of a name: humaneval, mbpp, mbpp-sanitized; `:train` and so on names a split.

    Args:
        folder: where the files lie (default: `code` in the catalogue of data sets).

    DataError: no such name, split or file.
    """
    kind, _, split = name.partition(":")
    if kind not in ("humaneval", "mbpp", "mbpp-sanitized") or (kind == "humaneval" and split):
        text = f"no problems are called {name!r}: humaneval, mbpp or mbpp-sanitized, of which"
        raise DataError(f"{text} :{', :'.join(SPLITS)} and :all name a part (without: test)")
    at = folder or root() / "code"
    if kind == "humaneval":
        return humaneval(at)
    return mbpp(at, kind.endswith("sanitized"), split or "test")


def scored(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Does what the options of `sensorium score` ask."""
    at: Path | None = options.records
    if options.recount:
        return to_json(recount(read_records(options.samples)))
    if at is not None and (at.is_dir() or not at.absolute().parent.is_dir()):
        raise TaskError(f"{at}: records go into a file in a folder that exists; choose another")
    data = coding(options.data, options.folder)
    samples = read(options.samples, data.problems, options.part)
    mode = "one" if options.one_process else "two"
    asked = Asked(tuple(options.k), options.extract, mode, facts(options.about))
    checked(asked.ks, Counter(one.task for one in samples))  # before anything takes time
    limits = Limits(cpu=options.cpu, memory=options.memory << 20)
    with Sandbox(options.workers, limits, options.unsafe) as box:
        proven(box)
        if at is None:
            from_memory = judged(data, samples, box, asked, None, progress)
            return to_json(recount(from_memory)) | told(from_memory.header)
        found = pass_at_k(data, samples, box, asked, path=at, progress=progress)
    return to_json(found) | told(read_records(at).header)


def programs(
    options: argparse.Namespace, show: Callable[[dict[str, Any], bool], None], progress: Progress
) -> None:
    """Does `sensorium sandbox` or `sensorium score`. ValueError: something failed."""
    failure = ""
    if options.command == "score":
        found = scored(options, progress)
    else:
        found, failure = sandboxed(options, progress)
    show(found, options.json)
    if failure:
        raise ValueError(failure)


def told(header: dict[str, Any]) -> dict[str, Any]:
    """What is said beside the scores."""
    names = ("statuses", "retried", "forgeable", "problems", "n", "samples", "extract", "mode")
    return {name: header[name] for name in (*names, "data", "sandbox", "about")}


def facts(words: list[str]) -> dict[str, str]:
    """NAME=VALUE pairs. TaskError: one is none."""
    if not all(word.partition("=")[0] and "=" in word for word in words):
        raise TaskError("--about takes NAME=VALUE, as in temperature=0.8")
    return {word.partition("=")[0]: word.partition("=")[2] for word in words}
