"""What people see: nested values as text, and how far something is."""

import os
import sys
import time
from typing import Any


def lines(found: Any, depth: int = 0) -> list[str]:
    """Nested values as indented text; numbers rounded for the eye (--json has them in full)."""
    pad = "  " * depth
    if not isinstance(found, dict):
        return [pad + shown(item) for item in found]
    wide = max((len(str(key)) for key in found), default=0)
    out = []
    for key, value in found.items():
        nested = isinstance(value, dict) or (
            isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value)
        )
        if nested and value:
            out += [f"{pad}{key}", *lines(value, depth + 1)]
        else:
            out.append(f"{pad}{key!s:{wide}}  {shown(value)}")
    return out


def shown(value: Any) -> str:
    """One value as text."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "  ".join(f"{k} {shown(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return " to ".join(map(shown, value)) if len(value) == 2 else ", ".join(map(shown, value))
    return "none" if value is None else str(value)


class Bar:
    """Progress of something counted: how far, how fast, how long still; shown after two seconds."""

    def __init__(self, doing: str):
        self.doing, self.began, self.shown = doing, time.monotonic(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.began < 2 or (now - self.shown < 1 and done < total):
            return
        self.shown, rate = now, done / (now - self.began)
        left = (total - done) / max(rate, 1e-9)
        sys.stderr.write(f"{self.doing} {done}/{total}  {rate:,.0f} a second  {left:.0f} s left\n")
        sys.stderr.flush()


def told(error: ValueError | OSError) -> str:
    """An error in words: of the system's, the file first and no number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
