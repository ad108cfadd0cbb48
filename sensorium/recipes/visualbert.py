"""VisualBERT: is the second caption of this picture too, and which words are hidden in both?"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sensorium.objectives import masked_words, matching
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass, Part
from sensorium.recipes.pretrain import Effort, Made, System
from sensorium.recipes.pretrain import pretrain as shared
from sensorium.train.run import Run
from sensorium.types import Objective


def pretrain(
    data: str = "nlvr",
    objectives: str = "itm,mlm",
    see: Literal["regions", "patches"] = "regions",
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    slices: int = 1,
    seed: int = 0,
) -> Run:
    """Pre-train a small VisualBERT on captioned pictures with boxes.

    Args:
        data: nlvr, coco_open, or scenes (drawn here: a few coloured shapes each).
        objectives: of itm and mlm, with commas between.
        see: what the boxes cut out, or a grid of squares in place of it.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        slices: pieces a batch is cut into to save memory.
        seed: of everything random.
    """
    return shared(VISUALBERT, data, objectives, see, Effort(steps, batch, lr, slices, seed))


def heads(names: Sequence[str], made: Made) -> dict[str, Any]:
    """The heads that these objectives need."""
    return dict(heads=[*names])


def asks(names: Sequence[str], made: Made) -> Mapping[str, tuple[Objective, float]]:
    """Both losses on one pass; a pair of captions is cut to the net's length."""
    convention = matching.VISUALBERT._replace(longest=made.length)
    every: dict[str, Part] = {
        "itm": Matching(convention),
        "mlm": MaskedWords(made.words, masked_words.VISUALBERT),
    }
    return {"pass": (OnePass(*(every[name] for name in names)), 1.0)}


VISUALBERT = System(
    "visualbert",
    known=("itm", "mlm"),
    heads=heads,
    asks=asks,
    match=matching.VISUALBERT,
    two=True,
)
