"""UNITER: one task a step, drawn; words and regions are never hidden at once."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sensorium.objectives import masked_regions, masked_words, matching, transport
from sensorium.objectives.masked_regions import Class, Classes, Feature, MaskedRegions, Projected
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass
from sensorium.recipes.pretrain import Effort, Made, System
from sensorium.recipes.pretrain import pretrain as shared
from sensorium.train.run import Run
from sensorium.types import Objective

SHARES = {"itm": 2.0, "mlm": 2.0, "mrfr": 1.0, "mrc": 1.0, "mrckl": 1.0}  # COCO's and VG's


def pretrain(
    data: str = "nlvr",
    objectives: str = "mlm,itm,wra,mrfr,mrckl",
    see: Literal["regions", "patches"] = "regions",
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    slices: int = 1,
    seed: int = 0,
) -> Run:
    """Pre-train a small UNITER on captioned pictures with boxes.

    Args:
        data: nlvr, coco_open, or scenes (drawn here: a few coloured shapes each).
        objectives: of mlm, itm, wra (with itm), mrfr, mrc, mrckl, with commas between.
        see: what the boxes cut out, or a grid of squares in place of it.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        slices: pieces a batch is cut into to save memory.
        seed: of everything random.
    """
    return shared(UNITER, data, objectives, see, Effort(steps, batch, lr, slices, seed))


def heads(names: Sequence[str], made: Made) -> dict[str, Any]:
    """The heads that these objectives need."""
    kinds = {"mlm": "mlm", "itm": "itm", "mrfr": "mrfr", "mrc": "mrc", "mrckl": "mrc"}
    wanted = dict.fromkeys(kinds[name] for name in names if name in kinds)
    return dict(heads=[*wanted], classes=len(made.labels) + 1)


def asks(names: Sequence[str], made: Made) -> Mapping[str, tuple[Objective, float]]:
    """One pass a task; the alignment of words and regions is asked in the matching's."""
    wra = [transport.UNITER] if "wra" in names else []
    feature = Feature(of=Projected(made.feature, made.seen))

    def regions(loss: masked_regions.RegionLoss) -> OnePass:
        return OnePass(MaskedRegions(masked_regions.UNITER, loss))

    every = {
        "itm": lambda: OnePass(Matching(matching.UNITER), *wra),
        "mlm": lambda: OnePass(MaskedWords(made.words, masked_words.UNITER)),
        "mrfr": lambda: regions(feature),
        "mrc": lambda: regions(Class()),
        "mrckl": lambda: regions(Classes("classes")),
    }
    return {name: (every[name](), 1.0) for name in names if name in every}


UNITER = System(
    "uniter",
    known=("itm", "wra", "mlm", "mrfr", "mrc", "mrckl"),
    heads=heads,
    asks=asks,
    draw=SHARES,
    match=matching.UNITER,
    beside=(("wra", "itm"),),
    detected=("mrc", "mrckl"),
)
