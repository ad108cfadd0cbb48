"""Referring expressions: which region of a picture is meant, as RefCOCO has it."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Literal

import numpy as np

from sensorium.data.questions import Box, Question, Reference
from sensorium.datasets.asked import Entry, Questions, References
from sensorium.media import open_image
from sensorium.models.question_inputs import Features
from sensorium.recipes.parts import expressions, halves, shape
from sensorium.recipes.questions import Cut, Problem, Respond, detected_by
from sensorium.recipes.vqa import Effort, answering
from sensorium.tasks.grounding import LIMIT, grounding, overlap
from sensorium.tasks.scores import Scores
from sensorium.train.run import Run

Seen = Callable[[], Mapping[str, Sequence[Features]] | None]


def refer(
    data: str,
    system: Literal["uniter", "vilbert"] = "uniter",
    detector: str | None = None,
    start: str | None = None,
    steps: int = 1000,
    batch: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
) -> Run:
    """Train a net that picks the region which an expression means, from files as RefCOCO has them.

    Args:
        data: a folder with refs(...).p or refs....json, instances.json and one folder of pictures.
        system: a system that has a head for it.
        detector: the checkpoint folder of a detector, whose regions are then the candidates; left
            out, they are all boxes of the picture, as instances.json has them.
        start: a checkpoint folder of the same system to go on from.
        steps: optimiser steps.
        batch: expressions a step.
        lr: peak learning rate.
        seed: of everything random.
    """

    @cache
    def both() -> tuple[References, References]:
        return halves(expressions(data), data)

    @cache
    def plain() -> Cut:
        parts = [asked(one, None) for one in both()]
        return Cut(parts[0], parts[1], shape(parts[0]))

    seen = detected_by(detector, plain)

    @cache
    def found() -> Cut:
        features = seen()
        if features is None:
            return plain()
        return plain()._replace(train=asked(both()[0], features), test=asked(both()[1], features))

    score = partial(picked, lambda: both()[1], seen)
    problem = Problem("refer", lambda system: "ground", None, score, places=True)
    effort = Effort(steps, batch, lr, "float32", seed)
    about = {"questions": data, "system": system}
    return answering(system, found, seen, start, effort, about, problem)


def asked(data: References, features: Mapping[str, Sequence[Features]] | None) -> Questions:
    """Expressions as questions whose answer is the place of a region.

    Of a detector's regions it is the one that overlaps the truth most; where none does by half, the
    expression has no answer.
    """
    entries = []
    for number, (file, one) in enumerate(data.entries):
        boxes, limit = one.boxes, 0.0
        if features is not None:
            boxes, limit = scaled(features[one.id][0], data[number].image, one.id), LIMIT
        over = [overlap(box, one.truth, one.id) for box in boxes]
        best = int(np.argmax(over)) if over else 0
        answers = (str(best),) if over and over[best] > limit else ()
        entries.append(Entry((file,), one.text, answers, one.id, one.cluster, boxes=(boxes,)))
    return Questions(data.root, entries)


def scaled(seen: Features, image: bytes, name: str) -> tuple[Box, ...]:
    """A detector's boxes in pixels."""
    width, height = open_image(image, name=name).size
    found = seen.boxes * np.array([width, height] * 2, dtype=np.float32)
    return tuple(tuple(map(float, box)) for box in found)  # type: ignore[misc]


def picked(
    test: Callable[[], References], seen: Seen, parts: Cut, respond: Respond, said: dict[str, Any]
) -> Scores:
    """How often the picked box overlaps the truth by half."""
    boxes = {one.id: one.boxes[0] for one in parts.test.entries}

    def pick(some: Sequence[Reference]) -> list[Box]:
        questions = [
            Question((one.image,), one.text, (), one.id, one.cluster, boxes=(boxes[one.id],))
            for one in some
        ]
        places = [int(one.text) for one in respond(questions)]
        own = [boxes[one.id] for one in some]
        return [some[min(k, len(some) - 1)] for k, some in zip(places, own, strict=True)]

    return grounding(pick, test(), **said)
