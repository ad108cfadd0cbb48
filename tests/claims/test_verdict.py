"""Verdicts on constructed numbers: each word of the rule, and what it refuses."""

import math

import numpy as np
import pytest

from sensorium.claims.verdict import T, judge, over_seeds, resampled, saving, slope


@pytest.mark.parametrize(
    ("values", "claimed", "word"),
    [
        ([2.0, 2.2, 1.9], "above", "holds"),
        ([-2.0, -2.2, -1.9], "above", "fails"),
        ([2.0, -2.2, 1.9], "above", "inconclusive"),
        ([-2.0, -2.2, -1.9], "below", "holds"),
        ([2.0, 2.2, 1.9], "below", "fails"),
        ([0.0, 0.0, 0.0], "above", "inconclusive"),
    ],
)
def test_the_whole_interval_must_lie_on_one_side(
    values: list[float], claimed: str, word: str
) -> None:
    assert judge("a claim", values, claimed, "points").word == word


def test_a_threshold_moves_the_verdict() -> None:
    values = [2.0, 2.2, 1.9]
    assert judge("by more than 1", values, "above", "points", threshold=1.0).word == "holds"
    assert judge("by more than 2", values, "above", "points", threshold=2.0).word == "inconclusive"
    assert judge("by more than 3", values, "above", "points", threshold=3.0).word == "fails"


def test_the_interval_is_students() -> None:
    found = over_seeds([1.0, 2.0, 3.0, 4.0])
    half = 3.182 * math.sqrt(5 / 3) / 2
    assert found.value == 2.5
    assert np.allclose([found.low, found.high], [2.5 - half, 2.5 + half])


def test_students_interval_covers_and_the_bootstrap_of_few_seeds_does_not(
    rng: np.random.Generator,
) -> None:
    drawn = rng.standard_normal((400, 4))
    covered = [(f := over_seeds(list(row))).low <= 0 <= f.high for row in drawn]
    loose = [(f := resampled(list(row), times=500)).low <= 0 <= f.high for row in drawn]
    assert 0.92 < np.mean(covered) < 0.98
    assert np.mean(loose) < 0.92


@pytest.mark.parametrize("values", [[1.0], [1.0] * (len(T) + 2), [1.0, math.nan], [1.0, math.inf]])
def test_what_has_no_interval_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"seeds|finite"):
        over_seeds(values)


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(ValueError, match="'above' or 'below'"):
        judge("a claim", [1.0, 2.0], "positive", "points")


def test_the_slope_of_a_line_is_its_slope() -> None:
    assert math.isclose(slope([9.0, 11.0, 13.0], [5.0, 4.0, 3.0]), -0.5)


def test_a_curve_moved_to_the_right_needs_that_many_times_more() -> None:
    seen = [2**n for n in range(10, 17)]
    fast = [0.1, 0.2, 0.4, 0.7, 0.8, 0.9, 0.95]
    slow = [0.1, 0.1, 0.1, 0.2, 0.4, 0.7, 0.8]  # two doublings later
    assert math.isclose(saving(seen, slow, fast, 0.1), 2.0, abs_tol=1e-6)
    assert math.isclose(saving(seen, fast, slow, 0.1), -2.0, abs_tol=1e-6)
    assert saving(seen, fast, fast, 0.1) == 0


def test_a_dip_does_not_count_as_needing_more() -> None:
    assert saving([1, 2, 4, 8], [0.1, 0.5, 0.3, 0.9], [0.1, 0.5, 0.5, 0.9], 0.1) == 0


def test_an_arm_that_stays_at_chance_gives_a_bound() -> None:
    """The other passes the floor after two examples; this one had eight and did not."""
    stays, learns = [0.1, 0.1, 0.1, 0.1], [0.1, 0.2, 0.5, 0.9]
    assert saving([1, 2, 4, 8], stays, learns, floor=0.2) == 2
    assert saving([1, 2, 4, 8], learns, stays, floor=0.2) == -2


def test_two_arms_at_chance_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"no arm rises above an accuracy of 0\.200"):
        saving([1, 2, 4], [0.1, 0.12, 0.1], [0.1, 0.1, 0.1], floor=0.2)
