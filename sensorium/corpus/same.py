"""Which documents are the same: those that share a key, and so on; the first of each is kept."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped


def firsts(keys: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For each place, the first place with an equal key."""
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = sorted_keys[1:] != sorted_keys[:-1]
    starts = np.flatnonzero(new)
    out = np.empty(len(keys), np.int64)
    out[order] = np.repeat(order[starts], np.diff(np.append(starts, len(keys))))
    return out


def join(labels: Int[np.ndarray, " n"], a: Int[np.ndarray, " m"], b: Int[np.ndarray, " m"]) -> None:
    """Joins the groups of a[i] and b[i]; `labels` lead, in steps, to the least of each group."""
    while True:
        roots_a, roots_b = labels[a], labels[b]
        apart = roots_a != roots_b
        if not apart.any():
            return
        a, b = a[apart], b[apart]
        roots_a, roots_b = roots_a[apart], roots_b[apart]
        np.minimum.at(labels, np.maximum(roots_a, roots_b), np.minimum(roots_a, roots_b))
        flatten(labels)


def flatten(labels: Int[np.ndarray, " n"]) -> None:
    """Makes every label the least of its group, by jumping."""
    while True:
        further = labels[labels]
        if (further == labels).all():
            return
        labels[:] = further


def components(keys: Sequence[Shaped[np.ndarray, " n"]]) -> Int[np.ndarray, " n"]:
    """For each place, the first place of all that are joined to it by equal keys.

    `keys` are columns: two places are joined where they are equal in any column.
    """
    labels = np.arange(len(keys[0]) if len(keys) else 0)
    for column in keys:
        join(labels, firsts(column), np.arange(len(column)))
    return labels


def decide(looks: Sequence[Path], out: Sequence[Path]) -> int:
    """Reads what was looked up of each shard, and writes which rows of it go; gives their number.

    Memory: one column of keys of all documents at a time, and two integers a document.
    """
    counts, names, rows, width, kind = [], [], [], 0, np.dtype(np.uint64)
    for path in looks:
        with np.load(path, allow_pickle=False) as said:
            names.append(said["names"])
            rows.append(said["rows"])
            keys = said["keys"]
            if keys.size:
                width, kind = keys.shape[1], keys.dtype
        counts.append(len(names[-1]))
    starts = np.cumsum([0, *counts])
    where = np.concatenate([s + r for s, r in zip(starts, rows, strict=False)] or [starts[:0]])
    local = np.arange(len(where))
    for band in range(width):
        column = np.empty(len(where), kind)
        place = 0
        for path, inside in zip(looks, rows, strict=True):
            if len(inside):
                with np.load(path, allow_pickle=False) as said:
                    column[place : place + len(inside)] = said["keys"][:, band]
            place += len(inside)
        join(local, firsts(column), np.arange(len(column)))
    gone = local != np.arange(len(local))
    _write(out, starts, names, where, local, gone)
    return int(gone.sum())


def _write(
    out: Sequence[Path],
    starts: Int[np.ndarray, " s1"],
    names: Sequence[np.ndarray],
    where: Int[np.ndarray, " n"],
    local: Int[np.ndarray, " n"],
    gone: Bool[np.ndarray, " n"],
) -> None:
    name = np.concatenate(names) if names else np.empty(0, "S40")
    places, first = where[gone], name[where[local[gone]]]
    for number, path in enumerate(out):
        mine = (places >= starts[number]) & (places < starts[number + 1])
        with path.open("wb") as file:
            np.savez(file, rows=places[mine] - starts[number], first=first[mine])
