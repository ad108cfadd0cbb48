"""Few-shot classification: examples in the prompt, no training (Alayrac et al. 2022, section 4).

A picture is named by the likeliest of the classes' names behind a prompt of demonstrations, each a
picture with its name. They are drawn at random, or retrieved: those of the pool whose pictures are
most like the one that is asked about, the most alike last (RICES, Yang et al. 2022, arXiv
2109.05014). Without shots two names without pictures show what is wanted, as Flamingo and
OpenFlamingo are asked.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sensorium.tasks.records import Progress, TaskError, fingerprint, in_order, records, write
from sensorium.tasks.scores import Score, Scores, score
from sensorium.types import Labelled

SHOTS = (0, 4, 8, 16, 32)
BLIND = 2  # names without pictures in a prompt without shots
WRONG: dict[str, Any] = {"of": "wrong", "at_most": 0, "summary": "mean"}
How = Literal["random", "rices"]


class Shot(NamedTuple):
    """A demonstration: a picture (None: its name alone) and its class."""

    image: bytes | None
    label: int


# Demonstrations and a picture -> its class.
Choose = Callable[[Sequence[Shot], bytes], int]


class Namer(NamedTuple):
    """What is scored.

    Attributes:
        choose: names a picture, given demonstrations in the order in which they are shown.
        vectors: unit vectors of pictures, for retrieval.
    """

    choose: Choose
    vectors: Callable[[Sequence[bytes]], Float[np.ndarray, "n e"]]


class Plan(NamedTuple):
    """What is asked.

    Attributes:
        shots: how many demonstrations; each number is asked of the same pictures.
        seeds: each draws pictures to ask about, a pool to show from, and random demonstrations.
        pool: pictures that demonstrations are taken from, at most (OpenFlamingo: 2,048).
        queries: pictures asked about, at most, a seed.
    """

    shots: tuple[int, ...] = SHOTS
    how: tuple[How, ...] = ("random", "rices")
    seeds: tuple[int, ...] = (0, 1, 2)
    pool: int = 2048
    queries: int = 200


USUAL = Plan()


def few_shot(
    namer: Namer,
    train: Sequence[Labelled],
    test: Sequence[Labelled],
    labels: Sequence[str],
    *,
    plan: Plan = USUAL,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Accuracy by number and kind of demonstrations, its mean over seeds and its spread.

    Args:
        train: what demonstrations are taken from; never asked about.
        test: what is asked about.
        labels: the names of the classes.
        path: where the records file is written; None: nowhere.
        about: more facts for its header; give `split` and `model`.
        progress: called with (answers so far, all answers).

    Returns:
        {"random, 4 shots": {"accuracy", "seed 0", ..., "spread over seeds"}, ...}. The accuracy is
        that of all answers, those about one picture taken together in its interval; the spread is
        the standard deviation of the seeds' accuracies (its upper bound: their range).

    Raises:
        TaskError: no pictures, an id twice, fewer pictures to show than shots, a plan that asks
            nothing.
    """
    _check(train, test, plan)
    order, shelf = in_order([one.id for one in test]), in_order([one.id for one in train])
    rows: list[dict[str, Any]] = []
    cells = [(how, shots) for how in plan.how for shots in plan.shots]
    total, done = len(plan.seeds) * len(cells) * min(plan.queries, len(test)), 0
    for seed in plan.seeds:
        rng = np.random.default_rng([seed, 0])
        asked = [test[order[i]] for i in sorted(_some(rng, len(test), plan.queries))]
        pool = [train[shelf[i]] for i in sorted(_some(rng, len(train), plan.pool))]
        near = None
        if "rices" in plan.how and any(plan.shots):
            near = nearest(
                namer.vectors([one.image for one in asked]),
                namer.vectors([one.image for one in pool]),
                max(plan.shots),
            )
        for how, shots in cells:
            for number, one in enumerate(asked):
                draw = np.random.default_rng([seed, 1, number])
                picked = _some(draw, len(pool), max(*plan.shots, BLIND))
                if how == "rices" and shots and near is not None:
                    picked = near[number]
                shown = demonstrations([pool[i] for i in picked], shots, how)
                said = namer.choose(shown, one.image)
                row = {"part": f"{how}, {shots} shots", "id": f"{one.id} (seed {seed})"}
                row |= {"cluster": one.id, "seed": seed, "said": labels[said]}
                row |= {"right": labels[one.label], "wrong": int(said != one.label)}
                rows.append(row)
                done += 1
                if progress is not None:
                    progress(done, total)
    asks = plan._asdict().items()
    facts = {"data": fingerprint((r["part"], r["id"], r["right"]) for r in rows)}
    facts |= {"split": None, "model": None} | dict(about or {})
    facts |= {"plan": {k: list(x) if isinstance(x, tuple) else x for k, x in asks}}
    metrics = {
        part: {"accuracy": WRONG}
        | {f"seed {s}": WRONG | {"where": ["seed", s]} for s in plan.seeds}
        for part in dict.fromkeys(row["part"] for row in rows)
    }
    kept = records("few-shot", metrics, facts, rows)
    if path is not None:
        write(path, kept)
    return {part: spread(found, plan.seeds) for part, found in score(kept).items()}


def demonstrations(picked: Sequence[Labelled], shots: int, how: str) -> list[Shot]:
    """So many of the pictures that were picked; retrieved ones end with the most alike.

    With no shots names alone.
    """
    if not shots:
        return [Shot(None, one.label) for one in picked[:BLIND]]
    some = [Shot(one.image, one.label) for one in picked[:shots]]
    return some[::-1] if how == "rices" else some


def nearest(
    asked: Float[np.ndarray, "q e"], pool: Float[np.ndarray, "n e"], most: int
) -> Int[np.ndarray, "q k"]:
    """The places of the most similar vectors of the pool, most similar first; ties in order."""
    return np.argsort(-(asked @ pool.T), axis=1, kind="stable")[:, : max(most, BLIND)]


def spread(found: Mapping[str, Score], seeds: Sequence[int]) -> dict[str, Score]:
    """The accuracy over all seeds, each seed's, and how far seeds lie apart."""
    each = np.array([found[f"seed {seed}"].value for seed in seeds])
    far = float(each.std(ddof=1)) if len(each) > 1 else 0.0
    apart = Score(far, 0.0, float(each.max() - each.min()), len(each))
    return {**found, "spread over seeds": apart}


def _some(rng: np.random.Generator, size: int, most: int) -> list[int]:
    return rng.permutation(size)[:most].tolist()


def _check(train: Sequence[Labelled], test: Sequence[Labelled], plan: Plan) -> None:
    if not len(train) or not len(test):
        raise TaskError("few-shot needs pictures to show and pictures to ask about")
    if not plan.shots or not plan.how or not plan.seeds or plan.queries < 1:
        raise TaskError("few-shot needs numbers of shots, a way to choose them, seeds and queries")
    if min(plan.shots) < 0 or len(set(plan.seeds)) != len(plan.seeds):
        raise TaskError(f"shots {plan.shots}, seeds {plan.seeds}: none below 0, no seed twice")
    if min(plan.pool, len(train)) < max(*plan.shots, BLIND):
        raise TaskError(
            f"{max(plan.shots)} shots cannot be taken from {min(plan.pool, len(train))} pictures"
        )
