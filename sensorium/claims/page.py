"""Verdicts, plot and page of an experiment whose jobs are an arm and a seed each.

An experiment says its arms, what was measured of them and what it claims, as data (`Page`); what is
done with that is the same for all. The functions `verdicts`, `plot` and `text` are those that
`claims.reproduce` calls.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.claims import look
from sensorium.claims.record import Record
from sensorium.claims.verdict import Verdict, judge

Found = Mapping[str, Mapping[str, Any]]  # what each arm of one seed found


class Claim(NamedTuple):
    """What is claimed of a number, one a seed.

    `effect` reads it from what the arms of a seed found; `side` is that of 0 on which it shall lie.
    """

    says: str
    effect: Callable[[Found], float]
    side: str = "above"
    unit: str = "points"


class Shown(NamedTuple):
    """A measure as it is shown, times `scale`; `chance` is what guessing gives (None: no line)."""

    key: str
    title: str
    note: str
    scale: float = 100.0
    chance: float | None = None


class Lines(NamedTuple):
    """Arms that differ in one number, in its order: a line in place of a row of dots."""

    name: str
    x: Sequence[int]
    arms: Sequence[str]


class Page(NamedTuple):
    """An experiment's page.

    Attributes:
        arms: the names of arms, in the order in which they are shown.
        measures: the first `plotted` are plotted, all are in the table.
        words: the page in Markdown, with {verdicts}, {rows}, {beside}, {cost} and names of fields
            of the design in braces.
        lines: how measures are drawn, where arms differ in a number.
    """

    arms: Mapping[str, str]
    measures: Sequence[Shown]
    claims: Sequence[Claim]
    words: str
    plotted: int = 1
    lines: Sequence[Lines] = ()

    def verdicts(self, record: Record, design: Any) -> list[Verdict]:
        """Every claim, judged by the rule."""
        each = [found(self, record, seed) for seed in design.seeds]
        return [
            judge(claim.says, [claim.effect(one) for one in each], claim.side, claim.unit)
            for claim in self.claims
        ]

    def plot(self, record: Record, design: Any, path: Path) -> None:
        """The measures, each seed a dot; at the right the effects with their intervals."""
        shown = self.measures[: self.plotted]
        figure, axes = look.canvas((*(1.0 for _ in shown), 1.1))
        for ax, measure in zip(axes, shown, strict=False):
            each = {arm: scores(measure, record, design, arm) for arm in self.arms}
            if not self.lines:
                dots(ax, self.arms, each)
            else:
                lines(ax, self.lines, each)
            if measure.chance is not None:
                ax.axhline(measure.scale * measure.chance, color=look.SOFT, linewidth=1, ls=":")
            look.title(ax, measure.title, measure.note)
        effects(axes[-1], self.verdicts(record, design))
        look.save(figure, path)

    def text(self, record: Record, design: Any, judged: list[Verdict]) -> str:
        """The page."""
        head = ["arm", *(measure.title for measure in self.measures)]
        rows = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(self.measures)]
        for arm, name in self.arms.items():
            cells = [name]
            for measure in self.measures:
                each = scores(measure, record, design, arm)
                cells.append(said(each) if each else "")
            rows.append("| " + " | ".join(cells) + " |")
        fields = {key: told(value) for key, value in design._asdict().items()}
        fields |= {
            "verdicts": look.table(judged),
            "rows": "\n".join(rows),
            "beside": look.beside(judged),
            "cost": look.cost(record),
            "seeds": str(len(design.seeds)),
        }
        return look.wrapped(self.words.format(**fields))


RULE = """A verdict is *holds* when the whole 95% interval over seeds (Student's t) lies on the
claimed side of 0, *fails* when it lies on the other, else *inconclusive*."""
END = """## Each seed

{beside}

## Cost

{cost} Raw results: `results.jsonl` beside this page (its first line is the design), verdicts with
their numbers: `verdicts.json`.
"""


def gap(more: str, less: str, measure: str, scale: float = 100.0) -> Callable[[Found], float]:
    """How much larger a measure is in one arm than in another, in percentage points."""
    return lambda one: scale * (one[more][measure] - one[less][measure])


def found(page: Page, record: Record, seed: int) -> Found:
    """What all arms found on a seed."""
    return {arm: record.get(arm=arm, seed=seed) for arm in page.arms}


def scores(measure: Shown, record: Record, design: Any, arm: str) -> list[float]:
    """A measure of an arm, one number a seed; none where the arm has no such measure."""
    each = [record.get(arm=arm, seed=seed) for seed in design.seeds]
    return [measure.scale * one[measure.key] for one in each if measure.key in one]


def said(each: Sequence[float]) -> str:
    """A mean, and every seed."""
    return f"{sum(each) / len(each):.1f} ({', '.join(f'{one:.1f}' for one in each)})"


def told(value: Any) -> str:
    """A field of the design in words."""
    if isinstance(value, tuple) and "_fields" in vars(type(value)):
        steps, batch, rate = value
        return f"{steps:,} steps of {batch} at a peak rate of {rate:g}"
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- parts of the plot ---------------------------------------------------------------------------


def dots(ax: Any, arms: Mapping[str, str], each: Mapping[str, Sequence[float]]) -> None:
    """A column an arm: its seeds as dots, their mean as a dash and in figures."""
    names = [arm for arm in arms if each[arm]]
    for x, arm in enumerate(names):
        colour = look.COLOURS[0 if x == 0 else 1]
        mean = sum(each[arm]) / len(each[arm])
        ax.scatter([x] * len(each[arm]), each[arm], color=colour, s=18, alpha=0.55, linewidths=0)
        ax.hlines(mean, x - 0.28, x + 0.28, color=colour, linewidth=2)
        ax.annotate(
            f"{mean:.1f}",
            (x, max(each[arm])),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            color=look.INK,
            fontsize=9,
        )
    below = [textwrap.fill(arms[arm], 10, break_long_words=False) for arm in names]
    ax.set_xticks(range(len(names)), below, fontsize=8)
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.margins(y=0.15)


def lines(ax: Any, rows: Sequence[Lines], each: Mapping[str, Sequence[float]]) -> None:
    """Each line through the means of its arms; seeds are dots.

    ValueError: there are more lines than colours.
    """
    ends = []
    for of, colour in zip(rows, look.COLOURS[: len(rows)], strict=True):
        means = [sum(each[arm]) / len(each[arm]) for arm in of.arms]
        ax.plot(of.x, means, color=colour, linewidth=2)
        for x, arm in zip(of.x, of.arms, strict=True):
            ax.scatter(
                [x] * len(each[arm]), each[arm], color=colour, s=16, alpha=0.55, linewidths=0
            )
        ends.append((of.name, colour, means[-1]))
    low, high = ax.get_ylim()
    look.names(ax, max(of.x[-1] for of in rows), ends, apart=math.ceil((high - low) / 14))
    ticks = sorted({x for of in rows for x in of.x})
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])


def effects(ax: Any, judged: Sequence[Verdict]) -> None:
    """A line a claim: its effect, its interval, its verdict; the claimed side is right of 0."""
    ax.grid(axis="y", visible=False)
    ax.axvline(0, color=look.SOFT, linewidth=1)
    for y, v in enumerate(reversed(judged)):
        e = v.effect
        colour = {"holds": look.COLOURS[1], "fails": look.COLOURS[0]}.get(v.word, look.SOFT)
        ax.errorbar(
            e.value, y, xerr=[[e.value - e.low], [e.high - e.value]], color=colour,
            marker="o", markersize=5, capsize=4, elinewidth=1.4,
        )  # fmt: skip
        ax.annotate(
            f"{v.claim}: {v.word}",
            (0, y),
            xycoords=("axes fraction", "data"),
            xytext=(0, 10),
            textcoords="offset points",
            color=look.INK,
            fontsize=8.5,
            bbox={"facecolor": look.PAGE, "linewidth": 0, "pad": 1},
        )
    ax.set_yticks([])
    ax.set_ylim(-0.5, len(judged) - 0.3)
    look.title(ax, "Effects", "with the 95% interval over seeds")
