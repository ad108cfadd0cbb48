"""Multiple choice: the share of questions whose right candidate was chosen (VCR; chance 1 in 4)."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sensorium.data.questions import Choice
from sensorium.tasks.answers import HIT
from sensorium.tasks.asking import ask, data
from sensorium.tasks.records import Progress, Records, TaskError, records, write
from sensorium.tasks.scores import Scores, score


def choices(
    choose: Callable[[Sequence[Choice]], Sequence[int]],
    samples: Sequence[Choice],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores chosen candidates: {"choices": {"accuracy"}}; intervals by picture.

    Args:
        choose: gives the place of a candidate for each question.
        path, about, progress: as in `vqa`.

    Raises:
        TaskError: no samples, an id twice, a question whose label is kept back, no such candidate.
    """
    rows, facts = [], []
    for one, place in ask(choose, samples, progress):
        if not 0 <= one.label < len(one.choices) or not 0 <= place < len(one.choices):
            raise TaskError(
                f"question {one.id}: candidate {place} chosen, {one.label} right, of"
                f" {len(one.choices)} (-1: the truth is kept back, so there is no score)"
            )
        row = {"part": "choices", "id": one.id, "cluster": one.cluster, "chosen": int(place)}
        rows.append(row | {"label": one.label, "wrong": int(place != one.label)})
        facts.append((one.id, one.text, one.choices, one.label))
    metrics = {"choices": {"accuracy": HIT | {"meaning": "share of right choices"}}}
    kept = records("choices", metrics, data(facts) | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def both(answer: Records, rationale: Records) -> Scores:
    """Q to AR from the records of the two questions: both must be right (Zellers et al. 2019).

    TaskError: the records are not of the same questions.
    """
    right = {row["id"]: row for row in rationale.rows}
    if {row["id"] for row in answer.rows} != right.keys():
        raise TaskError("the records of answers and of reasons are not of the same questions")
    rows = [row | {"wrong": max(row["wrong"], right[row["id"]]["wrong"])} for row in answer.rows]
    return score(Records(answer.header, rows))
