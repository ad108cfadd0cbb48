"""Verdicts by a rule that was fixed before anything was measured.

An effect is measured once a seed; its 95% interval is Student's t over the seeds. The claim *holds*
when the whole interval lies on the claimed side of the threshold, *fails* when it lies wholly on
the other side, and is *inconclusive* otherwise. Nothing else enters: not the size of the effect,
not how a plot looks.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

# the 97.5th percentile of Student's t with 1, 2, ... degrees of freedom
T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160)


class Interval(NamedTuple):
    """A mean over seeds and its 95% interval."""

    value: float
    low: float
    high: float


class Verdict(NamedTuple):
    """What was claimed, what was measured, and the word that follows from the rule."""

    claim: str
    word: str  # holds, fails, inconclusive
    effect: Interval
    threshold: float
    claimed: str  # above, below: the side of the threshold that was claimed
    unit: str
    seeds: tuple[float, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return self._asdict() | {"effect": self.effect._asdict(), "seeds": list(self.seeds)}


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean and Student's t interval of one number a seed.

    Raises:
        ValueError: fewer than two seeds, more than the table of t has, or a number not finite.
    """
    n = len(values)
    if not 2 <= n <= len(T) + 1:
        raise ValueError(f"an interval over seeds needs 2 to {len(T) + 1} of them, not {n}")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"an effect is not a finite number: {list(values)}")
    mean = float(np.mean(values))
    half = T[n - 2] * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def judge(
    claim: str, values: Sequence[float], claimed: str, unit: str, threshold: float = 0.0
) -> Verdict:
    """Applies the rule to one number a seed.

    Args:
        claimed: "above" or "below", the side of the threshold on which the claim puts the effect.

    Raises:
        ValueError: `claimed` is another word, or no interval can be had (see `over_seeds`).
    """
    if claimed not in ("above", "below"):
        raise ValueError(f"a claim puts its effect 'above' or 'below', not {claimed!r}")
    effect = over_seeds(values)
    above, below = effect.low > threshold, effect.high < threshold
    word = "inconclusive"
    if above or below:
        word = "holds" if above == (claimed == "above") else "fails"
    return Verdict(claim, word, effect, threshold, claimed, unit, tuple(values))


def slope(x: Sequence[int] | Sequence[float], y: Sequence[float]) -> float:
    """The least-squares slope of y on x."""
    return float(np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)[0])


def saving(
    seen: Sequence[int], slow: Sequence[float], fast: Sequence[float], floor: float, levels: int = 9
) -> float:
    """How many times more examples `slow` needs than `fast` for equal accuracy, as log2.

    Each curve is made monotone (the best so far) and read linearly in the logarithm of the examples
    seen; log2 of the ratio is averaged over `levels` accuracies, evenly spaced inside the range
    that both curves pass through. Where one curve ends below that range it counts as reaching the
    range's foot with its last example: the result is then a bound, nearer to 0 than the truth.

    Args:
        seen: ascending numbers of examples, the same for both.
        slow: accuracies of the arm that is claimed to need more.
        fast: accuracies of the other.
        floor: the least accuracy that counts, clear of chance.

    Raises:
        ValueError: neither curve rises above the floor and the other's start.
    """
    grid = np.log2(np.asarray(seen, float))
    curves = [np.maximum.accumulate(np.asarray(curve, float)) for curve in (slow, fast)]
    foot = max(floor, *(float(curve[0]) for curve in curves))
    tops = [float(curve[-1]) for curve in curves]
    if max(tops) <= foot:
        raise ValueError(
            f"no arm rises above an accuracy of {foot:.3f}: nothing can be compared; measure at "
            "fewer and at more examples"
        )
    if min(tops) <= foot:
        wanted = np.array([foot])
    else:
        wanted = foot + (min(tops) - foot) * (np.arange(levels) + 1) / (levels + 1)
    needed = [crossing(grid, curve, wanted) for curve in curves]
    return float(np.mean(needed[0] - needed[1]))


def crossing(
    grid: Float[np.ndarray, " n"], curve: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """Where a curve that never falls first reaches each value; its end where it never does."""
    found = []
    for value in wanted:
        after = int(np.searchsorted(curve, value))  # curve[after - 1] < value <= curve[after]
        if after in (0, len(curve)):
            found.append(grid[min(after, len(curve) - 1)])
            continue
        share = (value - curve[after - 1]) / (curve[after] - curve[after - 1])
        found.append(grid[after - 1] + share * (grid[after] - grid[after - 1]))
    return np.array(found)


def resampled(values: Sequence[float], times: int = 10_000, seed: int = 0) -> Interval:
    """The mean and its percentile bootstrap over seeds: narrower than t, shown beside it."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.asarray(values, float), (times, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(np.mean(values)), float(low), float(high))
