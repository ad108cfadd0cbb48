"""The tasks that workers run: read sources, judge a shard, look at a shard for duplicates.

Every task writes its files aside and renames them; its mark, a JSON file with its counts, comes
last. A task whose mark is there is done.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.corpus.document import Across, Document, Dropped, Stage
from sensorium.corpus.found import Refused
from sensorium.corpus.shards import HEAD, Entry, read_shard, settle, write_ledger, write_shard
from sensorium.corpus.sources import read
from sensorium.corpus.tally import Counts, add_reason, by_language, peak, tally


class Reading(NamedTuple):
    """Sources to read into shards of about `shard` bytes, named by the task's number."""

    number: int
    sources: list[Path]
    out: Path
    ledger: Path
    largest: int
    shard: int


class Judging(NamedTuple):
    """A shard that goes through stages; with `decided`, first what an `Across` found of it."""

    shard: Path
    out: Path
    ledger: Path
    stages: Sequence[Stage]
    across: str = ""
    decided: Path | None = None


class Looking(NamedTuple):
    """A shard whose documents' keys are written down."""

    shard: Path
    out: Path
    across: Across


def mark(path: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Writes a task's counts: the sign that it is done."""
    aside = path.with_name(path.name + ".aside")
    aside.write_text(json.dumps(said), encoding="utf-8")
    settle(aside, path)
    return said


def done(path: Path) -> dict[str, Any] | None:
    """A task's counts; None where it has not been done."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def reading(task: Reading) -> dict[str, Any]:
    """Reads sources into shards and gives the counts."""
    at = task.out / f"{task.number:05d}.json"
    if (said := done(at)) is not None:
        return said
    for left in task.out.glob(f"{task.number:05d}-*"):  # of a run that was stopped
        left.unlink()
    counts, entries = tally("read"), []
    pending: list[Document] = []
    names: list[str] = []
    room, start = task.shard, time.process_time()

    def flush() -> None:
        name = f"{task.number:05d}-{len(names):04d}.parquet"
        write_shard(task.out / name, pending)
        names.append(name)
        pending.clear()

    for source in task.sources:
        for one in read(source, task.largest):
            counts["files"] += 1
            if isinstance(one, Refused):
                counts["bytes"] += one.size
                add_reason(counts, one.why.reason, one.size)
                entries.append(
                    Entry("read", one.why.reason, one.why.detail, one.repo, one.path, "",
                          one.size, "", "")
                )  # fmt: skip
                continue
            size = len(one.content.encode())
            counts["bytes"] += size
            counts["kept_files"] += 1
            counts["kept_bytes"] += size
            if room < size and pending:
                flush()
                room = task.shard
            pending.append(one)
            room -= size
    if pending:
        flush()
    counts["seconds"] = time.process_time() - start
    write_ledger(task.ledger, entries)
    return mark(at, {"shards": names, "counts": [counts], "peak": peak()})


def judging(task: Judging) -> dict[str, Any]:
    """Sends a shard through stages, writes what is left and the ledger, and gives the counts."""
    at = task.out.with_suffix(".json")
    if (said := done(at)) is not None:
        return said
    documents, entries, all_counts = list(read_shard(task.shard)), [], []
    if task.decided is not None:
        documents, counts = _decided(task, documents, entries)
        all_counts.append(counts)
    before = by_language(documents)
    for stage in task.stages:
        documents, counts = judged(stage, documents, entries)
        all_counts.append(counts)
    start = time.process_time()
    write_shard(task.out, documents)
    writing = time.process_time() - start
    write_ledger(task.ledger, entries)
    said = {"shards": [task.out.name], "counts": all_counts, "peak": peak(), "writing": writing}
    return mark(at, said | {"before": before, "languages": by_language(documents)})


def judged(
    stage: Stage, documents: Sequence[Document], entries: list[Entry]
) -> tuple[list[Document], Counts]:
    """What a stage leaves of documents, and its counts; what it drops is added to the entries."""
    counts, kept = tally(stage.name), []
    dropped: list[tuple[Document, Dropped]] = []
    start = time.process_time()
    for document in documents:
        verdict = stage.keep(document)
        if isinstance(verdict, Dropped):
            dropped.append((document, verdict))
        else:
            kept.append(verdict)
            counts["changed"] += verdict.content != document.content
    counts["seconds"] = time.process_time() - start
    settled(counts, documents, kept)
    for document, why in dropped:
        entries.append(entry(stage.name, document, why))
        add_reason(counts, why.reason, len(document.content.encode()))
    return kept, counts


def settled(counts: Counts, documents: Sequence[Document], kept: Sequence[Document]) -> None:
    """Enters sizes before and after into counts."""
    for key, some in (("", documents), ("kept_", kept)):
        counts[f"{key}files"] = len(some)
        counts[f"{key}bytes"] = sum(len(d.content.encode()) for d in some)


def entry(stage: str, document: Document, why: Dropped) -> Entry:
    """The ledger's line for a document that is dropped."""
    size = len(document.content.encode())
    where = (document.repo, document.path, document.lang, size, document.hexsha)
    return Entry(stage, why.reason, why.detail, *where, document.content[:HEAD])


def _decided(
    task: Judging, documents: list[Document], entries: list[Entry]
) -> tuple[list[Document], Counts]:
    said = dict(np.load(task.decided, allow_pickle=False))  # type: ignore[arg-type]
    counts = tally(task.across)
    kept = []
    same = dict(zip(said["rows"].tolist(), said["first"].tolist(), strict=True))
    for row, document in enumerate(documents):
        if row not in same:
            kept.append(document)
            continue
        why = Dropped(task.across, "the same as " + same[row].decode())
        entries.append(entry(task.across, document, why))
        add_reason(counts, why.reason, len(document.content.encode()))
    settled(counts, documents, kept)
    return kept, counts


def looking(task: Looking) -> dict[str, Any]:
    """Writes down the keys and names of a shard's documents."""
    at = task.out.with_suffix(".json")
    if (said := done(at)) is not None:
        return said
    keys, rows, names, size = [], [], [], 0
    spent = 0.0
    for row, document in enumerate(read_shard(task.shard)):
        began = time.process_time()
        found = task.across.look(document)
        spent += time.process_time() - began
        names.append(document.hexsha.encode())
        size += len(document.content.encode())
        if found is not None:
            keys.append(found)
            rows.append(row)
    aside = task.out.with_name(task.out.name + ".aside")
    with aside.open("wb") as file:
        np.savez(
            file,
            keys=np.stack(keys) if keys else np.empty((0, 0), np.uint64),
            rows=np.array(rows, np.int64),
            names=np.array(names, "S40"),
        )
    settle(aside, task.out)
    told = {"count": len(names), "bytes": size, "seconds": spent, "peak": peak()}
    return mark(at, told)
