"""Statements about two pictures, true or false, as NLVR2 has them."""

from functools import cache
from typing import Any

from sensorium.recipes.parts import halves, shape, statements
from sensorium.recipes.questions import Cut, Problem, Respond, detected_by
from sensorium.recipes.vqa import SYSTEMS, Effort, answering
from sensorium.tasks.answers import nlvr2
from sensorium.tasks.scores import Scores
from sensorium.train.run import Run


def score(parts: Cut, respond: Respond, said: dict[str, Any]) -> Scores:
    """Accuracy and consistency on the test part."""
    return nlvr2(respond, parts.test, **said)


PAIRS = Problem("pairs", lambda system: "nlvr", ("false", "true"), score)


def pairs(
    data: str,
    system: SYSTEMS = "vilt",
    detector: str | None = None,
    start: str | None = None,
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
) -> Run:
    """Train a net that judges statements about two pictures, from files as NLVR2 has them.

    Args:
        data: a folder with train.json and dev.json or test1.json (JSON lines), pictures in folders
            of the parts' names.
        system: vilt and albef see pixels; the others a detector's regions.
        detector: the checkpoint folder of a detector, for systems that see regions.
        start: a checkpoint folder of the same system to go on from.
        steps: optimiser steps.
        batch: statements a step.
        lr: peak learning rate.
        seed: of everything random.
    """

    @cache
    def found() -> Cut:
        train, test = halves(statements(data), data)
        return Cut(train, test, shape(train))

    effort = Effort(steps, batch, lr, "float32", seed)
    about = {"questions": data, "system": system}
    return answering(system, found, detected_by(detector, found), start, effort, about, PAIRS)
