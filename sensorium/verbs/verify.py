"""All probes of a checkpoint, in every precision: the drift of each value, and whether it holds."""

import os
from typing import Any

import torch

from sensorium.verbs.load import DTYPES, assemble
from sensorium.verbs.prove import prove
from sensorium.weights import folder as folders


def verify(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Checks every file's SHA-256 and runs every probe in float32 and bf16.

    Raises:
        WeightsError: a file has changed, or the folder carries no probes to prove it with.
    """
    saved = folders.load(folder, full_check=True)
    probes = saved.probes()
    if not probes:
        raise ValueError(
            f"{folder} carries no probes: nothing can be proved (a state inside a run?)"
        )
    out: dict[str, Any] = {"folder": str(saved.folder), "probes": len(probes), "drift": {}}
    holds = True
    for precision in ("float32", "bf16"):
        model = assemble(saved.tensors, saved.manifest, saved.folder)
        model.net.to(DTYPES[precision])
        drifts = prove(model, probes)
        out["drift"][precision] = {f"{i} {d.name}": d.drift for i, d in enumerate(drifts)}
        out.setdefault("largest", {})[precision] = max(d.drift for d in drifts)
        holds = holds and all(d.ok for d in drifts)
    out["holds"] = holds
    out["torch"] = torch.__version__
    return out
