"""The record of an experiment: one JSON line a finished job, so that nothing is measured twice."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

Job = dict[str, Any]
Work = Callable[[Any, Job], dict[str, Any]]


class Row(NamedTuple):
    """A finished job, what it found, and the CPU seconds it took."""

    job: Job
    found: dict[str, Any]
    cpu: float


class Record:
    """The finished jobs of one experiment, in a file that only grows.

    Its first line is the design. Delete the file to measure again.

    Raises:
        ValueError: the file is of another design, or a line of it is damaged.
    """

    def __init__(self, path: Path, design: Any):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {"design": json.loads(json.dumps(design._asdict()))}
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith("\n"):  # a kill cut the last line off
            lines = lines[:-1]
            write(path, "".join(lines))
        read = [parsed(path, number, line) for number, line in enumerate(lines, 1)]
        if read and read[0] != header:
            raise ValueError(
                f"{path} was measured with another design than today's; move or delete it to "
                "measure again"
            )
        if not read:
            write(path, json.dumps(header) + "\n")
        self.rows = [Row(line["job"], line["found"], line["cpu"]) for line in read[1:]]

    def add(self, row: Row) -> None:
        """Appends a finished job; it is on the disk when this returns."""
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row._asdict()) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def left(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs that are not finished."""
        done = [row.job for row in self.rows]
        return [job for job in jobs if job not in done]

    def get(self, **job: Any) -> dict[str, Any]:
        """What a finished job found.

        Raises:
            KeyError: there is no such job.
        """
        for row in self.rows:
            if row.job == job:
                return row.found
        raise KeyError(f"{self.path} has no finished job {job}")

    def cpu(self) -> float:
        """CPU seconds of all jobs together."""
        return sum(row.cpu for row in self.rows)


def parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    """One line of a record; ValueError where it is none."""
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {number} is damaged ({error}): delete that line to measure it again"
        ) from None


def write(path: Path, text: str) -> None:
    """Writes a file aside, then puts it in place."""
    aside = path.with_name(path.name + ".aside")
    with aside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def complete(
    record: Record,
    design: Any,
    jobs: Sequence[Job],
    work: Work,
    say: Callable[[str], None],
    workers: int,
) -> None:
    """Does what is left of the jobs and records each as it ends.

    Args:
        work: `work(design, job)`, a function of a module; its result must be plain JSON and depend
            on nothing but its arguments.
        say: is told of every job that ends.
        workers: processes, each of one thread; 0 works in this process.
    """
    left = record.left(jobs)
    done, began = len(jobs) - len(left), time.monotonic()
    if done:
        say(f"{done} of {len(jobs)} jobs were done before: {record.path}")
    for row in finished(design, left, work, workers):
        record.add(row)
        done += 1
        rest = (time.monotonic() - began) / (done - len(jobs) + len(left)) * (len(jobs) - done)
        told = ", ".join(f"{key} {value}" for key, value in row.job.items())
        say(f"{done}/{len(jobs)}  {told}: {row.cpu:.0f} s of CPU; about {rest:.0f} s left")


def finished(design: Any, jobs: Sequence[Job], work: Work, workers: int) -> Iterator[Row]:
    """Rows in the order in which jobs end."""
    if workers == 0:
        for job in jobs:
            yield timed(work, design, job)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = [pool.submit(timed, work, design, job) for job in jobs]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def timed(work: Work, design: Any, job: Job) -> Row:
    """One job, on one thread, with torch's global generator put back behind it."""
    with single_thread(), torch.random.fork_rng(devices=[]):
        began = time.process_time()
        found = work(design, job)
        return Row(job, found, round(time.process_time() - began, 2))


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread, so that CPU time is what the work takes and not what waiting threads burn."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
