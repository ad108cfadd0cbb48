"""How the claims' plots look, and the parts that their pages share."""

import platform
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sensorium.claims.record import Record
from sensorium.claims.verdict import Interval, Verdict, resampled

INK, SOFT, RULE, PAGE = "#1c1d1f", "#66655f", "#e5e2da", "#fcfbf8"
COLOURS = ("#b8561b", "#0f6073", "#6b4c9a", "#7a7d1c")


def canvas(widths: tuple[float, ...]) -> tuple[Any, list[Any]]:
    """A figure with plots of these relative widths side by side, and their axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(widths), figsize=(11, 4.2), width_ratios=widths, facecolor=PAGE, squeeze=False
    )
    for ax in axes[0]:
        ax.set_facecolor(PAGE)
        ax.grid(axis="y", color=RULE, linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.spines["bottom"].set_color(SOFT)
        ax.tick_params(colors=SOFT, length=0, labelsize=9)
    return figure, list(axes[0])


def title(ax: Any, text: str, note: str) -> None:
    """A plot's title, and below it what its axes are."""
    ax.set_title(text, loc="left", color=INK, fontsize=11, fontweight="bold", pad=22)
    ax.text(0, 1.03, note, transform=ax.transAxes, color=SOFT, fontsize=9)


def names(ax: Any, end: int, lines: Sequence[tuple[str, str, float]], apart: int) -> None:
    """Each line's name in its colour where it ends at x = `end`, at least `apart` from the next.

    `lines` are (name, colour, last value).
    """
    last = float("-inf")
    for name, colour, value in sorted(lines, key=lambda line: line[2]):
        last = max(value, last + apart)
        ax.annotate(
            name,
            (end, last),
            xytext=(8, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            annotation_clip=False,
        )


def wrapped(page: str) -> str:
    """A page whose prose is cut into lines of at most 100 characters; tables are left alone."""
    lines: list[str] = []
    for block in page.split("\n\n"):
        parts = re.split(r"\n(?=- )", block)
        lines.append("\n".join(part if "|" in part else filled(part) for part in parts))
    return "\n\n".join(lines) + "\n" * (not lines[-1].endswith("\n"))


def filled(part: str) -> str:
    """One paragraph, or one item of a list."""
    indent = "  " if part.startswith("- ") else ""
    return textwrap.fill(
        " ".join(part.split()), 100, subsequent_indent=indent, break_on_hyphens=False
    )


def save(figure: Any, path: Path) -> None:
    """Writes the figure aside, puts it in place, and lets go of it."""
    from matplotlib import pyplot

    figure.tight_layout(w_pad=3)
    aside = path.with_name(path.name + ".aside")
    figure.savefig(aside, dpi=110, facecolor=PAGE, format="png")
    aside.replace(path)
    pyplot.close(figure)


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a table in Markdown."""
    rows = [
        "| claim | verdict | effect | 95% interval | unit |",
        "|---|---|---:|---:|---|",
    ]
    for v in verdicts:
        e = v.effect
        rows.append(
            f"| {v.claim} | **{v.word}** | {e.value:+.3f} | {e.low:+.3f} to {e.high:+.3f} "
            f"| {v.unit} |"
        )
    return "\n".join(rows)


def beside(verdicts: Sequence[Verdict]) -> str:
    """Each seed's effect and the bootstrap's interval, for who wants to judge otherwise."""
    lines = []
    for v in verdicts:
        b: Interval = resampled(v.seeds)
        each = ", ".join(f"{value:+.3f}" for value in v.seeds)
        lines.append(
            f"- {v.claim}: seeds {each}; percentile bootstrap over seeds {b.low:+.3f} to "
            f"{b.high:+.3f}"
        )
    return "\n".join(lines)


def cost(record: Record) -> str:
    """What the measurement took, and on what."""
    return (
        f"{len(record.rows)} trainings took {record.cpu():.0f} s of CPU time together (one thread "
        f"each, everything from drawing the pictures to scoring included) on {machine()}."
    )


def machine() -> str:
    """The processor, torch and its number format."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    return f"{name}, torch {torch.__version__}, bfloat16 autocast"
