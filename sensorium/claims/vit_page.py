"""Verdicts, plot and page of the experiment on ViT."""

import math
from pathlib import Path

from sensorium.claims import look
from sensorium.claims.record import Record
from sensorium.claims.verdict import Interval, Verdict, judge, over_seeds, slope
from sensorium.claims.vit import ARMS, NAMES, Design


def gaps(record: Record, design: Design, size: int, measure: str = "probe") -> list[float]:
    """Residual net less ViT, in percentage points, one number a seed."""

    def of(arm: str, seed: int) -> float:
        return 100 * record.get(arm=arm, size=size, seed=seed)[measure]

    return [of("residual", seed) - of("vit", seed) for seed in design.seeds]


def verdicts(record: Record, design: Design) -> list[Verdict]:
    """The three claims, by the rule of `claims.vit`."""
    by_size = [gaps(record, design, size) for size in design.sizes]
    logs = [math.log2(size) for size in design.sizes]
    slopes = [slope(logs, by_seed) for by_seed in zip(*by_size, strict=True)]
    last = [record.get(arm="vit", size=design.sizes[-1], seed=seed) for seed in design.seeds]
    return [
        judge("the gap shrinks with data", slopes, "below", "points a doubling of N"),
        judge("the residual net leads on little data", by_size[0], "above", "points"),
        judge(
            "positions learn the plane",
            [one["near"] - one["far"] for one in last],
            "above",
            "cosine, near less far",
        ),
    ]


def score(record: Record, design: Design, arm: str, size: int, measure: str) -> Interval:
    """An arm's accuracy in percent over seeds."""
    return over_seeds(
        [100 * record.get(arm=arm, size=size, seed=seed)[measure] for seed in design.seeds]
    )


def plot(record: Record, design: Design, path: Path) -> None:
    """Left the accuracy of both arms, right their gap; each seed a dot."""
    figure, (left, right) = look.canvas((1.25, 1.0))
    lines = []
    for arm, colour in zip(ARMS, look.COLOURS, strict=False):
        found = [score(record, design, arm, size, "probe") for size in design.sizes]
        left.plot(design.sizes, [f.value for f in found], color=colour, linewidth=2)
        for size in design.sizes:
            each = [100 * record.get(arm=arm, size=size, seed=s)["probe"] for s in design.seeds]
            left.scatter([size] * len(each), each, color=colour, s=16, alpha=0.55, linewidths=0)
        lines.append((NAMES[arm], colour, found[-1].value))
    look.names(left, design.sizes[-1], lines, apart=2)
    look.title(left, "Linear probe on a held-out task", "accuracy in %, against training pictures")
    by_size = [over_seeds(gaps(record, design, size)) for size in design.sizes]
    below = [f.value - f.low for f in by_size]
    above = [f.high - f.value for f in by_size]
    right.axhline(0, color=look.SOFT, linewidth=1)
    right.errorbar(
        design.sizes,
        [f.value for f in by_size],
        [below, above],
        color=look.COLOURS[2],
        linewidth=2,
        elinewidth=1.2,
        capsize=4,
        marker="o",
        markersize=5,
    )
    look.title(right, "Residual net less ViT", "points, with the 95% interval over seeds")
    for ax in (left, right):
        ax.set_xscale("log", base=2)
        ax.set_xticks(design.sizes, [f"{size:,}" for size in design.sizes])
        ax.minorticks_off()
        ax.margins(x=0.08)
    look.save(figure, path)


def text(record: Record, design: Design, found: list[Verdict]) -> str:
    """The page, in Markdown."""
    rows = []
    for size in design.sizes:
        cells = [f"{size:,}"]
        for measure in ("probe", "direct"):
            cells += [f"{score(record, design, arm, size, measure).value:.1f}" for arm in ARMS]
            gap = over_seeds(gaps(record, design, size, measure))
            cells.append(f"{gap.value:+.1f} ({gap.low:+.1f} to {gap.high:+.1f})")
        rows.append("| " + " | ".join(cells) + " |")
    counts = {arm: record.get(arm=arm, size=design.sizes[0], seed=design.seeds[0]) for arm in ARMS}
    sizes = " and ".join(f"{counts[arm]['parameters']:,} ({NAMES[arm]})" for arm in ARMS)
    return look.wrapped(
        PAGE.format(
            verdicts=look.table(found),
            rows="\n".join(rows),
            parameters=sizes,
            steps=design.steps,
            batch=design.batch,
            seeds=len(design.seeds),
            epochs=f"{design.steps * design.batch / design.sizes[-1]:.1f}",
            rates=", ".join(f"{NAMES[arm]} {design.rate[arm]:g}" for arm in ARMS),
            beside=look.beside(found),
            cost=look.cost(record),
        )
    )


PAGE = """# ViT: does a residual net's lead shrink as data grows?

Dosovitskiy et al. (2020) find that transformers without a convolution's assumptions lose to
residual nets on little data and catch up on much. This page measures that at a scale that takes
minutes: `sensorium reproduce vit` makes it, the rule is written in `sensorium/claims/vit.py`.

{verdicts}

A verdict is *holds* when the whole 95% interval over seeds (Student's t) lies on the claimed side
of 0, *fails* when it lies on the other, else *inconclusive*.

![Accuracy of both arms and their gap](claim.png)

| N | residual net, probe | ViT, probe | gap | residual net, direct | ViT, direct | gap |
|---:|---:|---:|---:|---:|---:|---:|
{rows}

Accuracies in percent, means over {seeds} seeds; gaps in points with their 95% interval. *Probe*
is a linear classifier on frozen features, on shapes and textures that training never showed (8
classes, chance 12.5%); *direct* is the accuracy on new pictures of the 24 training classes
(chance 4.2%) and decides nothing.

## What was run

Drawn pictures of 32 px: one of three shapes with one of two textures, and a marker right of,
below, left of or above it. The towers have {parameters} parameters. Both see the same N pictures
for {steps} steps of {batch}, AdamW with warm-up and cosine, no augmentation. Peak rates: {rates}.

## What differs from the paper

- Four to five orders of magnitude: N of 500 to 8,000 and not 1.3 to 300 million; 32 px and not 224.
- The number of steps is the same for every N (at the largest N each picture is seen {epochs}
  times). The paper trains longer on more data. A ViT that is short of steps, and not of data,
  cannot catch up here: this design asks about data at a fixed, small budget of compute.
- The ViT is short of steps at every N: its direct accuracy stays near the 16.7% that knowing where
  the marker lies would give by itself. The gap's slope is therefore that of two nets of which one
  has hardly begun to read shapes and textures; a longer training could give another verdict.
- The residual net is a plain one with batch normalisation; the paper's has group normalisation and
  weight standardisation. Rates were chosen in short trials on a seed that is not measured, which
  also set how hard the pictures are (at the largest N, so that neither arm was at its ceiling).
- No fine-tuning and no few-shot transfer: a linear probe on a held-out task stands for transfer.
- Few seeds: the intervals are over seeds of one kind of picture and say nothing of photographs.

## Each seed

{beside}

## Cost

{cost} Raw results: `results.jsonl` beside this page (its first line is the design), verdicts with
their numbers: `verdicts.json`.
"""
