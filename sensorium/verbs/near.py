"""The search itself: exact over mapped vectors, and approximate (faiss) where they are very many.

Exact search reads every vector once, which up to some hundred thousand takes less time than the
model needs for the query (`benchmarks/index.py`). Above that, an inverted file with 8-bit codes
proposes candidates, and their scores are then computed exactly; rows added since it was built are
searched exactly, so nothing is ever missing from the answer because it is new.
"""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from sensorium.data.errors import DataError
from sensorium.verbs.store import AGAIN, Manifest, Store, removed_on_failure
from sensorium.weights.writing import sha256

SAMPLE = 256  # stored vectors that the recall is measured with
WANTED = 0.98  # recall that the effort is chosen for, a margin above 0.95
K = 10
WIDER = 4  # candidates for each result wanted, scored exactly
BLOCK = 1 << 16  # rows added to an inverted file at a time


class Recall(NamedTuple):
    """The share of the k best that a search finds, on average over queries of two kinds."""

    k: int
    pictures: float  # stored vectors, each without itself
    texts: float | None  # names of things, in the model's words; None where it reads no texts


def nearest(store: Store, query: Float[np.ndarray, " e"], k: int) -> Int[np.ndarray, " m"]:
    """Rows that hold the k best results, found the way this index is searched; unordered.

    Rows that equal the last of them come too, so that the order of names can decide between them.
    """
    if store.manifest["near"] is None:
        return exact(store, query, store.live, k)
    return guessed(store, opened(store), query, store.live, k)


def exact(
    store: Store, query: Float[np.ndarray, " e"], live: Bool[np.ndarray, " n"], k: int
) -> Int[np.ndarray, " m"]:
    """The rows of the k highest scores of all."""
    scores = scores_from(store, query, 0)
    scores[~live] = -np.inf
    return top(scores, min(k, int(live.sum())))


def scores_from(store: Store, query: Float[np.ndarray, " e"], row: int) -> Float[np.ndarray, " m"]:
    """The scores of all rows from `row` on."""
    parts, first = [np.empty(0, np.float32)], 0
    for part in store.vectors:
        if first + len(part) > row:
            parts.append(part[max(0, row - first) :] @ query)
        first += len(part)
    return np.concatenate(parts)


def top(scores: Float[np.ndarray, " n"], k: int) -> Int[np.ndarray, " m"]:
    """Where the k highest scores are, and all that equal the last of them."""
    if k <= 0:
        return np.empty(0, np.int64)
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= last)


def guessed(
    store: Store,
    index: Any,
    query: Float[np.ndarray, " e"],
    live: Bool[np.ndarray, " n"],
    k: int,
) -> Int[np.ndarray, " m"]:
    """The inverted file's candidates and all rows newer than it, scored exactly."""
    covered = store.manifest["near"]["rows"]
    found = index.search(query[None], WIDER * k)[1][0]
    found = np.sort(found[found >= 0])
    found = found[live[found]]
    if len(found) < min(k, int(live[:covered].sum())):
        return exact(store, query, live, k)  # too many of the candidates are gone
    newer = covered + np.flatnonzero(live[covered:])
    rows = np.concatenate([found, newer])
    tail = scores_from(store, query, covered)[newer - covered]
    scores = np.concatenate([store.take(found) @ query, tail])
    return rows[top(scores, min(k, len(rows)))]


def faiss() -> ModuleType:
    """The library of the extra `index`."""
    try:
        return importlib.import_module("faiss")
    except ImportError as wrong:
        raise DataError(
            "an index of this many pictures is searched approximately with faiss, which is not "
            "installed: pip install 'sensorium[index]', or have every search exact and slower "
            "(approximate_from=None)"
        ) from wrong


def opened(store: Store) -> Any:
    """The inverted file, mapped and not read."""
    near, library = store.manifest["near"], faiss()
    path = store.at / near["name"]
    try:
        index = library.read_index(str(path), library.IO_FLAG_MMAP)
    except RuntimeError as wrong:
        raise DataError(f"{path}: damaged; {AGAIN}") from wrong
    probes = near.get("probes")
    good = type(probes) is int and 0 < probes <= 1 << 20
    if not good or (index.ntotal, index.d) != (near["rows"], store.manifest["width"]):
        raise DataError(f"{path}: {index.ntotal} vectors of {index.d}, not as said; {AGAIN}")
    index.nprobe = probes
    return index


