"""Intervals hold what they promise, and a score is what its records say."""

import numpy as np
import pytest

from sensorium.tasks import scores
from sensorium.tasks.records import TaskError, read, records, write
from sensorium.tasks.scores import (
    bootstrap,
    mean,
    mean_by_group,
    median,
    proportion,
    score,
    to_json,
)


def alone(n: int) -> np.ndarray:
    return np.arange(n)


def test_wilson_agrees_with_its_published_example():
    # 81 of 263: the worked example of Newcombe, Statistics in Medicine 17 (1998), table I
    low, high = scores.wilson(81 / 263, 263.0)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = scores.wilson(0 / 20, 20.0)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.1611)
    low, high = scores.wilson(1 / 29, 29.0)
    assert (round(low, 4), round(high, 4)) == (0.0061, 0.1718)


def test_a_proportion_of_independent_hits_is_wilsons():
    hits = np.array([1.0] * 15 + [0.0] * 133)
    assert proportion(hits, alone(148)) == (15 / 148, *scores.wilson(15 / 148, 148.0), 148)


def test_captions_that_agree_count_as_one_query():
    hits = np.repeat((np.arange(100) < 30).astype(float), 5)
    together = proportion(hits, np.repeat(np.arange(100), 5))
    apart = proportion(hits, alone(500))
    once = proportion(hits[::5], alone(100))
    assert together.value == apart.value == once.value
    assert together.high - together.low == pytest.approx(once.high - once.low, rel=0.03)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_perfect_and_hopeless_scores_keep_an_honest_width():
    clusters = np.repeat(np.arange(20), 5)
    perfect, hopeless = proportion(np.ones(100), clusters), proportion(np.zeros(100), clusters)
    assert perfect == (1.0, scores.wilson(1.0, 20.0)[0], 1.0, 100)
    assert (hopeless.low, hopeless.value) == (0.0, 0.0)
    assert hopeless.high == pytest.approx(1 - perfect.low)
    grouped = mean_by_group(np.ones(100), clusters)
    assert 0.9 < grouped.low < grouped.high == 1.0


def covered(draw, truth: float, interval, trials: int) -> float:
    """The share of simulated studies whose interval holds the truth."""
    inside = [
        low <= truth <= high
        for _, low, high, _ in (interval(*draw(np.random.default_rng(i))) for i in range(trials))
    ]
    return sum(inside) / trials


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n", [40, 400])
def test_coverage_of_proportions(p, n):
    def draw(g):
        return ((g.random(n) < p).astype(float), alone(n))

    assert 0.925 <= covered(draw, p, proportion, 2000) <= 0.985


@pytest.mark.parametrize("p", [0.05, 0.3, 0.6])
@pytest.mark.parametrize("strength", [0.3, 1.0, 50.0])
def test_coverage_when_captions_of_a_picture_agree(p, strength):
    """Each picture has its own difficulty (beta), its five captions are tossed with it."""
    clusters = np.repeat(np.arange(100), 5)

    def draw(g):
        difficulty = g.beta(p * strength, (1 - p) * strength, 100)
        return (g.random(500) < difficulty[clusters]).astype(float), clusters

    assert 0.92 <= covered(draw, p, proportion, 1000) <= 0.985


def test_coverage_of_the_mean_per_class():
    """Classes of unequal size and difficulty, which stay as they are between the studies."""
    sizes = np.random.default_rng(0).integers(1, 30, 25)
    chances = np.random.default_rng(1).random(25)
    groups = np.repeat(np.arange(25), sizes)

    def draw(g):
        return ((g.random(len(groups)) < chances[groups]).astype(float), groups)

    assert 0.94 <= covered(draw, float(chances.mean()), mean_by_group, 1000) <= 0.995


