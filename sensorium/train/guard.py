"""Stops a training that has gone wrong, with a diagnosis, before the last good state is lost."""

import math
from collections.abc import Mapping

PATIENCE = 200  # steps that a loss may stand still at ln(batch) before it counts as frozen


class TrainingStopped(ValueError):
    """A training was stopped because going on would be a waste; the text says why."""


class Guard:
    """Watches losses and gradient norms.

    A loss that is not finite, or exactly zero, stops at once. A contrastive loss that stays at
    ln(batch), the loss of a constant embedding, for `PATIENCE` steps stops as frozen.

    Args:
        batch: samples in a global batch.
        warmup: steps that are not counted, since the rate is still low.
    """

    def __init__(self, batch: int, warmup: int):
        self.chance, self.warmup = math.log(max(batch, 2)), warmup
        self.still = 0

    def check(self, step: int, losses: Mapping[str, float], norm: float) -> None:
        """Raises TrainingStopped if this step's losses or gradient norm say so."""
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise TrainingStopped(
                    f"step {step}: the loss {name!r} is {loss}. Look at the last batch and at the "
                    "learning rate; bf16 overflows less than float16, float32 least."
                )
            if loss == 0.0:
                raise TrainingStopped(
                    f"step {step}: the loss {name!r} is exactly 0. Nothing is being asked: every "
                    "target is masked, or the batch holds a single sample."
                )
        if not math.isfinite(norm):
            raise TrainingStopped(
                f"step {step}: the gradient norm is {norm} although the losses are finite. "
                "Lower the learning rate, or train in float32."
            )
        frozen = any(abs(loss - self.chance) < 1e-3 for loss in losses.values())
        self.still = self.still + 1 if frozen and step > self.warmup else 0
        if self.still >= PATIENCE:
            raise TrainingStopped(
                f"step {step}: the loss has stood at ln(batch) = {self.chance:.4f} for {PATIENCE} "
                "steps: every embedding is the same vector. Lower the learning rate, warm up for "
                "longer, and check that pictures and texts are still paired."
            )
