"""Referring expressions: is the box that was picked the one that is meant (IoU at least 0.5)?

Kazemzadeh et al. (2014), Yu et al. (2016). With the true boxes as candidates this is the share of
expressions whose object was picked; with a detector's, picking a box that overlaps enough counts.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sensorium.data.questions import Box, Reference
from sensorium.tasks.asking import ask, data
from sensorium.tasks.records import Progress, TaskError, records, write
from sensorium.tasks.scores import Scores, score

LIMIT = 0.5


def grounding(
    pick: Callable[[Sequence[Reference]], Sequence[Box]],
    samples: Sequence[Reference],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores picked boxes.

    Args:
        pick: gives a box for each expression (of the candidates, or any other).
        path, about, progress: as in `vqa`.

    Returns:
        {"grounding": {"accuracy@0.5", "iou"}}; intervals by picture.

    Raises:
        TaskError: no samples, an id twice, a box without area.
    """
    rows, facts = [], []
    for one, box in ask(pick, samples, progress):
        over = overlap(box, one.truth, one.id)
        row = {"part": "grounding", "id": one.id, "cluster": one.cluster, "text": one.text}
        row |= {"picked": list(map(float, box)), "truth": list(map(float, one.truth))}
        rows.append(row | {"iou": over, "apart": 1 - over, "candidates": len(one.boxes)})
        facts.append((one.id, one.text, one.boxes, one.truth))
    hit = {"of": "apart", "at_most": 1 - LIMIT, "summary": "mean"}
    metrics = {
        "grounding": {
            f"accuracy@{LIMIT}": hit | {"meaning": f"share of boxes that overlap by {LIMIT}"},
            "iou": {"of": "iou", "summary": "mean", "meaning": "mean overlap with the truth"},
        }
    }
    kept = records("grounding", metrics, data(facts) | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def overlap(one: Box, other: Box, name: str) -> float:
    """Intersection over union of two boxes. TaskError: one has no area."""
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other) if x2 > x1 and y2 > y1]
    if len(areas) != 2:
        raise TaskError(f"{name}: boxes {one} and {other}: one of them has no area")
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    return both / (areas[0] + areas[1] - both)
