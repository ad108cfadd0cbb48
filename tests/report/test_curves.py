"""Curves: smoothing against its definition, thinning that keeps extremes, round ticks."""

import numpy as np
import pytest

from sensorium.report.curves import decades, linear, number, rounded, smooth, steps, thinned


def test_smoothing_is_the_gaussian_mean(rng: np.random.Generator) -> None:
    x, y, width = np.arange(60.0), rng.standard_normal(60), 4.0
    for at, value in enumerate(smooth(x, y, width)):
        near = np.abs(x - x[at]) <= 3 * width
        weights = np.exp(-((x[near] - x[at]) ** 2) / (2 * width**2))
        assert value == pytest.approx((weights * y[near]).sum() / weights.sum())
    assert (smooth(x, np.ones(60), width) == pytest.approx(1)) and len(
        smooth(x[:1], y[:1], 0.0)
    ) == 1


def test_thinning_keeps_the_extremes_and_the_order(rng: np.random.Generator) -> None:
    x, y = np.arange(100_000.0), rng.standard_normal(100_000)
    a, b = thinned(x, y)
    assert len(a) <= 800 and (np.diff(a) > 0).all()
    assert b.min() == y.min() and b.max() == y.max() and (y[a.astype(int)] == b).all()
    assert thinned(x[:9], y[:9])[0] is not None and len(thinned(x[:9], y[:9])[0]) == 9


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3, 5), (1e-9, 2e-9), (7, 7), (0, 0), (1e6, 4e7), (-1e-3, 0)]
)
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    axis = linear(low, high)
    assert 1 <= len(axis.ticks) <= 9
    assert all(-1e-9 <= axis.at(value) <= 1 + 1e-9 for value, _ in axis.ticks)
    assert 0 <= axis.at(low) <= 1 and 0 <= axis.at(high) <= 1
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)


def test_a_runs_axis_begins_and_ends_with_its_steps() -> None:
    assert [text for _, text in steps(1, 600).ticks] == ["1", "200", "400", "600"]
    assert [text for _, text in steps(1, 1).ticks] == ["1"]
    assert [text for _, text in steps(1, 2).ticks] == ["1", "2"]
    assert [text for _, text in decades(1, 1871).ticks] == ["1", "10", "100", "1,871"]


def test_round_numbers() -> None:
    assert [rounded(step) for step in (0.7, 1.3, 3.4, 8, 23)] == [0.5, 1, 5, 10, 20]
    assert number(0.25, 0.05) == "0.25" and number(1500, 500) == "1,500" and number(0, 1) == "0"
