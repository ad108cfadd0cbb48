"""ViLBERT: matching, hidden words and the classes of hidden regions on one pass."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sensorium.models.vilbert import Answers
from sensorium.objectives import masked_regions, masked_words, matching
from sensorium.objectives.masked_regions import Classes, MaskedRegions
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass, Part
from sensorium.recipes.pretrain import Effort, Made, System
from sensorium.recipes.pretrain import pretrain as shared
from sensorium.train.run import Run
from sensorium.types import Objective


def pretrain(
    data: str = "nlvr",
    objectives: str = "itm,mlm,mrc",
    see: Literal["regions", "patches"] = "regions",
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    slices: int = 1,
    seed: int = 0,
) -> Run:
    """Pre-train a small ViLBERT on captioned pictures with boxes.

    Args:
        data: nlvr, coco_open, or scenes (drawn here: a few coloured shapes each).
        objectives: of itm, mlm and mrc, with commas between.
        see: what the boxes cut out, or a grid of squares in place of it.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        slices: pieces a batch is cut into to save memory.
        seed: of everything random.
    """
    return shared(VILBERT, data, objectives, see, Effort(steps, batch, lr, slices, seed))


def heads(names: Sequence[str], made: Made) -> dict[str, Any]:
    """The heads that these objectives need."""
    return dict(heads=[*names], answers=Answers(1, 1, len(made.labels) + 1))


def asks(names: Sequence[str], made: Made) -> Mapping[str, tuple[Objective, float]]:
    """All losses on one pass, also on wrong pairs (the first release)."""
    every: dict[str, Part] = {
        "itm": Matching(matching.VILBERT),
        "mlm": MaskedWords(made.words, masked_words.VILBERT),
        "mrc": MaskedRegions(masked_regions.VILBERT, Classes("regions")),
    }
    return {"pass": (OnePass(*(every[name] for name in names)), 1.0)}


VILBERT = System(
    "vilbert",
    known=("itm", "mlm", "mrc"),
    heads=heads,
    asks=asks,
    match=matching.VILBERT,
    detected=("mrc",),
)
