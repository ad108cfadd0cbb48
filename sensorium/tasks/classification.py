"""Classification by a model that knows its classes: accuracy, from per-sample records.

Definitions are those of `zero_shot`; a tie counts against the model.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sensorium.tasks.linear_probe import by_logits
from sensorium.tasks.records import READ, Progress, TaskError, write
from sensorium.tasks.scores import Scores, score
from sensorium.tasks.zero_shot import class_records, listing
from sensorium.types import Labelled


def classification(
    shares: Callable[[Sequence[bytes]], Float[np.ndarray, "b v"]],
    samples: Sequence[Labelled],
    labels: Sequence[str],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores a classifier.

    Args:
        shares: gives one number a class for each picture; the largest is its answer.
        samples: pictures and the places of their classes in `labels`.
        labels: the names of the classes.
        path: where the records file is written; None: nowhere.
        about: more facts for its header; give `split` and `model` (a fingerprint).
        progress: called with (pictures asked so far, all pictures).

    Returns:
        {"accuracy": {"top1", "top5", "mean_per_class"}, "per_class": {label: its top1}}.

    Raises:
        TaskError: no samples, an id twice, a label out of range, an answer that is not finite.
    """
    targets, order, data = listing(samples, labels)
    answers = []
    for start in range(0, len(order), READ):
        answers.append(shares([samples[place].image for place in order[start : start + READ]]))
        if progress is not None:
            progress(min(start + READ, len(order)), len(order))
    numbers = np.concatenate(answers)
    if numbers.shape != (len(order), len(labels)) or not np.isfinite(numbers).all():
        raise TaskError(
            f"answers of shape {numbers.shape}, or not finite, for {len(labels)} classes"
        )
    facts = {"data": data, "split": None, "model": None} | dict(about or {})
    ids = [samples[place].id for place in order]
    found = by_logits(numbers, targets)
    kept = class_records("classification", labels, ids, targets, found, facts)
    if path is not None:
        write(path, kept)
    return score(kept)