def test_coverage_of_the_bootstrapped_mean_and_median():
    truth = np.exp(0.0)  # the median of the log-normal

    def drawn(g):
        return np.exp(g.normal(size=80)), alone(80)

    def of_median(v, c):
        return bootstrap(v, median, c, times=300)

    assert 0.91 <= covered(drawn, truth, of_median, 300) <= 0.99

    def clustered(g):
        clusters = np.repeat(np.arange(60), 3)
        return 2.0 + g.normal(size=60)[clusters] + g.normal(size=180), clusters

    def of_mean(v, c):
        return bootstrap(v, mean, c, times=300)

    assert 0.91 <= covered(clustered, 2.0, of_mean, 300) <= 0.99


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_weighted_mean_and_median_are_those_of_the_values_repeated(n):
    g = np.random.default_rng(n)
    values, weights = np.sort(g.normal(size=n)), g.integers(0, 4, n)
    weights[0] += 1
    repeated = np.repeat(values, weights)
    assert mean(values, weights) == pytest.approx(repeated.mean())
    assert median(values, weights) == np.median(repeated)


def test_bootstrap_is_seeded_and_ignores_the_order_of_its_values():
    g = np.random.default_rng(0)
    values, clusters = g.normal(size=50), g.permutation(50) // 3
    shuffle = g.permutation(50)
    once = bootstrap(values, median, clusters)
    assert bootstrap(values[shuffle], median, clusters[shuffle]) == once
    assert bootstrap(values, median, clusters, seed=1) != once


def test_scores_come_from_the_file_alone(tmp_path):
    rows = [
        {"part": "p", "id": str(i), "cluster": str(i // 2), "rank": i, "f1": i / 10, "kind": i % 2}
        for i in range(10)
    ]
    metrics = {
        "p": {
            "R@5": {"of": "rank", "at_most": 5, "summary": "mean"},
            "f1": {"of": "f1", "summary": "mean"},
            "median_rank": {"of": "rank", "summary": "median"},
            "by_kind": {"of": "rank", "at_most": 5, "summary": "mean_by_group", "by": "kind"},
        },
        "odd": {"R@5": {"of": "rank", "at_most": 5, "summary": "mean", "from": "p",
                        "where": ["kind", 1]}},
    }  # fmt: skip
    write(tmp_path / "r.jsonl", records("toy", metrics, {}, rows))
    found = score(tmp_path / "r.jsonl")
    assert found == score(read(tmp_path / "r.jsonl"))
    assert {name: one.value for name, one in found["p"].items()} == pytest.approx(
        {"R@5": 0.6, "f1": 0.45, "median_rank": 4.5, "by_kind": 0.6}
    )
    assert (found["odd"]["R@5"].value, found["odd"]["R@5"].n) == (0.6, 5)
    plain = to_json(found)
    assert plain["scores"]["p"]["R@5"] == 0.6
    low, high = plain["intervals"]["p"]["R@5"]
    assert 0 < low < 0.6 < high < 1
    assert plain["queries"]["odd"]["R@5"] == 5
    assert all(type(x) is float for x in (low, high, *plain["scores"]["p"].values()))


@pytest.mark.parametrize(
    "metric",
    [
        {"of": "rank", "summary": "mode"},
        {"of": "rank", "summary": "mean", "at_least": 3},
        {"of": "recall", "summary": "mean"},
        {"of": "rank", "summary": "mean", "from": "elsewhere"},
        {"of": "rank", "summary": "mean_by_group", "by": "id"},
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused(metric):
    rows = [{"part": "p", "id": "a", "cluster": "a", "rank": 1}]
    with pytest.raises(TaskError, match=r"p\.m"):
        score(records("toy", {"p": {"m": metric}}, {}, rows))


def test_scores_of_nothing_are_refused():
    with pytest.raises(TaskError, match="empty"):
        proportion(np.zeros(0), np.zeros(0, dtype=int))
    with pytest.raises(TaskError, match="empty"):
        bootstrap(np.zeros(0), mean, np.zeros(0, dtype=int))
    with pytest.raises(TaskError, match="0 or 1"):
        proportion(np.array([0.5]), alone(1))
