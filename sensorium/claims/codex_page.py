"""What Codex's experiment shows and claims."""

import math
from collections.abc import Sequence

from sensorium.claims.codex import ARMS
from sensorium.claims.page import END, RULE, Claim, Found, Lines, Page, Shown
from sensorium.claims.verdict import slope

SIZES = tuple(ARMS)
KILO = [round(12 * one.layers * one.width**2 / 1000) for one in ARMS.values()]  # as `parameters`


def mean(values: Sequence[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


def by_size(measure: str, scale: float):
    """The slope of a measure on log2 of the parameters."""

    def effect(one: Found) -> float:
        x = [math.log2(one[size]["parameters"]) for size in SIZES]
        return slope(x, [scale * one[size][measure] for size in SIZES])

    return effect


def over(more: str, less: str):
    """How much larger one measure is than another, mean over the sizes."""
    return lambda one: mean([100 * (one[size][more] - one[size][less]) for size in SIZES])


def by_steps(one: Found) -> float:
    """Points of pass@1 of the largest for each step more."""
    found = one["l"]["by_steps"]
    return slope([int(steps) for steps in found], [100 * share for share in found.values()])


TEXT = (
    """# Codex: size, samples and pass@k

Chen et al. (2021, table 1) report on HumanEval pass@1 and pass@10 of 2.0 and 3.6% for 12M
parameters, 8.2 and 12.8% for 85M, 28.8 and 46.8% for 12B; the loss falls as a power of the size.
This page measures those relations at a scale that takes minutes: `sensorium reproduce codex` makes
it, the experiment and the rule are written in `sensorium/claims/codex.py`.

{verdicts}

"""
    + RULE
    + """

![pass@1, pass@10 and loss against size, and the effects](claim.png)

{rows}

Means over {seeds} seeds; each seed in brackets. Sizes are parameters beside the embeddings.

## What was run

Functions of one to four changes to a text, 16 kinds of them, named in order by the docstring and
made by one line each. Decoders of GPT-2's shape learn drawn functions, {teach}; a fifth of all
chains is never drawn for training. Of held-out chains of two to four steps, {problems} problems
are asked, {samples} samples each at temperature {temperature}; every program runs in the sandbox
against five hidden comparisons with the true function. The tokenizer is a byte-level BPE learnt
from drawn programs.

## What differs from the paper

- Three to five orders of magnitude in size, and programs of one form in place of public code: what
  is shown is that the relations can be seen, not how large they are.
- Every size is taught the same number of tokens, from scratch; the paper's go on from GPT-3.
- One temperature for both k, where the paper takes the best for each.
- The intervals are over seeds of one kind of program.

"""
    + END
)

PAGE = Page(
    arms={size: f"{kilo} thousand" for size, kilo in zip(SIZES, KILO, strict=True)},
    measures=(
        Shown("pass@1", "pass@1", "in %, against thousands of parameters"),
        Shown("pass@10", "pass@10", "in %"),
        Shown("loss", "Loss", "in 1/100 nat a token"),
        Shown("likeliest", "Likeliest sample", "in %"),
    ),
    claims=(
        Claim("loss falls with size", by_size("loss", 1.0), "below", "nats a doubling"),
        Claim("pass@1 rises with size", by_size("pass@1", 100.0), unit="points a doubling"),
        Claim("pass@10 rises with size", by_size("pass@10", 100.0), unit="points a doubling"),
        Claim("pass@10 is above pass@1", over("pass@10", "pass@1")),
        Claim("the likeliest sample wins", over("likeliest", "pass@1")),
        Claim("longer chains pass less", by_steps, "below", "points a step"),
    ),
    words=TEXT,
    plotted=3,
    lines=(Lines("", KILO, SIZES),),
)
