"""The record of a run: metrics as JSON lines and TensorBoard, and a line of progress for people."""

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO


class Metrics:
    """Appends to `metrics.jsonl`; a resumed run first drops what lies behind its checkpoint."""

    def __init__(self, folder: Path, start: int):
        self.path = folder / "metrics.jsonl"
        kept = [row for row in read_metrics(self.path) if row["step"] <= start]
        aside = self.path.with_suffix(".aside")
        aside.write_text("".join(json.dumps(row) + "\n" for row in kept))
        os.replace(aside, self.path)
        self.file = self.path.open("a")
        self.board = tensorboard(folder / "tensorboard", start)

    def write(self, row: dict[str, Any]) -> None:
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in row.items():
                if name != "step" and isinstance(value, (int, float)):
                    self.board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self.file.close()
        if self.board is not None:
            self.board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file, up to the first line that is damaged or cut off by a kill."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            break
        rows.append(row)
    return rows


def tensorboard(folder: Path, start: int) -> Any | None:
    """A TensorBoard writer, or None where the `track` extra is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=start + 1)


class Progress:
    """One line on standard error: step, loss, rate, time left. Rewritten in place on a terminal."""

    def __init__(self, steps: int, start: int, stream: TextIO = sys.stderr):
        self.steps, self.start, self.stream = steps, start, stream
        self.live = stream.isatty()
        self.began = self.shown = time.monotonic()

    def show(self, step: int, loss: float, batch: int) -> None:
        now = time.monotonic()
        last = step == self.steps
        if not last and now - self.shown < (0.2 if self.live else 10.0):
            return
        self.shown = now
        rate = (step - self.start) / max(now - self.began, 1e-9)
        left = (self.steps - step) / max(rate, 1e-9)
        line = (
            f"step {step}/{self.steps}  loss {loss:.4f}  {rate * batch:,.0f} samples/s  "
            f"{clock(now - self.began)} gone, {clock(left)} left"
        )
        end = "\n" if last or not self.live else ""
        self.stream.write(("\r\033[K" if self.live else "") + line + end)
        self.stream.flush()


def clock(seconds: float) -> str:
    """Seconds as 1:02 or 3:04:05."""
    whole = math.ceil(seconds)
    h, m, s = whole // 3600, whole // 60 % 60, whole % 60
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m}:{s:02d}"
