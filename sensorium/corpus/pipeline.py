"""The pipeline: sources become shards, shards go through stages, what is left is the corpus.

A run's folder:

    run.json         what was asked for; a run that goes on must ask for the same
    work/0/          shards as read; work/1/, ... after each group of stages
    clean/           the corpus: shards with The Stack's columns
    ledger/          every file that was dropped: by which stage, why, where from, its beginning
    summary.json     counts by stage, reason and language, seconds, memory

Stages between two comparisons of all documents run together over a shard, so that it is read and
written once. A shard is the unit of work, of memory and of resuming.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sensorium.corpus.document import Across, Stage
from sensorium.corpus.same import decide
from sensorium.corpus.shards import settle
from sensorium.corpus.sources import tasks, units
from sensorium.corpus.tally import peak, summed
from sensorium.corpus.tasks import Judging, Looking, Reading, judging, looking, mark, reading
from sensorium.corpus.workers import Workers
from sensorium.data.errors import DataError

Progress = Callable[[int, int], None]
LARGEST = 1_000_000  # bytes of a file, as The Stack and Codex have it
SHARD = 32 << 20  # bytes of text in a shard


def run(
    sources: Sequence[str | Path],
    out: Path,
    stages: Sequence[Stage | Across],
    workers: Workers,
    largest: int = LARGEST,
    shard: int = SHARD,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Runs the pipeline, or goes on with it, and gives what summary.json says.

    Args:
        sources: see `sources.units`.
        out: the run's folder.
        stages: in the order in which they are to run; the presets give them.
        workers: see `workers`.
        largest: bytes above which a file is not read.
        shard: bytes of text in a shard: what a worker holds in memory, about three times.
        progress: told of tasks done and of how many there are in the group that runs.

    Raises:
        DataError: a source is none or cannot be read; the folder is of another run.
        OSError: of files.
    """
    found = units(sources)
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise DataError(f"two stages have one name among {', '.join(names)}")
    asked = {
        "sources": [str(p) for p in found],
        "stages": [{"stage": s.name, **s.about} for s in stages],
        "largest": largest,
        "shard": shard,
    }
    claim(out, json.loads(json.dumps(asked)))
    if (out / "summary.json").exists():
        return json.loads((out / "summary.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    first, ledger = out / "work" / "0", out / "ledger"
    for folder in (first, ledger):
        folder.mkdir(parents=True, exist_ok=True)
    groups = tasks(found)
    jobs = [
        Reading(n, group, first, ledger / f"0-{n:05d}.parquet", largest, shard)
        for n, group in enumerate(groups)
    ]
    told = [_over(workers, reading, jobs, progress)]
    shards = [first / name for said in told[0] for name in said["shards"]]
    parts = grouped(stages)
    for number, (across, part) in enumerate(parts, 1):
        last = number == len(parts)
        place = out / "clean" if last else out / "work" / str(number)
        said, shards = _step(shards, place, across, part, workers, progress)
        told.append(said)
    summary = summarised(told, asked)
    summary["seconds"] = time.perf_counter() - start
    mark(out / "summary.json", summary)
    shutil.rmtree(out / "work")
    for left in [*(out / "clean").glob("*.json"), *(out / "clean").glob("*.npz")]:
        left.unlink()
    return summary


def claim(out: Path, asked: dict[str, Any]) -> None:
    """Makes a run's folder, or checks that it is of the same run. Raises DataError."""
    at = out / "run.json"
    if at.exists():
        had = json.loads(at.read_text(encoding="utf-8"))
        differs = [key for key in asked if had.get(key) != asked[key]]
        if differs:
            raise DataError(
                f"{out}: holds a run with other {', '.join(differs)}; ask for the same, or choose "
                "another folder"
            )
        return
    if any((out / name).exists() for name in ("clean", "ledger", "work")):
        raise DataError(f"{out}: holds clean/, ledger/ or work/ of something else; choose another")
    out.mkdir(parents=True, exist_ok=True)
    aside = out / "run.json.aside"
    aside.write_text(json.dumps(asked, indent=1), encoding="utf-8")
    settle(aside, at)


def grouped(stages: Sequence[Stage | Across]) -> list[tuple[Across | None, list[Stage]]]:
    """Stages in groups that go over a shard at once: each begins with at most one comparison."""
    groups: list[tuple[Across | None, list[Stage]]] = []
    for stage in stages:
        if isinstance(stage, Across):
            groups.append((stage, []))
        elif groups:
            groups[-1][1].append(stage)
        else:
            groups.append((None, [stage]))
    return groups or [(None, [])]


def _step(
    shards: list[Path],
    place: Path,
    across: Across | None,
    stages: list[Stage],
    workers: Workers,
    progress: Progress | None,
) -> tuple[list[dict[str, Any]], list[Path]]:
    place.mkdir(parents=True, exist_ok=True)
    number = place.name if place.name != "clean" else "clean"
    ledger = (place.parent if number == "clean" else place.parent.parent) / "ledger"
    looked: list[dict[str, Any]] = []
    chosen: Sequence[Path | None] = [None] * len(shards)
    spent = 0.0
    if across is not None:
        looks = [place / f"{s.stem}.look.npz" for s in shards]
        jobs = [Looking(s, at, across) for s, at in zip(shards, looks, strict=True)]
        looked = _over(workers, looking, jobs, progress)
        decided = [place / f"{s.stem}.same.npz" for s in shards]
        began = time.perf_counter()
        decide(looks, decided)
        spent, chosen = time.perf_counter() - began, decided
    name = across.name if across is not None else ""
    tasks = [
        Judging(s, place / s.name, ledger / f"{number}-{s.stem}.parquet", stages, name, at)
        for s, at in zip(shards, chosen, strict=True)
    ]
    told = _over(workers, judging, tasks, progress)
    if across is not None and told:
        for said, look in zip(told, looked, strict=True):
            said["counts"][0]["seconds"] = look["seconds"]
            said["peak"] = max(said["peak"], look["peak"])
        told[0]["counts"][0]["seconds"] += spent
        told[0]["deciding"] = {"stage": name, "seconds": spent, "peak": peak()}
    return told, [place / s.name for s in shards]


def _over(
    workers: Workers, function: Callable[[Any], Any], jobs: list[Any], progress: Progress | None
) -> list[dict[str, Any]]:
    results = []
    for result in workers(function, jobs):
        results.append(result)
        if progress is not None:
            progress(len(results), len(jobs))
    return results


def summarised(told: list[list[dict[str, Any]]], asked: dict[str, Any]) -> dict[str, Any]:
    """The counts of all tasks as one: by stage in order, languages before and after, memory."""
    stages = []
    for group in told:
        per_stage = zip(*(said["counts"] for said in group), strict=True)
        stages += [summed(parts) for parts in per_stage]
    last = told[-1]
    languages = _languages(said.get("languages", {}) for said in last)
    return {
        "asked": asked,
        "stages": stages,
        "languages": dict(sorted(languages.items(), key=lambda item: -item[1][1])),
        "shards": len(last),
        "memory": [[said["peak"] for said in group] for group in told],
        "writing": sum(said.get("writing", 0.0) for group in told for said in group),
        "deciding": [said["deciding"] for group in told for said in group if "deciding" in said],
    }


def _languages(parts: Any) -> dict[str, list[int]]:
    total: dict[str, list[int]] = {}
    for part in parts:
        for lang, (files, size) in part.items():
            one = total.setdefault(lang, [0, 0])
            one[0] += files
            one[1] += size
    return total
