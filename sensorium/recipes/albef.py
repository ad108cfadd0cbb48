"""ALBEF: contrast with a slow teacher, matching of hard pairs, and hidden words, on one pass."""

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.objectives.aligned import Aligned
from sensorium.objectives.momentum import Queue, Slow
from sensorium.recipes.pretrain import Effort, Made, System
from sensorium.recipes.pretrain import pretrain as shared
from sensorium.train.run import Run
from sensorium.types import Objective


def pretrain(
    data: str = "nlvr",
    objectives: str = "itc,itm,mlm",
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    slices: int = 1,
    seed: int = 0,
) -> Run:
    """Pre-train a small ALBEF on captioned pictures.

    Args:
        data: nlvr, coco_open, or scenes (drawn here: a few coloured shapes each).
        objectives: of itc, itm and mlm, with commas between.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        slices: pieces a batch is cut into to save memory.
        seed: of everything random.
    """
    return shared(ALBEF, data, objectives, "pixels", Effort(steps, batch, lr, slices, seed))


EMBED = 32  # width of the shared space
QUEUE = 1024  # pairs that the teacher's queue holds, at least four batches
SOFT = 0.4  # share of the teacher's opinion, reached after a fifth of the steps


def heads(names: Sequence[str], made: Made) -> dict[str, Any]:
    """The heads that these objectives need."""
    return dict(heads=[name for name in names if name != "itc"], embed=EMBED)


def asks(names: Sequence[str], made: Made) -> Mapping[str, tuple[Objective, float]]:
    """All losses on one pass of the towers."""
    effort = made.effort
    teacher = made.declaration.build()
    if "itm" in teacher.get_submodule("heads")._modules:
        del teacher.get_submodule("heads")._modules["itm"]
    queue = Queue(max(QUEUE, 4 * effort.batch), EMBED, effort.seed)
    slow = Slow(soft=SOFT, ramp=max(1, effort.steps // 5))
    return {"pass": (Aligned(teacher, queue, made.words, slow, tuple(names)), 1.0)}


ALBEF = System(
    "albef",
    known=("itc", "itm", "mlm"),
    heads=heads,
    asks=asks,
)
