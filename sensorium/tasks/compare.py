"""Paired comparison of two models by their records of the same queries."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sensorium.tasks.records import Records, TaskError, read
from sensorium.tasks.scores import SEED, TIMES, Lookup, marks, median, places, resamples


class Comparison(NamedTuple):
    """How much higher the first of two models scores on the same queries.

    `p` is of the named test (exact McNemar where every query is its own cluster, sign flips of
    whole clusters where not; None where neither applies). `only_first` and `only_second` count
    the queries that just one of the two got right (None for what is no hit or miss).
    """

    difference: float
    low: float
    high: float
    n: int
    p: float | None
    test: str | None
    only_first: int | None
    only_second: int | None


def compare(
    first: str | os.PathLike[str] | Records, second: str | os.PathLike[str] | Records
) -> dict[str, dict[str, Comparison]]:
    """Paired comparison of two records of the same queries: first minus second, metric by metric.

    The interval is a bootstrap of the paired differences over clusters. For hits, two imaginary
    clusters are added before resampling, one won by either side, so that two models without a
    disagreement do not get an interval of width zero (Bonett and Price, 2012, by bootstrap).

    Raises:
        TaskError: the two differ in task, data, metrics, or queries.
    """
    a = first if isinstance(first, Records) else read(first)
    b = second if isinstance(second, Records) else read(second)
    for key in ("task", "data", "split", "metrics"):
        if a.header.get(key) != b.header.get(key):
            raise TaskError(
                f"the two records differ in {key} ({_short(a.header.get(key))} against"
                f" {_short(b.header.get(key))}); only answers to the same questions compare"
            )
    look_a, look_b = Lookup(a.rows), Lookup(b.rows)
    found: dict[str, dict[str, Comparison]] = {}
    for part, metrics in a.header["metrics"].items():
        found[part] = {}
        for name, metric in metrics.items():
            of_a = {row["id"]: row for row in look_a.rows(part, name, metric)}
            of_b = {row["id"]: row for row in look_b.rows(part, name, metric)}
            if of_a.keys() != of_b.keys():
                odd = sorted(of_a.keys() ^ of_b.keys())
                raise TaskError(
                    f"{part}.{name}: {len(odd)} queries are in one file only, such as {odd[0]!r}"
                )
            ids = sorted(of_a)
            found[part][name] = _compare([of_a[i] for i in ids], [of_b[i] for i in ids], metric)
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _compare(
    rows_a: Sequence[Mapping[str, Any]],
    rows_b: Sequence[Mapping[str, Any]],
    metric: Mapping[str, Any],
) -> Comparison:
    a, b = marks(rows_a, metric), marks(rows_b, metric)
    clusters = places([row["cluster"] for row in rows_a])
    if metric["summary"] == "median":
        return _compare_medians(a, b, clusters)
    groups = places([row[metric["by"]] for row in rows_a]) if "by" in metric else clusters * 0
    share = 1 / np.bincount(groups)[groups]  # all groups weigh the same
    share /= share.sum()
    gains = np.bincount(clusters, weights=(a - b) * share)
    weights = np.bincount(clusters, weights=share)
    hits, alone = "at_most" in metric, len(weights) == len(a)
    padded, beside = gains, weights
    if hits:
        typical = float(weights.mean())
        padded = np.concatenate([gains, [typical, -typical]])
        beside = np.concatenate([weights, [typical, typical]])
    drawn = [
        (counts * padded).sum(1) / (counts * beside).sum(1)
        for counts in resamples(len(padded), TIMES, SEED)
    ]
    low, high = _ends(np.concatenate(drawn))
    gain = float(gains.sum())
    won, lost = int((a > b).sum()), int((a < b).sum())
    if hits and alone and metric["summary"] == "mean":
        p, test = mcnemar(won, lost), "McNemar, exact"
    else:
        p, test = flips(gains), "sign flips of clusters"
    only = (won, lost) if hits else (None, None)
    return Comparison(gain, min(low, gain), max(high, gain), len(a), p, test, *only)


def _compare_medians(a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> Comparison:
    by_a, by_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")

    def gap(weights: np.ndarray) -> float:
        return median(a[by_a], weights[by_a]) - median(b[by_b], weights[by_b])

    drawn = [
        gap(counts[clusters])
        for block in resamples(int(clusters.max()) + 1, TIMES, SEED)
        for counts in block
    ]
    ones = np.ones(len(a), dtype=np.int64)
    return Comparison(gap(ones), *_ends(np.array(drawn)), len(a), None, None, None, None)


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p that disagreements fall to either side by the toss of a coin.

    McNemar, "Note on the sampling error of the difference between correlated proportions" (1947).
    """
    n, few = only_first + only_second, min(only_first, only_second)
    terms = [
        math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2)
        for i in range(few + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(term) for term in terms))


def flips(gains: Float[np.ndarray, " c"], times: int = 9999, seed: int = SEED) -> float:
    """Two-sided p of a sum of gains when each cluster's sign is tossed (seeded permutations)."""
    gains = gains[gains != 0]
    if not len(gains):
        return 1.0
    g, seen, left = np.random.default_rng(seed), 1, times
    limit = abs(gains.sum()) - 1e-12 * np.abs(gains).sum()
    while left > 0:
        rows = min(left, max(1, (1 << 20) // len(gains)))
        signs = 2 * g.integers(0, 2, (rows, len(gains))) - 1
        seen += int((np.abs((signs * gains).sum(1)) >= limit).sum())
        left -= rows
    return seen / (times + 1)
