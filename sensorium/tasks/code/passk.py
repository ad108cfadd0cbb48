"""pass@k: the chance that at least one of k programs is right, unbiased from n of which c are.

Chen et al. (arXiv 2107.03374), equation 1 and figure 3.
"""

from collections.abc import Iterable

import numpy as np

from sensorium.tasks.records import TaskError


def pass_at(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k), as a product that neither overflows nor cancels.

    TaskError: k is above n (the estimate does not exist), or the numbers are no counts.
    """
    if not 0 <= c <= n or k < 1:
        raise TaskError(f"pass@{k} of {c} right among {n}: these are no counts")
    if k > n:
        raise TaskError(f"pass@{k} needs at least {k} samples of a problem, there are {n}")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1, dtype=np.float64)))


def checked(ks: Iterable[int], counts: dict[str, int]) -> tuple[int, ...]:
    """Different k in order.

    TaskError: none, one below 1, or one above the samples of some problem; which, and how many.
    """
    found = tuple(sorted(set(ks)))
    if not found or found[0] < 1:
        raise TaskError("say at least one k of pass@k, each 1 or more")
    least = min(counts, key=lambda name: counts[name])
    if found[-1] > counts[least]:
        short = sum(count < found[-1] for count in counts.values())
        raise TaskError(
            f"pass@{found[-1]} needs at least {found[-1]} samples of every problem; {short} of"
            f" {len(counts)} have fewer ({least} has {counts[least]}): draw more, or ask less"
        )
    return found
