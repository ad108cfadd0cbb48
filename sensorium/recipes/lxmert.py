"""LXMERT: matching, hidden words, three questions about objects, and answers, on one pass."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sensorium.models.lxmert import ObjectSize
from sensorium.objectives import masked_regions, masked_words, matching
from sensorium.objectives.answering import Answering
from sensorium.objectives.lxmert_objects import Named, SmoothFeature
from sensorium.objectives.masked_regions import MaskedRegions, Projected, RegionLoss
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass, Part
from sensorium.recipes.pretrain import Effort, Made, System
from sensorium.recipes.pretrain import pretrain as shared
from sensorium.recipes.told import ANSWERS
from sensorium.train.run import Run
from sensorium.types import Objective


def pretrain(
    data: str = "nlvr",
    objectives: str = "itm,mlm,obj,attr,feat,qa",
    see: Literal["regions", "patches"] = "regions",
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    slices: int = 1,
    seed: int = 0,
) -> Run:
    """Pre-train a small LXMERT on captioned pictures with boxes.

    Args:
        data: nlvr, coco_open, or scenes (drawn here: a few coloured shapes each).
        objectives: of itm, mlm, obj, attr, feat and qa, with commas between.
        see: what the boxes cut out, or a grid of squares in place of it.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        slices: pieces a batch is cut into to save memory.
        seed: of everything random.
    """
    return shared(LXMERT, data, objectives, see, Effort(steps, batch, lr, slices, seed))


SEEN = ("obj", "attr", "feat")  # asked of regions that are hidden once


def heads(names: Sequence[str], made: Made) -> dict[str, Any]:
    """The heads that these objectives need."""
    size = ObjectSize(1, len(made.labels), max(1, len(made.attributes)))
    return dict(heads=[*names], image=size, answers=len(ANSWERS))


def asks(names: Sequence[str], made: Made) -> Mapping[str, tuple[Objective, float]]:
    """All losses on one pass, all with weight 1 (those of objects bring 1 / 0.15 along)."""
    seen: dict[str, RegionLoss] = {
        "obj": Named("obj"),
        "attr": Named("attr"),
        "feat": SmoothFeature(of=Projected(made.feature, made.seen)),
    }
    parts: list[Part] = []
    if "itm" in names:
        parts.append(Matching(matching.LXMERT))
    if "mlm" in names:
        parts.append(MaskedWords(made.words, masked_words.LXMERT))
    if asked := [seen[name] for name in SEEN if name in names]:
        parts.append(MaskedRegions(masked_regions.LXMERT, *asked))
    if "qa" in names:
        parts.append(Answering())
    return {"pass": (OnePass(*parts), 1.0)}


LXMERT = System(
    "lxmert",
    known=("itm", "mlm", *SEEN, "qa"),
    heads=heads,
    asks=asks,
    match=matching.LXMERT,
    detected=("obj", "attr"),
)
