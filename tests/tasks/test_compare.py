"""Two models on the same queries: who is better, and how sure that is."""

import math
from typing import Any

import numpy as np
import pytest

from sensorium.tasks.compare import compare, flips, mcnemar
from sensorium.tasks.records import Records, TaskError, records
from sensorium.tasks.retrieval import retrieve


def binary(hits: np.ndarray, captions: int = 1) -> Records:
    rows = [
        {"part": "p", "id": f"{i:05}", "cluster": f"{i // captions:05}", "rank": 2 - int(hit)}
        for i, hit in enumerate(hits)
    ]
    return records("toy", {"p": {"m": {"of": "rank", "at_most": 1, "summary": "mean"}}}, {}, rows)


def test_mcnemar_is_the_tossing_of_a_coin():
    for a, b in ((0, 0), (1, 0), (3, 9), (5, 5), (0, 12), (40, 61)):
        below = sum(math.comb(a + b, i) for i in range(min(a, b) + 1))
        assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * below / 2 ** (a + b)))


def test_sign_flips_agree_with_mcnemar_where_every_cluster_is_one_query():
    gains = np.array([1.0] * 18 + [-1.0] * 6 + [0.0] * 50)
    assert flips(gains) == pytest.approx(mcnemar(18, 6), abs=0.01)
    assert flips(np.zeros(9)) == 1.0


def test_a_model_does_not_differ_from_itself(world, tmp_path):
    model, samples = world()
    retrieve(model, samples, path=tmp_path / "a")
    for named in compare(tmp_path / "a", tmp_path / "a").values():
        for name, one in named.items():
            assert one.difference == 0.0
            assert one.low <= 0.0 <= one.high
            assert name == "median_rank" or (one.low < 0.0 < one.high and one.p == 1.0)


def test_a_better_model_is_told_from_a_worse_one(world, tmp_path):
    for name, noise in (("good", 0.8), ("bad", 2.0)):
        model, samples = world(pictures=150, noise=noise)
        retrieve(model, samples, path=tmp_path / name)
    found = compare(tmp_path / "good", tmp_path / "bad")
    one = found["text_to_image"]["R@1"]
    assert one.test == "sign flips of clusters"  # three captions a picture
    assert 0 < one.low < one.difference < one.high and one.p is not None and one.p < 0.001
    assert one.only_first is not None and one.only_second is not None
    assert one.difference == pytest.approx((one.only_first - one.only_second) / 450)
    assert found["image_to_text"]["R@1"].test == "McNemar, exact"
    assert found["image_to_text"]["median_rank"].difference < 0  # a lower rank is better


def test_coverage_of_paired_differences_and_false_alarms():
    truth, inside, alarms, trials = 0.1, 0, 0, 150
    for trial in range(trials):
        g = np.random.default_rng(trial)
        u = g.random(200)
        one = compare(binary(u < 0.6), binary((u < 0.45) | (u > 0.95)))["p"]["m"]
        inside += one.low <= truth <= one.high
        same = compare(binary(u < 0.5), binary((u < 0.4) | (u > 0.9)))["p"]["m"]
        alarms += same.p is not None and same.p < 0.05
    assert inside / trials >= 0.9
    assert alarms / trials <= 0.08


def test_only_answers_to_the_same_questions_compare(world, tmp_path):
    model, samples = world()
    cases: tuple[tuple[str, dict[str, Any]], ...] = (
        ("all", {}),
        ("first", {"captions": "first"}),
        ("other split", {"about": {"split": "train"}}),
        ("other ks", {"ks": (1,)}),
        ("other queries", {"queries": range(5)}),
    )
    for name, more in cases:
        retrieve(model, samples, path=tmp_path / name, **more)
    for name, why in (
        ("first", "data"),
        ("other split", "split"),
        ("other ks", "metrics"),
        ("other queries", "in one file only"),
    ):
        with pytest.raises(TaskError, match=why):
            compare(tmp_path / "all", tmp_path / name)