def build(store: Store, texts: np.ndarray | None) -> Manifest:
    """Writes an inverted file over all rows, and chooses how many of its lists a search opens.

    The least power of two is taken at which recall@10 is 0.98 both for stored vectors and for
    `texts` (q e); all lists if none suffices.
    """
    library, rows = faiss(), store.rows
    lists = max(1, min(int(4 * rows**0.5), rows // 39))
    index = library.index_factory(
        store.manifest["width"], f"IVF{lists},SQ8", library.METRIC_INNER_PRODUCT
    )
    g = np.random.default_rng(0)
    index.train(store.take(np.sort(g.permutation(rows)[: 64 * lists])))
    for first in range(0, rows, BLOCK):
        index.add(store.take(np.arange(first, min(first + BLOCK, rows))))
    name = f"near-{store.manifest['next']:06d}.faiss"
    entry = {"name": name, "rows": rows, "bytes": 0, "sha256": ""}
    manifest = store.manifest | {"near": entry, "next": store.manifest["next"] + 1}
    live = store.live
    questions, covering = asked(store, texts, live, K), store._replace(manifest=manifest)
    recall = Recall(K, 0.0, None)
    for probes in [2**i for i in range(lists.bit_length()) if 2**i < lists] + [lists]:
        index.nprobe = entry["probes"] = probes
        recall = recall_of(covering, index, questions, live, K)
        if min(recall.pictures, 1.0 if recall.texts is None else recall.texts) >= WANTED:
            break
    with removed_on_failure(store.at / name):
        write(library, index, store.at / name)
    entry |= {"bytes": (store.at / name).stat().st_size, "sha256": sha256(store.at / name)}
    return manifest | {"near": entry | {"recall": recall._asdict()}}


def write(library: ModuleType, index: Any, path: Path) -> None:
    """A faiss index as a file that has reached the disk."""
    try:
        library.write_index(index, str(path))
    except RuntimeError as wrong:  # faiss does not say which
        raise OSError(0, f"faiss cannot write it ({str(wrong).splitlines()[0]})") from wrong
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def recall_of(
    store: Store, index: Any, asked: "Asked", live: Bool[np.ndarray, " n"], k: int
) -> Recall:
    """The recall of the inverted file against the exact search."""
    shares = []
    for query, own, truth in zip(asked.queries, asked.own, asked.truth, strict=True):
        found = guessed(store, index, query, live, k + 1)
        scores = store.take(found) @ query
        order = found[np.argsort(-scores, kind="stable")]
        best = order[order != own][:k]
        shares.append(len(np.intersect1d(truth, best)) / max(1, len(truth)))
    pictures, texts = shares[: asked.pictures], shares[asked.pictures :]
    return Recall(k, float(np.mean(pictures)), float(np.mean(texts)) if texts else None)


class Asked(NamedTuple):
    """Queries and the rows that answer them best; the first `pictures` are stored vectors."""

    queries: np.ndarray  # (q e)
    own: np.ndarray  # (q) the row that the query was taken from; -1 for a text
    truth: list[np.ndarray]  # q times up to k rows
    pictures: int


def asked(
    store: Store, texts: Float[np.ndarray, "q e"] | None, live: Bool[np.ndarray, " n"], k: int
) -> Asked:
    """Searches exactly for a sample of the stored vectors, and for texts; all in one reading."""
    own = np.sort(np.random.default_rng(1).permutation(np.flatnonzero(live))[:SAMPLE])
    pictures = len(own)
    queries = store.take(own)
    if texts is not None:
        queries = np.concatenate([queries, texts])
        own = np.concatenate([own, np.full(len(texts), -1)])
    best = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1)
    for first in range(0, store.rows, BLOCK):
        here = np.arange(first, min(first + BLOCK, store.rows))
        scores = queries @ store.take(here).T
        scores[:, ~live[here]] = -np.inf
        scores[own[:, None] == here] = -np.inf
        both = np.concatenate([best, scores], axis=1)
        at = np.argpartition(-both, k - 1, axis=1)[:, :k]
        names = np.concatenate([rows, np.broadcast_to(here, scores.shape)], axis=1)
        best, rows = np.take_along_axis(both, at, 1), np.take_along_axis(names, at, 1)
    return Asked(queries, own, [r[b > -np.inf] for r, b in zip(rows, best, strict=True)], pictures)
