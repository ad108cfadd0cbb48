"""Scores given samples of a code model: every program runs in the sandbox, pass@k with intervals.

A program that runs out of time is run again, alone, before it counts as wrong; a failure of the
sandbox is tried again and then ends the run, so that it never counts as a failure of the model.
What was found is kept line by line in a journal beside the records: a run that was stopped goes on.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import CodingSet
from sensorium.sandbox import Job, Outcome, Sandbox
from sensorium.sandbox.jobs import BROKEN, PASSED
from sensorium.tasks.code.extract import How, program
from sensorium.tasks.code.passk import checked, pass_at
from sensorium.tasks.code.samples import Sample
from sensorium.tasks.records import Progress, Records, TaskError, records, write
from sensorium.tasks.scores import Scores, score

LATE = ("timeout_cpu", "timeout_wall")
Mode = str  # "two": tests in a process of their own; "one": beside the program, and forgeable


class Asked(NamedTuple):
    """How samples are scored.

    Attributes:
        ks: which pass@k.
        extract: how the program is found in a completion: raw, base or chat.
        mode: "two" processes (the default), or "one", which a program can deceive.
        about: facts for the records' header: model, temperature, top_p, max_tokens, ...
    """

    ks: tuple[int, ...] = (1,)
    extract: How = "raw"
    mode: Mode = "two"
    about: Mapping[str, Any] = {}


def pass_at_k(
    data: CodingSet,
    samples: Sequence[Sample],
    box: Sandbox,
    asked: Asked | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Runs samples and scores them; the interval resamples problems, not samples.

    Args:
        path: where the records file is written; what was found so far lies beside it in
            `PATH.journal` until then.

    Returns:
        {"pass": {"pass@1", ...}, "problems": {"solved"}}.

    Raises:
        TaskError: k above n; the sandbox failed on a program twice.
    """
    kept = judged(data, samples, box, asked or Asked(), path, progress)
    if path is not None:
        write(path, kept)
        _journal(path).unlink(missing_ok=True)
    return score(kept)


