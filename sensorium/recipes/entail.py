"""Visual entailment (SNLI-VE): a picture entails a sentence, contradicts it, or neither."""

from functools import cache
from typing import Any

from sensorium.datasets.snli_ve import LABELS
from sensorium.recipes.parts import halves, hypotheses, shape
from sensorium.recipes.questions import Cut, Problem, Respond, detected_by
from sensorium.recipes.vqa import SYSTEMS, Effort, answering
from sensorium.tasks.answers import entailment
from sensorium.tasks.scores import Scores
from sensorium.train.run import Run

OWN = ("albef", "uniter", "vilbert")  # systems whose papers have a head for it


def score(parts: Cut, respond: Respond, said: dict[str, Any]) -> Scores:
    """Accuracy on the test part, of all and by label."""
    return entailment(respond, parts.test, **said)


ENTAIL = Problem("entail", lambda system: "entail" if system in OWN else "vqa", LABELS, score)


def entail(
    data: str,
    system: SYSTEMS = "albef",
    detector: str | None = None,
    start: str | None = None,
    steps: int = 2000,
    batch: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
) -> Run:
    """Train a net that tells whether a picture entails a sentence, from files as SNLI-VE has them.

    Args:
        data: a folder with snli_ve_train.jsonl and snli_ve_dev.jsonl or snli_ve_test.jsonl, and one
            folder of pictures.
        system: vilt and albef see pixels; the others a detector's regions.
        detector: the checkpoint folder of a detector, for systems that see regions.
        start: a checkpoint folder of the same system to go on from.
        steps: optimiser steps.
        batch: sentences a step.
        lr: peak learning rate.
        seed: of everything random.
    """

    @cache
    def found() -> Cut:
        train, test = halves(hypotheses(data), data)
        return Cut(train, test, shape(train))

    effort = Effort(steps, batch, lr, "float32", seed)
    about = {"questions": data, "system": system}
    return answering(system, found, detected_by(detector, found), start, effort, about, ENTAIL)
