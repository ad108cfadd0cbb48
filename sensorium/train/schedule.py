"""The learning rate over the steps, as a share of its peak."""

import math


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.0) -> float:
    """Linear from 0 over `warmup` steps, then half a cosine down to `floor` at `steps`.

    `step` counts from 0; the first step already has a rate above 0.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
