"""Classification by names alone: each class is a sentence, each picture picks the nearest one.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
section 3.1: a class's vector is the normalised mean of the unit vectors of its prompts.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from sensorium.tasks.records import (
    Embedder,
    Progress,
    Records,
    TaskError,
    embed_images,
    embed_texts,
    fingerprint,
    in_order,
    read,
    records,
    write,
)
from sensorium.tasks.retrieval import Found, rank
from sensorium.tasks.scores import Scores, score
from sensorium.types import Labelled

TEMPLATES = ("a photo of a {}.",)


def zero_shot(
    model: Embedder,
    samples: Sequence[Labelled],
    labels: Sequence[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    repeated: Literal["refuse", "merge"] = "refuse",
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores zero-shot classification with an ensemble of prompts.

    Args:
        model: embeds pictures and texts into one space.
        samples: pictures and the places of their classes in `labels`.
        labels: the names of the classes.
        templates: prompts with one `{}` for the name; kept word for word in the header.
        repeated: what to do when two classes carry one name, which no model can tell apart:
            refuse, or merge them into the first (the header tells which).
        path: where the records file is written; None: nowhere.
        about: more facts for its header; give `split` and `model` (a fingerprint).
        progress: called with (embedded so far, all prompts and pictures).

    Returns:
        {"accuracy": {"top1", "top5", "mean_per_class"}, "per_class": {label: its top1}}.
        A tie counts against the model. Classes without a picture are in no mean; with at most
        five classes top5 is 1 by definition.

    Raises:
        TaskError: no samples, a label out of range, repeated labels, a template without its
            place, an embedding that is NaN or no unit vector.
    """
    merged = merge(labels, repeated)
    names = [label for place, label in enumerate(labels) if merged[place] == place]
    at = {label: place for place, label in enumerate(names)}
    targets, order, data = listing(samples, labels)
    targets = [at[labels[target]] for target in targets]
    total = len(names) * len(templates) + len(order)

    def prompts_done(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    def pictures_done(done: int, _: int) -> None:
        if progress is not None:
            progress(total - len(order) + done, total)

    classes = class_vectors(model, names, templates, prompts_done)
    vectors = embed_images(model, lambda i: samples[order[i]].image, len(order), pictures_done)
    found = rank(vectors, classes, [[target] for target in targets], kept=5)
    ids = [samples[place].id for place in order]
    facts = {
        "data": data,
        "split": None,
        "model": None,
        "templates": list(templates),
        "merged": [[labels[i], i, int(m)] for i, m in enumerate(merged) if i != m],
    }
    kept = class_records("zero-shot", names, ids, targets, found, facts | dict(about or {}))
    if path is not None:
        write(path, kept)
    return score(kept)


def class_vectors(
    model: Embedder,
    labels: Sequence[str],
    templates: Sequence[str] = TEMPLATES,
    progress: Progress | None = None,
) -> Float[np.ndarray, "v e"]:
    """One unit vector a class: the normalised mean over its prompts' unit vectors."""
    if not templates:
        raise TaskError("zero-shot needs at least one template, such as 'a photo of a {}.'")
    for template in templates:
        if template.count("{}") != 1:
            raise TaskError(f"template {template!r} needs exactly one {{}} where the name goes")
    # only {} is replaced: a label or template may hold other braces
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    vectors = embed_texts(model, prompts, progress).astype(np.float64)
    means = vectors.reshape(len(labels), len(templates), -1).mean(axis=1)
    norms = np.sqrt((means * means).sum(axis=1, keepdims=True))
    if (norms < 1e-6).any():
        label = labels[int(norms.argmin())]
        raise TaskError(f"the prompts of class {label!r} cancel out: their mean has no direction")
    return (means / norms).astype(np.float32)


# --- what every classification shares ------------------------------------------------------------


def listing(samples: Sequence[Labelled], labels: Sequence[str]) -> tuple[list[int], list[int], str]:
    """Targets in the order of ids, that order, and the fingerprint of the set."""
    entries = []
    for place in range(len(samples)):
        one = samples[place]
        if not 0 <= one.label < len(labels):
            raise TaskError(f"sample {one.id}: label {one.label} of {len(labels)} classes")
        entries.append((one.id, int(one.label), hashlib.sha256(one.image).hexdigest()))
    order = in_order([entry[0] for entry in entries])
    entries = [entries[place] for place in order]
    data = fingerprint([("labels", *labels), *entries])
    return [label for _, label, _ in entries], order, data


def merge(labels: Sequence[str], repeated: Literal["refuse", "merge"]) -> list[int]:
    """For each class the first of its name; an error when names repeat and that is not wanted."""
    if not labels:
        raise TaskError("there are no classes: the list of labels is empty")
    first: dict[str, int] = {}
    merged = [first.setdefault(label, place) for place, label in enumerate(labels)]
    again = [place for place, keep in enumerate(merged) if place != keep]
    if again and repeated == "refuse":
        place = again[0]
        raise TaskError(
            f"classes {merged[place]} and {place} are both named {labels[place]!r}"
            f" ({len(again)} repeats in all); give them different names, or merge them"
            ' with repeated="merge"'
        )
    return merged


def class_records(
    task: str,
    labels: Sequence[str],
    ids: Sequence[str],
    targets: Sequence[int],
    found: Sequence[Found],
    facts: Mapping[str, Any],
) -> Records:
    """Records of a classification: one a picture, with the class predicted.

    Predicted is the first class, but where a wrong class ties with the right one the wrong one.
    """
    rows = []
    for name, target, one in zip(ids, targets, found, strict=True):
        # with a rank above 1 a wrong class is first, or second and level
        wrong = next((place for place, _ in one.top if place != target), target)
        row = {"part": "accuracy", "id": name, "cluster": name, "label": target}
        rows.append(row | {"predicted": target if one.rank == 1 else wrong} | one.marks(labels))
    hit = {"of": "rank", "at_most": 1, "summary": "mean"}
    metrics = {
        "accuracy": {
            "top1": hit | {"meaning": "share of pictures whose class comes first"},
            "top5": hit | {"at_most": 5, "meaning": "share whose class is among the first 5"},
            "mean_per_class": hit
            | {"summary": "mean_by_group", "by": "label", "meaning": "mean of the classes' top1"},
        },
        "per_class": {
            labels[target]: hit | {"from": "accuracy", "where": ["label", target]}
            for target in sorted(set(targets))
        },
    }
    return records(task, metrics, {"labels": list(labels)} | dict(facts), rows)


def confusion(
    source: str | os.PathLike[str] | Records,
) -> tuple[list[str], Int[np.ndarray, "v v"]]:
    """The labels, and how often a picture of class i (row) was taken for class j (column)."""
    kept = source if isinstance(source, Records) else read(source)
    labels = kept.header.get("labels")
    if labels is None:
        raise TaskError(f"records of the task {kept.header['task']!r} have no classes to confuse")
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for row in kept.rows:
        if row["part"] == "accuracy":
            table[row["label"], row["predicted"]] += 1
    return labels, table
