"""Detection: mean average precision as COCO defines it, from per-picture records.

Of each class and picture the best 100 detections are matched, best first, with the truth they
overlap most among those that are left and overlap at least by the limit; a crowd takes any number
and none of them counts. Precision is made to fall with recall and read at 101 recalls; its mean is
the average precision, and the mean of that over the classes that have an object the score. `mAP` is
once more the mean over the limits 0.50, 0.55 to 0.95. (Lin et al. 2014, and pycocotools, to which
the figures are equal.)
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from sensorium.tasks.records import (
    Progress,
    Records,
    TaskError,
    fingerprint,
    in_order,
    read,
    records,
    write,
)
from sensorium.tasks.scores import SEED, Score, Scores, resamples
from sensorium.types import Boxed

LIMITS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # detections of a class and picture that count
TIMES = 200  # bootstrap resamples of pictures


class Answer(NamedTuple):
    """What a detector found in one picture; boxes in pixels of the picture as stored."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]


class Matched(NamedTuple):
    """All detections of one class: picture, score, for each limit whether it hits and counts."""

    picture: Int[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    hit: Bool[np.ndarray, "n t"]
    counts: Bool[np.ndarray, "n t"]
    truths: Int[np.ndarray, " p"]  # of every picture, crowds left out


def detection(
    find: Callable[[bytes, str], Answer],
    samples: Sequence[Boxed],
    labels: Sequence[str],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores a detector.

    Args:
        find: answers for one picture, given its bytes and its name.
        labels: the names of the classes.
        path: where the records file is written; None: nowhere.
        about: more facts for its header; give `split` and `model`.
        progress: called with (pictures asked so far, all pictures).

    Returns:
        {"detection": {"mAP@0.5", "mAP@0.75", "mAP"}, "per_class": {label: its AP@0.5}}; intervals
        are at 95%, pictures resampled.

    Raises:
        TaskError: no samples, an id twice, an answer that is not finite or of no class.
    """
    order = in_order([samples[i].id for i in range(len(samples))])
    rows, facts = [], []
    for number, place in enumerate(order):
        sample = samples[place]
        said = find(sample.image, sample.id)
        _check(said, sample.id, len(labels))
        best = np.argsort(-said.scores, kind="stable")
        found = zip(said.labels[best], said.scores[best], said.boxes[best], strict=True)
        truth = zip(sample.labels, sample.crowd, sample.boxes, strict=True)
        rows.append(
            {
                "part": "detection",
                "id": sample.id,
                "cluster": sample.id,
                "found": [[int(k), float(s), *map(float, box)] for k, s, box in found],
                "truth": [[int(k), bool(c), *map(float, box)] for k, c, box in truth],
            }
        )
        facts.append([sample.id, rows[-1]["truth"]])
        if progress is not None:
            progress(number + 1, len(order))
    told = {"data": fingerprint(facts), "split": None, "model": None} | dict(about or {})
    kept = records("detection", {}, told | {"labels": list(labels)}, rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def score(source: str | os.PathLike[str] | Records) -> Scores:
    """The scores of a records file, from the file alone.

    Raises:
        TaskError: the file is damaged, or not of this task.
    """
    kept = source if isinstance(source, Records) else read(source)
    labels = kept.header.get("labels")
    if kept.header["task"] != "detection" or not isinstance(labels, list):
        raise TaskError(f"records of {kept.header['task']!r}: they are not of a detector")
    classes = [matched(kept.rows, k) for k in range(len(labels))]
    there = [k for k, one in enumerate(classes) if one.truths.sum() > 0]
    if not there:
        raise TaskError("no picture has an object: there is nothing to be found")
    weights = [np.ones(len(kept.rows), dtype=np.int64)]
    weights += [row for block in resamples(len(kept.rows), TIMES, SEED) for row in block]
    table = np.stack([precision(classes[k], weights) for k in there])  # (classes, draws, limits)
    with np.errstate(invalid="ignore"):
        means = np.nanmean(table, axis=0)
    pictures = len(kept.rows)
    parts = {
        "mAP@0.5": _interval(means[:, 0], pictures),
        "mAP@0.75": _interval(means[:, 5], pictures),
        "mAP": _interval(means.mean(1), pictures),
    }
    each = {
        labels[k]: _interval(table[i, :, 0], int(classes[k].truths.sum()))
        for i, k in enumerate(there)
    }
    return {"detection": parts, "per_class": each}


def matched(rows: Sequence[Mapping[str, Any]], label: int) -> Matched:
    """The detections of one class, best first, matched with the truth of their pictures."""
    picture, scores, hits, counts = [], [], [], []
    truths = np.zeros(len(rows), dtype=np.int64)
    for place, row in enumerate(rows):
        found = [f for f in row["found"] if f[0] == label][:MOST]
        truth = sorted((t for t in row["truth"] if t[0] == label), key=lambda t: t[1])
        crowd = np.array([t[1] for t in truth], dtype=bool)
        truths[place] = (~crowd).sum()
        if not found:
            continue
        over = shared(_boxes(found), _boxes(truth), crowd)
        hit, counted = greedy(over, crowd)
        picture += [place] * len(found)
        scores += [f[1] for f in found]
        hits.append(hit)
        counts.append(counted)
    if not scores:
        none = np.zeros((0, len(LIMITS)), dtype=bool)
        return Matched(np.zeros(0, dtype=np.int64), np.zeros(0), none, none, truths)
    order = np.argsort(-np.array(scores), kind="stable")
    hit, counted = np.concatenate(hits)[order], np.concatenate(counts)[order]
    return Matched(np.array(picture)[order], np.array(scores)[order], hit, counted, truths)


def greedy(
    over: Float[np.ndarray, "n m"], crowd: Bool[np.ndarray, " m"]
) -> tuple[Bool[np.ndarray, "n t"], Bool[np.ndarray, "n t"]]:
    """For each limit which detections hit a truth, and which count (those on a crowd do not).

    Truths come with the crowds last; of equal overlaps the later truth is taken.
    """
    n, m = over.shape
    hit, counts = np.zeros((n, len(LIMITS)), bool), np.ones((n, len(LIMITS)), bool)
    for t, limit in enumerate(LIMITS):
        free = np.ones(m, dtype=bool)
        for i in range(n):
            may = (over[i] >= min(limit, 1 - 1e-10)) & (free | crowd)
            single = may & ~crowd
            chosen = single if single.any() else may
            if not chosen.any():
                continue
            best = m - 1 - int(np.where(chosen, over[i], -1.0)[::-1].argmax())
            free[best] = False
            hit[i, t], counts[i, t] = not crowd[best], not crowd[best]
    return hit, counts


def precision(
    one: Matched, weights: Sequence[Int[np.ndarray, " p"]]
) -> Float[np.ndarray, "draws t"]:
    """Average precision at each limit, with every picture counted `weights` times."""
    out = np.full((len(weights), len(LIMITS)), np.nan)
    for draw, weight in enumerate(weights):
        total = int((weight * one.truths).sum())
        if total == 0:
            continue
        each = weight[one.picture][:, None]
        right = np.cumsum(one.hit * each, axis=0)
        wrong = np.cumsum((~one.hit & one.counts) * each, axis=0)
        recall = right / total
        share = right / np.maximum(right + wrong, 1e-12)
        share = np.maximum.accumulate(share[::-1], axis=0)[::-1]
        for t in range(len(LIMITS)):
            at = np.searchsorted(recall[:, t], RECALLS, side="left")
            reached = at < len(share)
            out[draw, t] = share[at[reached], t].sum() / len(RECALLS)
    return out


def shared(
    a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"], crowd: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    """Intersection over union; over the detection's own area where the truth is a crowd."""
    low, high = (
        np.maximum(a[:, None, :2], b[None, :, :2]),
        np.minimum(a[:, None, 2:], b[None, :, 2:]),
    )
    both = np.clip(high - low, 0, None).prod(-1)
    own, other = (a[:, 2:] - a[:, :2]).prod(-1)[:, None], (b[:, 2:] - b[:, :2]).prod(-1)[None]
    whole = np.where(crowd[None], own, own + other - both)
    return np.divide(both, whole, out=np.zeros_like(both), where=whole > 0)


def _boxes(entries: Sequence[Any]) -> Float[np.ndarray, "n 4"]:
    return np.array([e[2:] for e in entries], dtype=np.float64).reshape(-1, 4)


def _interval(draws: np.ndarray, n: int) -> Score:
    value, spread = float(draws[0]), draws[1:][np.isfinite(draws[1:])]
    low, high = np.quantile(spread, (0.025, 0.975)) if len(spread) else (value, value)
    return Score(value, min(float(low), value), max(float(high), value), n)


def _check(said: Answer, name: str, classes: int) -> None:
    n = len(said.scores)
    if said.boxes.shape != (n, 4) or said.labels.shape != (n,):
        raise TaskError(f"{name}: boxes {said.boxes.shape} for {n} scores")
    if not (np.isfinite(said.boxes).all() and np.isfinite(said.scores).all()):
        raise TaskError(f"{name}: the detector gave NaN or infinity; verify its weights")
    if n and not (said.labels.min() >= 0 and said.labels.max() < classes):
        raise TaskError(f"{name}: the detector named a class that is none of the {classes}")
