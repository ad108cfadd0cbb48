"""The compact training loop of the experiments, over the library's own objectives and rules.

`sensorium.train.loop` is for trainings that are kept: it opens data through worker processes,
writes checkpoints with probes and a record of every step, and cannot stop to measure on the way.
An experiment here trains dozens of nets for seconds each, from pictures held in memory, measures
them between steps and keeps none. What decides a result is shared with that loop: the objectives,
the optimiser with its name rules, the schedule, clipping.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from sensorium.train.rules import AdamW, Rules, optimiser
from sensorium.train.schedule import warmup_cosine
from sensorium.types import Objective


class Plan(NamedTuple):
    """How a net is trained; `constant` keeps the rate at its peak behind the warm-up."""

    rules: Rules
    steps: int
    warmup: int
    clip: float = 1.0
    constant: bool = False


def fit(
    net: nn.Module,
    objective: Objective,
    batch: Callable[[int], Any],
    plan: Plan,
    after: Callable[[int], None],
) -> float:
    """Trains `net` in place, in bfloat16 autocast, and returns the mean loss of the last tenth.

    Args:
        batch: the batch of a step, counted from 0.
        after: called behind every step with the number of steps taken, to measure the net.

    Raises:
        ValueError: the loss is not finite.
    """
    learn = optimiser(net, plan.rules)
    losses = []
    for step in range(plan.steps):
        net.train()
        question = objective.pose(net, batch(step), torch.Generator().manual_seed(step))
        with torch.autocast("cpu", torch.bfloat16):
            marked = objective.mark(objective.encode(net, question), question)
        counts = objective.count(question)
        # A batch may leave an objective nothing to answer: a sum of nothing over a count of 0.
        loss = torch.stack([marked[name] / max(1, counts[name]) for name in marked]).sum()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise ValueError(f"the loss is {losses[-1]} at step {step + 1}: lower the rate")
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
        steps = 10**9 if plan.constant else plan.steps
        rate = warmup_cosine(step, steps, plan.warmup)
        for group in learn.param_groups:
            group["lr"] = group["initial_lr"] * rate
        learn.step()
        learn.zero_grad()
        objective.after_step(net)
        after(step + 1)
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def decay_weights(rate: float, decay: float) -> Rules:
    """Every matrix decays; gains, biases, positions and temperatures do not."""
    return (
        (r"norm|bn|bias|\.pos$|\.cls$|log_scale", AdamW(rate)),
        (r".*", AdamW(rate, decay=decay)),
    )
