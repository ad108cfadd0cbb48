"""ViLT: whole words hidden in one reading, matching and word-patch alignment in another."""

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.objectives import masked_words, matching, transport
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass
from sensorium.recipes.pretrain import Effort, Made, System
from sensorium.recipes.pretrain import pretrain as shared
from sensorium.train.run import Run
from sensorium.types import Objective


def pretrain(
    data: str = "nlvr",
    objectives: str = "mlm,itm,wpa",
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    slices: int = 1,
    seed: int = 0,
) -> Run:
    """Pre-train a small ViLT on captioned pictures.

    Args:
        data: nlvr, coco_open, or scenes (drawn here: a few coloured shapes each).
        objectives: of mlm, itm and wpa (with itm), with commas between.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        slices: pieces a batch is cut into to save memory.
        seed: of everything random.
    """
    return shared(VILT, data, objectives, "pixels", Effort(steps, batch, lr, slices, seed))


def heads(names: Sequence[str], made: Made) -> dict[str, Any]:
    """The heads that these objectives need."""
    return dict(heads=[name for name in names if name != "wpa"])


def asks(names: Sequence[str], made: Made) -> Mapping[str, tuple[Objective, float]]:
    """Two readings of the same pictures a step, their losses summed."""
    wpa = [transport.VILT] if "wpa" in names else []
    rule = masked_words.VILT._replace(padded=made.length)
    every = {
        "mlm": lambda: OnePass(MaskedWords(made.words, rule)),
        "itm": lambda: OnePass(Matching(matching.VILT), *wpa),
    }
    return {name: (every[name](), 1.0) for name in names if name in every}


VILT = System(
    "vilt",
    known=("mlm", "itm", "wpa"),
    heads=heads,
    asks=asks,
    match=matching.VILT,
    beside=(("wpa", "itm"),),
)
