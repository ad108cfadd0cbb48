"""`sensorium reproduce`: measures papers' headline claims again and writes what came out."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sensorium.claims import (
    albef,
    albef_page,
    clip,
    clip_page,
    codex,
    codex_page,
    flamingo,
    flamingo_page,
    llava,
    llava_page,
    lxmert,
    lxmert_page,
    pretraining,
    pretraining_page,
    starcoder,
    starcoder_page,
    uniter,
    uniter_page,
    vilbert,
    vilbert_page,
    vilt,
    vilt_page,
    visualbert,
    visualbert_page,
    vit,
    vit_page,
    whisper,
    whisper_page,
)
from sensorium.claims.page import Page
from sensorium.claims.record import Record, complete, write

SYSTEMS: dict[str, tuple[ModuleType, ModuleType | Page]] = {
    "albef": (albef, albef_page.PAGE),
    "clip": (clip, clip_page),
    "codex": (codex, codex_page.PAGE),
    "flamingo": (flamingo, flamingo_page),
    "llava": (llava, llava_page.PAGE),
    "lxmert": (lxmert, lxmert_page.PAGE),
    "pretraining": (pretraining, pretraining_page.PAGE),
    "starcoder": (starcoder, starcoder_page.PAGE),
    "uniter": (uniter, uniter_page.PAGE),
    "vilbert": (vilbert, vilbert_page.PAGE),
    "vilt": (vilt, vilt_page.PAGE),
    "visualbert": (visualbert, visualbert_page.PAGE),
    "vit": (vit, vit_page),
    "whisper": (whisper, whisper_page.PAGE),
}


def reproduce(systems: list[str], out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Runs what is not yet in the records under `out`, and writes a page and a plot a system.

    Args:
        systems: names of systems whose claims can be measured.
        out: holds one folder a system: results.jsonl (every result, kept), verdicts.json,
            README.md and claim.png. Delete results.jsonl to measure again.
        say: is told how far it is.

    Returns:
        {system: {"verdicts": [...], "cpu_seconds": ...}}.

    Raises:
        ValueError: a system has no claim here, or a record is of another design.
    """
    unknown = [name for name in systems if name not in SYSTEMS]
    if unknown:
        known = ", ".join(sorted(SYSTEMS))
        raise ValueError(f"no claim of {unknown[0]!r} can be measured; choose among: {known}")
    workers = os.cpu_count() or 1
    return {
        name: measure(name, SYSTEMS[name][0].FULL, out / name, say, workers)
        for name in dict.fromkeys(systems)
    }


def measure(
    system: str, design: Any, out: Path, say: Callable[[str], None], workers: int
) -> dict[str, Any]:
    """One system's claims by a design of its own, see `reproduce`."""
    experiment, page = SYSTEMS[system]
    record = Record(out / "results.jsonl", design)
    complete(record, design, experiment.jobs(design), experiment.work, say, workers)
    verdicts = page.verdicts(record, design)
    found = {"verdicts": [v.plain() for v in verdicts], "cpu_seconds": round(record.cpu(), 1)}
    write(out / "verdicts.json", json.dumps(found, indent=1) + "\n")
    page.plot(record, design, out / "claim.png")
    write(out / "README.md", page.text(record, design, verdicts))
    for verdict in verdicts:
        say(f"{system}: {verdict.claim}: {verdict.word}")
    return found