def judged(
    data: CodingSet,
    samples: Sequence[Sample],
    box: Sandbox,
    asked: Asked,
    path: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> Records:
    """The records of `pass_at_k`."""
    by_id = {one.id: one for one in data.problems}
    counts = Counter(one.task for one in samples)
    ks = checked(asked.ks, counts)
    jobs = [job(by_id[one.task], one.completion, asked) for one in samples]
    keys = [key(one, box) for one in jobs]
    ended = _ended(jobs, keys, box, path, progress)
    rows = []
    for one, own, name in zip(samples, jobs, keys, strict=True):
        outcome, first = ended[name]
        row = {"part": "sample", "id": f"{one.task}#{one.number:06d}", "cluster": one.task}
        row |= {"completion": one.completion, "program": digest(str(own.program))}
        row |= {"status": outcome.status, "detail": outcome.detail, "text": outcome.text}
        row |= {"cpu": round(outcome.cpu, 4), "forgeable": outcome.forgeable}
        rows.append(row | {"first": first, "passed": int(outcome.status == PASSED)})
    header = facts(data, samples, box, asked) | {
        "statuses": dict(Counter(r["status"] for r in rows))
    }
    header["retried"] = sum(row["first"] != "" for row in rows)
    header["forgeable"] = sum(row["forgeable"] and row["passed"] for row in rows)
    return records("code", metrics(ks), header, [*rows, *solved(rows, ks)])


def metrics(ks: Iterable[int]) -> dict[str, Any]:
    """How the records are marked."""
    found: dict[str, Any] = {"pass": {}}
    for k in ks:
        meaning = f"chance that at least one of {k} samples passes, mean over the problems"
        found["pass"][f"pass@{k}"] = {"of": f"pass@{k}", "summary": "mean", "meaning": meaning}
    meaning = "share of problems of which at least one sample passes"
    own = {"from": "pass", "of": "unsolved", "at_most": 0, "summary": "mean", "meaning": meaning}
    return found | {"problems": {"solved": own}}


def solved(rows: Sequence[Mapping[str, Any]], ks: Iterable[int]) -> list[dict[str, Any]]:
    """One record a problem: n, c, its pass@k."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        counts.setdefault(row["cluster"], []).append(row["passed"])
    found = []
    for task, passed in counts.items():
        n, c = len(passed), sum(passed)
        own = {f"pass@{k}": pass_at(n, c, k) for k in ks}
        one = {"part": "pass", "id": task, "cluster": task, "n": n, "c": c}
        found.append(one | own | {"unsolved": int(c == 0)})
    return found


def recount(kept: Records) -> Scores:
    """The scores of a records file from its samples' statuses alone.

    TaskError: the counts or estimates beside them say something else.
    """
    ks = [int(name.partition("@")[2]) for name in kept.header["metrics"]["pass"]]
    rows = [row | {"passed": int(row["status"] == PASSED)} for row in kept.rows if "status" in row]
    again = sorted(solved(rows, ks), key=lambda row: row["id"])
    told = [row for row in kept.rows if row["part"] == "pass"]
    if again != told:
        raise TaskError("the records contradict themselves: counts are not those of the samples")
    return score(Records(kept.header, [*again, *rows]))


# --- running -------------------------------------------------------------------------------------


def job(problem: Coding, completion: str, asked: Asked) -> Job:
    """A sample as the sandbox is asked to judge it."""
    text = program(problem, completion, asked.extract)
    if asked.mode == "two" and not problem.together:
        return Job(text, "two", problem.tests, problem.before, problem.names, problem.cpu)
    before = "" if problem.completes else f"\n{problem.before}"
    return Job(f"{text}{before}\n{problem.tests}", "one", cpu=problem.cpu)


def key(one: Job, box: Sandbox) -> str:
    """What a verdict depends on, as a hash: program, tests, limits, interpreter, sandbox."""
    about = [box.facts[name] for name in ("through", "version", "python", "machine", "limits")]
    return digest(json.dumps([one, about]))


def digest(text: str) -> str:
    """A hash of a text; half characters have one as well."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _ended(
    jobs: Sequence[Job],
    keys: Sequence[str],
    box: Sandbox,
    path: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> dict[str, tuple[Outcome, str]]:
    """The outcome of each different job, and what it was before it was run again ("": not)."""
    journal = Journal(None if path is None else _journal(path))
    found = journal.read(set(keys))
    todo = {name: one for name, one in zip(keys, jobs, strict=True) if name not in found}
    names, done, total = list(todo), len(found), len(found) + len(todo)

    def seen(place: int, outcome: Outcome) -> None:
        nonlocal done
        if outcome.status not in (*LATE, BROKEN):
            journal.add(names[place], outcome, "")
            found[names[place]] = (outcome, "")
        done += 1
        if progress is not None:
            progress(done, total)

    with journal:
        firsts = box.each([todo[name] for name in names], seen)
        for name, first in zip(names, firsts, strict=True):
            if name not in found:  # alone: nothing else of ours runs meanwhile
                again = box.check(todo[name])
                if again.status == BROKEN:
                    text = f"the sandbox failed twice on a program: {again.detail}: {again.text}"
                    raise TaskError(f"{text}; no score is given, what was found so far is kept")
                journal.add(name, again, first.status)
                found[name] = (again, first.status)
    return found


def facts(data: CodingSet, samples: Sequence[Sample], box: Sandbox, asked: Asked) -> dict[str, Any]:
    """What a score depends on, for the records' header."""
    counts = Counter(one.task for one in samples)
    texts = [f"{one.task}\0{one.number}\0{digest(one.completion)}" for one in sorted(samples)]
    different = len({(one.task, one.completion) for one in samples})
    stops = sorted({one.stops for one in data.problems}) if asked.extract == "base" else []
    return {
        "data": {"name": data.name, "sha256": data.sha256, "official": data.official},
        "problems": {"all": len(data.problems), "sampled": len(counts)},
        "n": {"least": min(counts.values()), "most": max(counts.values())},
        "samples": {
            "count": len(samples),
            "different": different,
            "sha256": digest("\n".join(texts)),
        },
        "extract": {"how": asked.extract, "stops": stops},
        "mode": asked.mode,
        "sandbox": box.facts,
        "about": dict(asked.about),
    }


# --- going on ------------------------------------------------------------------------------------


def _journal(path: str | os.PathLike[str]) -> Path:
    return Path(f"{os.fspath(path)}.journal")


class Journal:
    """Outcomes as they come, one JSON line each; a line cut off by a crash is dropped."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.file = path, None

    def read(self, wanted: set[str]) -> dict[str, tuple[Outcome, str]]:
        """What is known already of the wanted."""
        found: dict[str, tuple[Outcome, str]] = {}
        if self.path is None or not self.path.exists():
            return found
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                name, outcome, first = json.loads(line)
                if name in wanted:
                    found[name] = (Outcome(*outcome), first)
            except (ValueError, TypeError) as error:
                text = f"{self.path}: line {number} is no outcome ({error}); delete the file"
                raise TaskError(text) from error
        return found

    def add(self, name: str, outcome: Outcome, first: str) -> None:
        """Keeps one more."""
        if self.file is not None:
            line = json.dumps([name, outcome._replace(out="", err=""), first])
            self.file.write(line.encode() + b"\n")
            self.file.flush()

    def __enter__(self) -> "Journal":
        if self.path is not None:
            if self.path.exists():  # a torn last line must not grow into the next
                whole = self.path.read_bytes().rpartition(b"\n")
                os.truncate(self.path, len(whole[0]) + len(whole[1]))
            self.file = self.path.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()
