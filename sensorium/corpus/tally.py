"""Counts of what a stage saw, kept, changed and dropped; sums of them over tasks."""

import resource
from collections.abc import Iterable
from typing import Any

from sensorium.corpus.document import Document

Counts = dict[str, Any]


def tally(stage: str) -> Counts:
    """The empty counts of a stage."""
    zeros = dict.fromkeys(("files", "bytes", "kept_files", "kept_bytes", "changed"), 0)
    return {"stage": stage, **zeros, "seconds": 0.0, "reasons": {}}


def add_reason(counts: Counts, reason: str, size: int) -> None:
    """Counts a file that was dropped."""
    files, total = counts["reasons"].get(reason, (0, 0))
    counts["reasons"][reason] = [files + 1, total + size]


def summed(parts: Iterable[Counts]) -> Counts:
    """The counts of several tasks of one stage together."""
    total: Counts = {}
    for part in parts:
        if not total:
            total = tally(part["stage"])
        for key, value in part.items():
            if key == "reasons":
                for reason, (files, size) in value.items():
                    had = total["reasons"].get(reason, (0, 0))
                    total["reasons"][reason] = [had[0] + files, had[1] + size]
            elif key != "stage":
                total[key] += value
    return total


def by_language(documents: Iterable[Document]) -> dict[str, list[int]]:
    """Files and bytes of each language."""
    found: dict[str, list[int]] = {}
    for document in documents:
        one = found.setdefault(document.lang, [0, 0])
        one[0] += 1
        one[1] += len(document.content.encode())
    return found


def peak() -> int:
    """The most memory this process has held, in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
