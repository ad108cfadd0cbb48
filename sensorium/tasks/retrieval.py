"""Image-text retrieval in both directions: R@1, R@5, R@10 and the median rank.

What is counted, exactly:

- **Text to image**: every text is a query, every picture of the set a candidate. A query hits at k
  when a picture it belongs to is among the first k. With five captions a picture there are five
  queries a picture, and the interval takes the picture, not the caption, as what was drawn.
- **Image to text**: every picture is a query, every text of the set a candidate (with five captions
  a picture, five times as many candidates as queries). A query hits at k when *any* of the
  picture's texts is among the first k. (The convention of Karpathy and Li, 2015, and since.)
- **Rank** of a query: 1 + the number of wrong candidates that score at least as high as its best
  correct one. Ties count against the model, so an embedding that does not tell candidates apart
  scores 0, never by the luck of a sort; other correct candidates are not in each other's way.
- **Repeats**: a text that several pictures carry belongs to all of them, and pictures of equal
  bytes are one picture. A hit on any of them is a hit. They all stay candidates.
- Where there are at most k candidates, R@k is 1 by definition; the header tells their number.
- Scores are cosines, computed without rounding (see `rank`), asked in the order of the ids: the
  result does not depend on the order of the data set nor on how the work is cut.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sensorium.tasks.records import (
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
from sensorium.tasks.scores import Scores, score
from sensorium.types import Captioned

KEPT = 10  # candidates kept in a record
FIXED = 2.0**26  # see `rank`
CELLS = 1 << 22  # numbers in a tile of vectors or of similarities: 32 MiB


def retrieve(
    model: Embedder,
    samples: Sequence[Captioned],
    *,
    queries: Sequence[int] | None = None,
    captions: Literal["first", "all"] = "all",
    ks: Sequence[int] = (1, 5, 10),
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores retrieval in both directions (definitions: the module's text).

    Args:
        model: embeds pictures and texts into one space.
        samples: the pictures and their texts; all of them are candidates.
        queries: places of the samples that are queries (for text to image: their texts are);
            None: all.
        captions: "first" uses only each picture's first text, as query and as candidate.
        ks: the k of R@k.
        path: where the records file is written; None: nowhere.
        about: more facts for its header; give `split` (or fold) and `model` (a fingerprint).
        progress: called with (embedded so far, all pictures and texts).

    Returns:
        {"text_to_image": {"R@1": Score, ..., "median_rank": Score}, "image_to_text": the same}

    Raises:
        TaskError: no samples or queries, an id twice, a picture without a text, an embedding
            that is NaN or no unit vector.
    """
    listing = list(_listing(samples, captions))
    order = in_order([entry.id for entry in listing])
    asked = _asked(queries, len(samples))
    listing, chosen = [listing[i] for i in order], [i in asked for i in order]

    first: dict[str, int] = {}  # equal pictures are embedded once, so they tie exactly
    twin = [first.setdefault(entry.image, place) for place, entry in enumerate(listing)]
    unique = sorted(first.values())
    texts = sorted({text for entry in listing for text in entry.texts})
    total = len(unique) + len(texts)
    vectors = embed_images(
        model,
        lambda at: samples[order[unique[at]]].image,
        len(unique),
        _shifted(progress, 0, total),
    )
    at_picture = np.searchsorted(unique, twin)
    words = embed_texts(model, texts, _shifted(progress, len(unique), total))

    at_text = {text: place for place, text in enumerate(texts)}
    owned: dict[int, set[int]] = {}  # picture (first of its twins) -> its texts
    for place, entry in enumerate(listing):
        owned.setdefault(twin[place], set()).update(at_text[text] for text in entry.texts)
    pictures_of: list[list[int]] = [[] for _ in texts]
    for place in range(len(listing)):
        for text in owned[twin[place]]:
            pictures_of[text].append(place)

    # candidates of image to text: each picture's texts, repeats among pictures included
    slots = [(place, j) for place, entry in enumerate(listing) for j in range(len(entry.texts))]
    slot_text = np.array([at_text[listing[place].texts[j]] for place, j in slots])
    slots_of: list[list[int]] = [[] for _ in texts]
    for slot, text in enumerate(slot_text):
        slots_of[text].append(slot)
    names = [f"{listing[place].id}#{j}" for place, j in slots]
    ids = [entry.id for entry in listing]

    ask_texts = [slot for slot, (place, _) in enumerate(slots) if chosen[place]]
    ask_pictures = [place for place, wanted in enumerate(chosen) if wanted]
    candidates, slot_vectors = vectors[at_picture], words[slot_text]
    rows = []
    found = rank(
        slot_vectors[ask_texts], candidates, [pictures_of[slot_text[slot]] for slot in ask_texts]
    )
    for slot, one in zip(ask_texts, found, strict=True):
        place, j = slots[slot]
        row = {"part": "text_to_image", "id": names[slot], "cluster": ids[place]}
        rows.append(row | {"text": listing[place].texts[j]} | one.marks(ids))
    correct = [sorted(s for t in owned[twin[p]] for s in slots_of[t]) for p in ask_pictures]
    found = rank(candidates[ask_pictures], slot_vectors, correct)
    for place, one in zip(ask_pictures, found, strict=True):
        row = {"part": "image_to_text", "id": ids[place], "cluster": ids[place]}
        rows.append(row | one.marks(names))

    counts = [len(entry.texts) for entry in listing]
    facts = {
        "data": fingerprint((entry.id, entry.texts, entry.image) for entry in listing),
        "split": None,
        "model": None,
        "captions": captions,
        "captions_per_picture": {"least": min(counts), "most": max(counts), "all": sum(counts)},
        "candidates": {"text_to_image": len(ids), "image_to_text": len(slots)},
        "queries": {"text_to_image": len(ask_texts), "image_to_text": len(ask_pictures)},
        "rank": "1 + wrong candidates that score at least as high as the best correct one",
        "repeats": "a text belongs to every picture that carries it; equal pictures are one",
    }
    metrics = {part: _metrics(ks) for part in ("text_to_image", "image_to_text")}
    kept = records("retrieval", metrics, facts | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def _metrics(ks: Sequence[int]) -> dict[str, Any]:
    if not ks or min(ks) < 1:
        raise TaskError(f"ks={list(ks)}: R@k needs at least one k, and each at least 1")
    found: dict[str, Any] = {
        f"R@{k}": {
            "of": "rank",
            "at_most": k,
            "summary": "mean",
            "meaning": f"share of queries with a correct candidate among the first {k}",
        }
        for k in ks
    }
    meaning = "median over queries of the rank of the best correct candidate"
    return found | {"median_rank": {"of": "rank", "summary": "median", "meaning": meaning}}


class _Entry(NamedTuple):
    """A sample whose picture is a hash: what is kept in memory of the data set."""

    id: str
    texts: tuple[str, ...]
    image: str


def _listing(samples: Sequence[Captioned], captions: str) -> Iterator[_Entry]:
    for place in range(len(samples)):
        one = samples[place]
        if not one.texts:
            raise TaskError(
                f"sample {place} ({one.id}) has no text; leave it out of the data set,"
                " retrieval needs at least one for each picture"
            )
        texts = one.texts[:1] if captions == "first" else tuple(dict.fromkeys(one.texts))
        yield _Entry(one.id, texts, hashlib.sha256(one.image).hexdigest())


def _asked(queries: Sequence[int] | None, count: int) -> set[int]:
    asked = set(range(count) if queries is None else (int(place) for place in queries))
    wrong = sorted(place for place in asked if not 0 <= place < count)
    if wrong:
        raise TaskError(f"query {wrong[0]} is no place of a set of {count} samples")
    if count and not asked:
        raise TaskError("there are no queries: the list of their places is empty")
    return asked


def _shifted(progress: Progress | None, done: int, total: int) -> Progress | None:
    return progress and (lambda now, _: progress(done + now, total))


# --- ranking -------------------------------------------------------------------------------------


class Found(NamedTuple):
    """Where one query found its correct candidates."""

    rank: int  # 1 + wrong candidates that score at least `best`
    ties: int  # of those, how many score exactly `best`
    correct: int  # number of correct candidates
    best: float  # score of the best correct candidate
    top: list[tuple[int, float]]  # the first candidates and their scores, ties in order of place

    def marks(self, names: Sequence[str]) -> dict[str, Any]:
        """What a record says of it, candidates by name."""
        top = [[names[place], round(value, 8)] for place, value in self.top]
        best = round(self.best, 8)
        return {
            "rank": self.rank,
            "ties": self.ties,
            "correct": self.correct,
            "best": best,
            "top": top,
        }


def rank(
    queries: Float[np.ndarray, "q e"],
    candidates: Float[np.ndarray, "c e"],
    correct: Sequence[Sequence[int]],
    kept: int = KEPT,
    cells: int = CELLS,
) -> list[Found]:
    """Ranks every query's correct candidates among all candidates, by cosine (unit vectors).

    Coordinates are rounded to multiples of 2^-26 (finer than float32 resolves a unit vector's
    length), so every product is a multiple of 2^-52 and every partial sum, being at most 1, is
    held exactly by a float64. The cosines are therefore the same numbers in whatever order a
    matrix product adds, on any machine, with any tile: near ties cannot flip.

    Memory: two tiles of `cells` float64, beside the vectors as int32.
    """
    left, right = _fixed(queries), _fixed(candidates)
    width = max(1, min(len(right), cells // right.shape[1]))
    height = max(1, cells // width)
    found: list[Found] = []
    for start in range(0, len(left), height):
        rows = left[start : start + height].astype(np.float64)
        right_of = [np.asarray(c, dtype=np.int64) for c in correct[start : start + height]]
        own = [right[c].astype(np.float64) @ row for c, row in zip(right_of, rows, strict=True)]
        if any(not len(scores) for scores in own):
            raise TaskError("a query has no correct candidate")
        best = np.array([scores.max() for scores in own])
        above, level = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        tops: list[list[tuple[int, float]]] = [[] for _ in rows]
        for begin in range(0, len(right), width):
            tile = rows @ right[begin : begin + width].astype(np.float64).T
            above += (tile > best[:, None]).sum(axis=1)
            level += (tile == best[:, None]).sum(axis=1)
            _merge(tops, tile, begin, kept)
        for place, scores in enumerate(own):
            ties = int(level[place] - (scores == best[place]).sum())
            top = [(at, value / FIXED**2) for at, value in tops[place]]
            value = float(best[place]) / FIXED**2
            found.append(Found(1 + int(above[place]) + ties, ties, len(scores), value, top))
    return found


def _fixed(vectors: Float[np.ndarray, "b e"]) -> Int[np.ndarray, "b e"]:
    if not np.isfinite(vectors).all() or (np.abs((vectors**2).sum(axis=1) - 1) > 1e-3).any():
        raise TaskError("ranking by cosine needs finite unit vectors")
    return np.rint(vectors.astype(np.float64) * FIXED).astype(np.int32)


def _merge(tops: list[list[tuple[int, float]]], tile: np.ndarray, begin: int, kept: int) -> None:
    """Puts the tile's best candidates into the running lists."""
    reach = min(kept, tile.shape[1])
    least = np.partition(tile, -reach, axis=1)[:, -reach]
    for top, row, bound in zip(tops, tile, least, strict=True):
        near = np.flatnonzero(row >= bound)
        near = near[np.argsort(-row[near], kind="stable")][:reach]
        top += [(begin + int(at), float(row[at])) for at in near]
        top.sort(key=lambda pair: (-pair[1], pair[0]))
        del top[kept:]
