"""What a run saves beside its weights, so that it goes on as if it had never stopped.

Everything random is a function of seed and position, so the state is small: the optimiser's
moments, the weights that are trained (where an average of them is what is saved), and how far the
run got.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as tensors_from
from safetensors.torch import save as tensors_to

from sensorium.train.average import Average
from sensorium.train.parallel import Place, put, whole
from sensorium.train.run import Package
from sensorium.train.step import Step
from sensorium.weights import folder as folders

KEPT = 2  # checkpoints of a run that are kept; the older of them is there should the disk fail
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save(
    at: Path,
    step: Step,
    optimiser: torch.optim.Optimizer,
    average: Average | None,
    progress: dict[str, Any],
    package: Package,
    place: Place,
) -> None:
    """Writes a checkpoint at `at`, whole or not at all. Every rank must call it."""
    net = {name: whole(value) for name, value in step.net.state_dict().items()}
    own = {name: whole(value) for name, value in step.objectives.state_dict().items()}
    moments = {
        f"{name}/{key}": whole(optimiser.state[p][key])
        for name, p in step.named_parameters()
        if p in optimiser.state
        for key in MOMENTS
    }
    shadow = average and {n: whole(v) for n, v in average.values.items()}
    if not place.first:
        return
    files = {**package.files, "state/progress.json": json.dumps(progress, indent=1).encode()}
    files["state/optimiser.safetensors"] = tensors_to(moments)
    if own:
        files["state/objectives.safetensors"] = tensors_to(own)
    if shadow:
        files["state/net.safetensors"] = tensors_to(net)
    at.parent.mkdir(parents=True, exist_ok=True)
    folders.save(at, shadow or net, package.manifest, files)
    for old in _steps(at.parent)[:-KEPT]:
        shutil.rmtree(old)


def load(
    at: Path,
    step: Step,
    optimiser: torch.optim.Optimizer,
    average: Average | None,
    begun: dict[str, Any],
) -> dict[str, Any]:
    """Puts a checkpoint's state back and returns its progress.

    `begun` is the progress of a run that has not begun: it says what this one learns and is asked.

    Raises:
        WeightsError: the checkpoint is damaged.
        ValueError: it was written by a run with other parameters, rules or objectives, or by one
            that does not average its weights if this one does, or the reverse.
    """
    saved = folders.load(at)
    progress = json.loads((at / "state/progress.json").read_text())
    same_table(begun["table"], progress["table"], at)
    if begun["drawn"].keys() != progress["drawn"].keys():
        asked = f"{', '.join(progress['drawn'])} then, {', '.join(begun['drawn'])} now"
        raise ValueError(f"{at} was asked other objectives ({asked}); train anew")
    if (average is not None) != (at / "state/net.safetensors").exists():
        raise ValueError(f"{at}: weights are averaged then or now (ema), not both; train anew")
    net = saved.tensors
    if average is not None:
        for name, value in average.values.items():
            put(value, net[name])
        net = tensors_from((at / "state/net.safetensors").read_bytes())
    for name, value in step.net.state_dict().items():
        put(value, net[name])
    if step.objectives.state_dict():
        own = tensors_from((at / "state/objectives.safetensors").read_bytes())
        for name, value in step.objectives.state_dict().items():
            put(value, own[name])
    moments = tensors_from((at / "state/optimiser.safetensors").read_bytes())
    for name, p in step.named_parameters():
        if f"{name}/exp_avg" in moments:
            optimiser.state[p] = {
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
                # beside its parameter, where the fused kernel reads it
                "step": moments[f"{name}/step"].to(p.device, copy=True),
            }
            for key in ("exp_avg", "exp_avg_sq"):
                put(optimiser.state[p][key], moments[f"{name}/{key}"])
    return progress


def latest(run: Path) -> Path | None:
    """The newest whole checkpoint of a run's folder, None if there is none yet."""
    for at in reversed(_steps(run / "checkpoints")):
        if (at / "manifest.json").exists():
            return at
    return None


def place_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / "checkpoints" / f"step-{step:08d}"


def _steps(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if re.fullmatch(r"step-\d{8}", p.name))


def same_table(now: dict[str, str], then: dict[str, str], at: Path) -> None:
    """Refuses to resume when parameters or their rules are not what they were.

    Raises:
        ValueError: names the parameters that differ.
    """
    differ = sorted(n for n in set(now) | set(then) if now.get(n) != then.get(n))
    if differ:
        first = "; ".join(f"{n}: {then.get(n)} then, {now.get(n)} now" for n in differ[:3])
        raise ValueError(f"{at} was trained with other parameters or rules ({first}); train anew")
