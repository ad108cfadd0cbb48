"""Scores with intervals, computed from records; and the paired comparison of two models.

A records file says in its header how it is marked: `metrics[part][name]` is a mapping with

    of         the field of a record that is marked, a number
    at_most    optional: mark 1 where the field is at most this, else 0 (a hit)
    summary    "mean", "median", or "mean_by_group" (the mean of the groups' means)
    by         with "mean_by_group": the field that names the group
    where      optional: only the records whose fields equal these
    meaning    one sentence for people

Intervals are at 95%. Records of one cluster (the captions of one picture) are not independent,
so clusters and not records are what is resampled or counted.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sensorium.tasks.records import Records, TaskError, read

Z = 1.959963984540054  # the normal distribution's 97.5% point
TIMES = 2000  # bootstrap resamples
SEED = 20260101
KEYS = {"of", "at_most", "summary", "by", "where", "meaning"}


class Score(NamedTuple):
    """A measured value, its 95% interval, and the number of queries behind it."""

    value: float
    low: float
    high: float
    n: int


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


Scores = dict[str, dict[str, Score]]
Statistic = Callable[[np.ndarray, np.ndarray], float]


# --- from records --------------------------------------------------------------------------------


def score(source: str | os.PathLike[str] | Records) -> Scores:
    """Every score of a records file, from the file alone: {part: {metric: Score}}.

    Raises:
        TaskError: the file is damaged, or a metric cannot be computed from its records.
    """
    kept = source if isinstance(source, Records) else read(source)
    found: Scores = {}
    for part, metrics in kept.header["metrics"].items():
        rows = [row for row in kept.rows if row["part"] == part]
        found[part] = {name: _mark(rows, metric, part, name) for name, metric in metrics.items()}
    return found


def _mark(rows: Sequence[Mapping], metric: Mapping[str, Any], part: str, name: str) -> Score:
    chosen = _chosen(rows, metric, f"{part}.{name}")
    values, clusters = _values(chosen, metric), _places([row["cluster"] for row in chosen])
    if metric["summary"] == "mean_by_group":
        groups = _places([row[metric["by"]] for row in chosen])
        return mean_by_group(values, groups)
    if metric["summary"] == "median":
        return bootstrap(values, median, clusters)
    return (
        proportion(values, clusters) if "at_most" in metric else bootstrap(values, mean, clusters)
    )


def _chosen(rows: Sequence[Mapping], metric: Mapping[str, Any], name: str) -> list[Mapping]:
    unknown = sorted(metric.keys() - KEYS)
    if unknown or metric.get("summary") not in ("mean", "median", "mean_by_group"):
        raise TaskError(f"metric {name}: unknown summary or keys {unknown} in {dict(metric)}")
    if metric["summary"] == "mean_by_group" and not {"by", "at_most"} <= metric.keys():
        raise TaskError(f"metric {name}: a mean by group needs `by` and `at_most`")
    where = metric.get("where", {})
    chosen = [row for row in rows if all(row.get(k) == v for k, v in where.items())]
    if not chosen:
        raise TaskError(f"metric {name}: no record to compute it from ({len(rows)} in its part)")
    needed = {metric["of"], "cluster", *([metric["by"]] if "by" in metric else [])}
    for row in chosen:
        if not needed <= row.keys():
            raise TaskError(f"metric {name}: record {row.get('id')!r} lacks {needed - row.keys()}")
    return chosen


def _values(rows: Sequence[Mapping], metric: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
    values = np.array([row[metric["of"]] for row in rows], dtype=np.float64)
    return (values <= metric["at_most"]).astype(np.float64) if "at_most" in metric else values


def _places(names: Sequence[Any]) -> Int[np.ndarray, " n"]:
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
        return Score(share, *wilson(share, n), n)
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
    drawn = [statistic(values, count[clusters]) for count in _resamples(clusters, times, seed)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    value = statistic(values, np.ones(len(values), dtype=np.int64))
    return Score(value, min(float(low), value), max(float(high), value), len(values))


def _resamples(clusters: np.ndarray, times: int, seed: int):
    """How often each cluster is drawn, `times` times over."""
    g, count = np.random.default_rng(seed), int(clusters.max()) + 1
    for _ in range(times):
        yield np.bincount(g.integers(0, count, count), minlength=count)


# --- two models on the same queries ----------------------------------------------------------------


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
    found: dict[str, dict[str, Comparison]] = {}
    for part, metrics in a.header["metrics"].items():
        rows_a = {row["id"]: row for row in a.rows if row["part"] == part}
        rows_b = {row["id"]: row for row in b.rows if row["part"] == part}
        if rows_a.keys() != rows_b.keys():
            odd = sorted(rows_a.keys() ^ rows_b.keys())
            raise TaskError(f"{part}: {len(odd)} queries are in one file only, such as {odd[0]!r}")
        pairs = [(rows_a[name], rows_b[name]) for name in sorted(rows_a)]
        found[part] = {n: _compare(pairs, metric, f"{part}.{n}") for n, metric in metrics.items()}
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _compare(pairs: list, metric: Mapping[str, Any], name: str) -> Comparison:
    rows_a = _chosen([a for a, _ in pairs], metric, name)
    rows_b = _chosen([b for _, b in pairs], metric, name)
    a, b = _values(rows_a, metric), _values(rows_b, metric)
    clusters = _places([row["cluster"] for row in rows_a])
    groups = _places([row[metric["by"]] for row in rows_a]) if "by" in metric else clusters * 0
    whole = np.ones(len(a), dtype=np.int64)
    if metric["summary"] == "median":
        by_a, by_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")

        def gap(weights: np.ndarray) -> float:
            return median(a[by_a], weights[by_a]) - median(b[by_b], weights[by_b])

        drawn = [gap(count[clusters]) for count in _resamples(clusters, TIMES, SEED)]
        return Comparison(gap(whole), *_ends(drawn), len(a), None, None, None, None)
    # in a mean by group, a query weighs as much as its group has few
    share = 1 / np.bincount(groups)[groups]
    share /= share.sum()
    gains = np.bincount(clusters, weights=(a - b) * share)
    weights = np.bincount(clusters, weights=share)
    pad_gain, pad_weight = [], []
    if "at_most" in metric:
        typical = float(weights.mean())
        pad_gain, pad_weight = [typical, -typical], [typical, typical]
    gains_all = np.concatenate([gains, pad_gain])
    weights_all = np.concatenate([weights, pad_weight])
    drawn = [
        float((gains_all * count).sum() / (weights_all * count).sum())
        for count in _resamples(np.arange(len(gains_all)), TIMES, SEED)
    ]
    won, lost = int((a > b).sum()), int((a < b).sum())
    hits = "at_most" in metric
    if hits and metric["summary"] == "mean" and len(weights) == len(a):
        p, test = mcnemar(won, lost), "McNemar, exact"
    else:
        p, test = flips(gains), "sign flips of clusters"
    only = (won, lost) if hits else (None, None)
    return Comparison(float(gains.sum()), *_ends(drawn), len(a), p, test, *only)


def _ends(drawn: Sequence[float]) -> tuple[float, float]:
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
    g, seen = np.random.default_rng(seed), 1
    limit = abs(gains.sum()) - 1e-12
    for _ in range(times):
        signs = 2 * g.integers(0, 2, len(gains)) - 1
        seen += bool(abs((signs * gains).sum()) >= limit)
    return seen / (times + 1)


# --- for machines ----------------------------------------------------------------------------------


def to_json(scores: Scores) -> dict[str, dict[str, float | int]]:
    """Scores as plain numbers: {"text_to_image": {"R@1": .57, "R@1_low": .55, "R@1_high": .59,
    "R@1_n": 1850, ...}, ...}; shares in [0, 1], in full precision."""
    plain: dict[str, dict[str, float | int]] = {}
    for part, metrics in scores.items():
        plain[part] = {}
        for name, one in metrics.items():
            entries = {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            entries[f"{name}_n"] = one.n
            clash = entries.keys() & plain[part].keys()
            if clash:
                raise TaskError(f"{part}: two metrics would both be written as {clash.pop()!r}")
            plain[part] |= entries
    return plain
