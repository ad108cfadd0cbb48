"""Scenes and a clumsy detector's answers, drawn by seed: mAP is held against others' on them."""

import numpy as np

from sensorium.tasks.detection import Answer
from sensorium.types import Boxed

CLASSES, PICTURES = 4, 60


def drawn(seed: int = 0) -> tuple[list[Boxed], dict[str, Answer]]:
    """Pictures with crowds, classes without objects, ties of scores, answers twice and missed."""
    rng = np.random.default_rng(seed)
    samples, answers = [], {}
    for i in range(PICTURES):
        n = int(rng.integers(0, 9))
        low, sides = rng.uniform(0, 80, (n, 2)), rng.uniform(5, 40, (n, 2))
        boxes = np.concatenate([low, low + sides], axis=1)
        labels, crowd = rng.integers(0, CLASSES - 1, n), rng.random(n) < 0.12
        rows = [tuple(row) for row in boxes.tolist()]
        name = f"{i:03d}"
        nothing = (-1,) * n
        samples.append(
            Boxed(b"", tuple(rows), tuple(labels.tolist()), nothing, tuple(crowd.tolist()), name)
        )
        again = [j for j in range(n) if rng.random() < 0.8 for _ in range(int(rng.integers(1, 3)))]
        near = boxes[again] + rng.normal(0, 2, (len(again), 4))
        stray = rng.uniform(0, 80, (3, 2))
        found = np.concatenate([near, np.concatenate([stray, stray + 20], axis=1)])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        swapped = rng.integers(0, CLASSES - 1, len(again))
        said = np.where(rng.random(len(again)) < 0.9, labels[again], swapped)
        kinds = np.concatenate([said, rng.integers(0, CLASSES, 3)]).astype(np.int64)
        scores = np.round(rng.random(len(kinds)), 2)
        order = np.argsort(-scores, kind="stable")
        answers[name] = Answer(found[order], scores[order], kinds[order])
    return samples, answers
