"""Retrieval by a model that reads picture and text together, on all candidates or a first choice.

Reading every pair is dear (n x n pairs), so two towers choose the first k candidates of each query,
and the joint reading ranks those anew; the others stay behind them in the towers' order (Li et al.
2021, ALBEF, section 3.4 and its released evaluation). Definitions of queries, candidates, ties and
repeats are those of `retrieval`.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sensorium.tasks.records import (
    READ,
    Embedder,
    Progress,
    TaskError,
    embed_images,
    embed_texts,
    fingerprint,
    in_order,
    records,
    write,
)
from sensorium.tasks.retrieval import Found, _metrics, rank
from sensorium.tasks.scores import Scores, score
from sensorium.types import Captioned

Match = Callable[[Sequence[bytes], Sequence[str]], Float[np.ndarray, " b"]]
PARTS = ("text_to_image", "image_to_text")


class Pool(NamedTuple):
    """Both directions' queries and candidates, in the order of ids; text j is of picture of[j].

    `names` and `right` are by direction: what candidates are called, and for each query the right
    ones (a text belongs to all pictures that carry it, and equal pictures are one).
    """

    ids: list[str]
    texts: list[str]
    of: list[int]
    names: dict[str, list[str]]
    right: dict[str, list[list[int]]]


def rerank(
    match: Match,
    samples: Sequence[Captioned],
    *,
    first: Embedder | None = None,
    k: int = 128,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores retrieval in both directions.

    Args:
        match: how well picture i goes with text i, for rows of both; only the order matters.
        first: chooses the candidates that `match` sees; None: it sees all of them.
        k: how many those are.
        path, about: as in `retrieve`.
        progress: called with (pairs read so far, all pairs).

    Returns:
        {"text_to_image": {"R@1", "R@5", "R@10", "median_rank"}, "image_to_text": the same}

    Raises:
        TaskError: as `retrieve`; k below 1, a score that is not finite.
    """
    if k < 1:
        raise TaskError(f"k={k}: at least one candidate must be read")
    order = in_order([samples[place].id for place in range(len(samples))])
    pool = _pool(samples, order)
    k = len(pool.texts) if first is None else k
    vectors = None
    if first is not None:
        pictures = embed_images(first, lambda at: samples[order[at]].image, len(order))
        vectors = pictures, embed_texts(first, pool.texts)
    total = len(pool.texts) * min(k, len(order)) + len(order) * min(k, len(pool.texts))
    rows: list[dict[str, Any]] = []
    done = 0
    for part in PARTS:
        for query, found in enumerate(_first(part, pool, vectors, k)):
            chosen = [place for place, _ in found.top]
            pairs = [(c, query) if part == PARTS[0] else (query, c) for c in chosen]
            scores = _matched(match, samples, order, pool, pairs)
            again = reranked(found, chosen, scores, set(pool.right[part][query]))
            rows.append(_row(part, query, pool) | again.marks(pool.names[part]))
            done += len(pairs)
            if progress is not None:
                progress(done, total)
    facts = {
        "data": fingerprint(zip(pool.texts, pool.of, strict=True)),
        "split": None,
        "model": None,
        "first": "all candidates" if first is None else f"the first {k} by two towers",
        "candidates": {PARTS[0]: len(order), PARTS[1]: len(pool.texts)},
    }
    metrics = {part: _metrics((1, 5, 10)) for part in PARTS}
    kept = records("reranking", metrics, facts | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def reranked(
    found: Found, chosen: Sequence[int], scores: Float[np.ndarray, " k"], correct: set[int]
) -> Found:
    """The rank once the first candidates are ordered by `scores`; ties count against the model.

    Where no correct candidate is among them the first rank stays: they are all before it.
    """
    mine = [float(s) for c, s in zip(chosen, scores, strict=True) if c in correct]
    top = sorted(zip(chosen, map(float, scores), strict=True), key=lambda one: -one[1])[:10]
    if not mine:
        return found._replace(top=top)
    best = max(mine)
    others = [float(s) for c, s in zip(chosen, scores, strict=True) if c not in correct]
    above, level = sum(s > best for s in others), sum(s == best for s in others)
    return Found(1 + above + level, level, found.correct, best, top)


def _pool(samples: Sequence[Captioned], order: Sequence[int]) -> Pool:
    ids, images, texts, of = [], [], [], []
    for at, place in enumerate(order):
        one = samples[place]
        if not one.texts:
            raise TaskError(f"sample {one.id} has no text; leave it out of the data set")
        ids.append(one.id)
        images.append(hashlib.sha256(one.image).hexdigest())
        own = list(dict.fromkeys(one.texts))
        texts += own
        of += [at] * len(own)
    worn: dict[str, set[str]] = {}  # text -> the pictures that carry it
    same: dict[str, list[int]] = {}  # picture -> its places
    held: dict[str, list[int]] = {}  # text -> its places
    for place, image in enumerate(images):
        same.setdefault(image, []).append(place)
    for slot, text in enumerate(texts):
        worn.setdefault(text, set()).add(images[of[slot]])
        held.setdefault(text, []).append(slot)
    carried: dict[str, set[str]] = {}  # picture -> the texts that it carries
    for text, several in worn.items():
        for image in several:
            carried.setdefault(image, set()).add(text)
    right = {
        PARTS[0]: [sorted(i for image in worn[text] for i in same[image]) for text in texts],
        PARTS[1]: [sorted(j for text in carried[image] for j in held[text]) for image in images],
    }
    names = {PARTS[0]: ids, PARTS[1]: [f"{ids[i]}#{j}" for j, i in enumerate(of)]}
    return Pool(ids, texts, of, names, right)


def _first(
    part: str, pool: Pool, vectors: tuple[np.ndarray, np.ndarray] | None, k: int
) -> list[Found]:
    """For each query its first k candidates, and the rank that they leave it at."""
    if vectors is None:
        count = len(pool.names[part])
        every = [(place, 0.0) for place in range(count)]
        return [Found(count, 0, len(right), 0.0, every) for right in pool.right[part]]
    asks, told = vectors[::-1] if part == PARTS[0] else vectors
    return rank(asks, told, pool.right[part], kept=k)


def _row(part: str, query: int, pool: Pool) -> dict[str, Any]:
    if part == PARTS[1]:
        return {"part": part, "id": pool.ids[query], "cluster": pool.ids[query]}
    name, picture = pool.names[PARTS[1]][query], pool.ids[pool.of[query]]
    return {"part": part, "id": name, "cluster": picture, "text": pool.texts[query]}


def _matched(
    match: Match,
    samples: Sequence[Captioned],
    order: Sequence[int],
    pool: Pool,
    pairs: Sequence[tuple[int, int]],
) -> Float[np.ndarray, " k"]:
    out = []
    for start in range(0, len(pairs), READ):
        some = pairs[start : start + READ]
        images = [samples[order[i]].image for i, _ in some]
        scores = np.asarray(match(images, [pool.texts[j] for _, j in some]), dtype=np.float64)
        if scores.shape != (len(some),) or not np.isfinite(scores).all():
            raise TaskError(f"{len(some)} pairs were read, the model gave {scores.shape}, or NaN")
        out.append(scores)
    return np.concatenate(out)
