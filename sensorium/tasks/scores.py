"""Scores with intervals, computed from records.

A records file says in its header how it is marked: `metrics[part][name]` is a mapping with

    of         the field of a record that is marked, a number
    at_most    optional: mark 1 where the field is at most this, else 0 (a hit)
    summary    "mean", "median", or "mean_by_group" (the mean of the groups' means)
    by         with "mean_by_group": the field that names the group
    from       optional: the part whose records are marked, when not the metric's own
    where      optional, [field, value]: only the records where the field has this value
    meaning    one sentence for people

Intervals are at 95%. Records of one cluster (the captions of one picture) are not independent,
so clusters and not records are what is resampled or counted.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sensorium.tasks.records import Records, TaskError, read

Z = 1.959963984540054  # the normal distribution's 97.5% point
TIMES = 2000  # bootstrap resamples
SEED = 20260101
KEYS = {"of", "at_most", "summary", "by", "from", "where", "meaning"}


class Score(NamedTuple):
    """A measured value, its 95% interval, and the number of queries behind it."""

    value: float
    low: float
    high: float
    n: int


Scores = dict[str, dict[str, Score]]
Statistic = Callable[[np.ndarray, np.ndarray], float]


# --- from records --------------------------------------------------------------------------------


def score(source: str | os.PathLike[str] | Records) -> Scores:
    """Every score of a records file, from the file alone: {part: {metric: Score}}.

    Raises:
        TaskError: the file is damaged, or a metric cannot be computed from its records.
    """
    kept = source if isinstance(source, Records) else read(source)
    look = Lookup(kept.rows)
    return {
        part: {name: _mark(look.rows(part, name, metric), metric) for name, metric in named.items()}
        for part, named in kept.header["metrics"].items()
    }


def _mark(rows: Sequence[Mapping[str, Any]], metric: Mapping[str, Any]) -> Score:
    values, clusters = marks(rows, metric), places([row["cluster"] for row in rows])
    if metric["summary"] == "mean_by_group":
        return mean_by_group(values, places([row[metric["by"]] for row in rows]))
    if metric["summary"] == "median":
        return bootstrap(values, median, clusters)
    if "at_most" in metric:
        return proportion(values, clusters)
    return bootstrap(values, mean, clusters)


class Lookup:
    """Rows by part, and within a part by the value of a field; each indexed once."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._parts = _by(rows, "part")
        self._fields: dict[tuple[str, str], dict[Any, list[Mapping[str, Any]]]] = {}

    def rows(self, part: str, name: str, metric: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The rows that a metric marks, refused where they lack what it needs."""
        name = f"{part}.{name}"
        unknown = sorted(metric.keys() - KEYS)
        if unknown or metric.get("summary") not in ("mean", "median", "mean_by_group"):
            raise TaskError(f"metric {name}: unknown summary or keys {unknown} in {dict(metric)}")
        if metric["summary"] == "mean_by_group" and not {"by", "at_most"} <= metric.keys():
            raise TaskError(f"metric {name}: a mean by group needs `by` and `at_most`")
        part = metric.get("from", part)
        rows = self._parts.get(part, [])
        if "where" in metric:
            field, value = metric["where"]
            if (part, field) not in self._fields:
                self._fields[part, field] = _by(rows, field)
            rows = self._fields[part, field].get(value, [])
        if not rows:
            raise TaskError(f"metric {name}: there is no record to compute it from")
        needed = {"id", "cluster", metric["of"], metric.get("by", "id")}
        for row in rows:
            if not needed <= row.keys():
                raise TaskError(
                    f"metric {name}: record {row.get('id')!r} lacks {needed - row.keys()}"
                )
        return rows


def _by(rows: Sequence[Mapping[str, Any]], field: str) -> dict[Any, list[Mapping[str, Any]]]:
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        if field not in row:
            raise TaskError(f"record {row.get('id')!r} lacks the field {field!r}")
        found.setdefault(row[field], []).append(row)
    return found


def marks(rows: Sequence[Mapping[str, Any]], metric: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
    """What each row counts for in a metric: its field, or 1 for a hit and 0 for a miss."""
    values = np.array([row[metric["of"]] for row in rows], dtype=np.float64)
    return (values <= metric["at_most"]).astype(np.float64) if "at_most" in metric else values


def places(names: Sequence[Any]) -> Int[np.ndarray, " n"]:
    """Each name's place among the sorted different names."""
    place = {name: at for at, name in enumerate(sorted(set(names)))}
    return np.array([place[name] for name in names], dtype=np.int64)


# --- intervals -----------------------------------------------------------------------------------


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion seen in n independent trials (n may be effective).

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    centre = share + Z * Z / (2 * n)
    spread = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    scale = 1 + Z * Z / n
    return max(0.0, float(centre - spread) / scale), min(1.0, float(centre + spread) / scale)


def proportion(hits: Float[np.ndarray, " n"], clusters: Int[np.ndarray, " n"]) -> Score:
    """A share of hits (each 0 or 1) with Wilson's interval at the effective sample size.

    The size is n over the design effect: the cluster-robust variance of the mean over that of
    independent queries (Kish, "Survey Sampling", 1965), at least 1. Few misses tell little about
    it, so it is averaged with the worst case, where the queries of a cluster all agree; the worst
    case counts as one cluster beside those that hold the rarer outcome. When every query is its
    own cluster this is Wilson's interval itself; a score of 0 or 1 keeps an honest width, which
    a bootstrap would not give it.
    """
    n, share = len(hits), _share(hits)
    sizes = np.bincount(clusters)
    worst = float((sizes.astype(np.float64) ** 2).sum() / n)
    if worst == 1:
        return Score(share, *wilson(share, float(n)), n)
    sums = np.bincount(clusters, weights=hits)
    effect, informed = 1.0, 0
    if 0 < share < 1 and len(sizes) > 1:
        robust = ((sums - share * sizes) ** 2).sum() * len(sizes) / (len(sizes) - 1) / n**2
        effect = max(1.0, robust / (share * (1 - share) / n))
        informed = int((sums > 0).sum() if share <= 0.5 else (sums < sizes).sum())
    effect = (informed * float(effect) + worst) / (informed + 1)
    return Score(share, *wilson(share, n / effect), n)


def mean_by_group(hits: Float[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> Score:
    """The mean over groups of each group's share of hits (mean per-class accuracy).

    The groups are taken as given, the queries in them as drawn: the variance is that of the
    stratified mean, each group's share shrunk by one query towards the mean so that a group of
    one query does not pass for certain; then Wilson's interval at the matching sample size.
    """
    sizes = np.bincount(groups)
    sums = np.bincount(groups, weights=hits)
    share = min(1.0, math.fsum(sums / sizes) / len(sizes))
    steady = (sums + share) / (sizes + 1)
    variance = math.fsum(steady * (1 - steady) / sizes) / len(sizes) ** 2
    if 0 < share < 1:
        size = share * (1 - share) / variance
    else:
        size = len(sizes) ** 2 / math.fsum(1 / sizes)
    return Score(share, *wilson(share, size), len(hits))


def _share(hits: np.ndarray) -> float:
    if not len(hits):
        raise TaskError("a score of no queries is not defined: the set is empty")
    if not np.isin(hits, (0.0, 1.0)).all():
        raise TaskError("a proportion is of hits, each 0 or 1")
    return float(hits.sum() / len(hits))


def mean(values: Float[np.ndarray, " n"], weights: Int[np.ndarray, " n"]) -> float:
    """Mean of values that each occur `weights` times."""
    return float((values * weights).sum() / weights.sum())


def median(values: Float[np.ndarray, " n"], weights: Int[np.ndarray, " n"]) -> float:
    """Median of ascending values that each occur `weights` times."""
    ends = np.cumsum(weights)
    middle = np.array([(ends[-1] - 1) // 2, ends[-1] // 2])
    return float(values[np.searchsorted(ends, middle, side="right")].mean())


def bootstrap(
    values: Float[np.ndarray, " n"],
    statistic: Statistic,
    clusters: Int[np.ndarray, " n"],
    times: int = TIMES,
    seed: int = SEED,
) -> Score:
    """A statistic with its percentile interval, whole clusters resampled (Efron, 1979).

    `statistic(values, weights)` gets ascending values and how often each occurs. Does not depend
    on the order of the values beyond the numbering of their clusters.
    """
    if not len(values):
        raise TaskError("a score of no queries is not defined: the set is empty")
    order = np.argsort(values, kind="stable")
    values, clusters = values[order], clusters[order]
    drawn = [
        statistic(values, counts[clusters])
        for block in resamples(int(clusters.max()) + 1, times, seed)
        for counts in block
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    value = statistic(values, np.ones(len(values), dtype=np.int64))
    return Score(value, min(float(low), value), max(float(high), value), len(values))


def resamples(count: int, times: int, seed: int) -> Iterator[Int[np.ndarray, "times count"]]:
    """How often each of `count` clusters is drawn, `times` times over, in blocks of rows."""
    g, block = np.random.default_rng(seed), max(1, (1 << 20) // count)
    while times > 0:
        rows = min(block, times)
        drawn = g.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        times -= rows


# --- for machines -------------------------------------------------------------------------------


def to_json(scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    """Scores as plain JSON values, in full precision; shares are in [0, 1]:

    {"scores": {"text_to_image": {"R@1": 0.57, ...}, ...},
     "intervals": {"text_to_image": {"R@1": [0.55, 0.59], ...}, ...},
     "queries": {"text_to_image": {"R@1": 1850, ...}, ...}}
    """
    parts = scores.items()
    return {
        "scores": {part: {name: s.value for name, s in named.items()} for part, named in parts},
        "intervals": {
            part: {name: [s.low, s.high] for name, s in named.items()} for part, named in parts
        },
        "queries": {part: {name: s.n for name, s in named.items()} for part, named in parts},
    }
