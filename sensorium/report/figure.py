"""figure.png: a run in one picture, for a README. Learning and scores left, pictures right."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sensorium.report.choose import Group, Query, shares
from sensorium.report.curves import WINDOW, Number, smooth, thinned
from sensorium.report.evidence import TO_IMAGE, TO_TEXT, Evidence
from sensorium.report.markup import clean, short
from sensorium.report.sections import NAMES, Thumbs, percent

SIZE, DPI = (12.0, 7.0), 100  # inches, dots an inch: 1200 x 700
INK, SOFT, RULE, ONE, TWO = "#1c1d1f", "#66655f", "#e5e2da", "#0f6073", "#b8561b"
PAGE, COLOURS = "#fcfbf8", ("#0f6073", "#b8561b", "#6b4c9a", "#4f7327")
ROWS, ACROSS = 6, 7  # queries, and pictures of each
LETTERS = 24  # of a caption on a line


def figure(evidence: Evidence, asked: list[Group], thumbs: Thumbs, at: Path) -> None:
    """Draws a run: its first loss, its scores with intervals, and pictures found by words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = FigureCanvasAgg(Figure(figsize=SIZE, dpi=DPI, facecolor=PAGE))
    fig = canvas.figure
    recipe = str(evidence.said.get("recipe", "run"))
    write(fig, 0.045, 0.945, f"sensorium train {recipe}", size=17, weight="bold")
    curve(fig.add_axes((0.085, 0.565, 0.27, 0.30)), evidence.metrics)
    dots(fig, evidence)
    if any(group.shown for group in asked):
        write(fig, 0.42, 0.945, "Pictures found by words", size=13, weight="bold")
        note = "best first; the right one is framed, at the end where it came later"
        write(fig, 0.42, 0.908, note, size=9.5, color=SOFT)
    row = 0
    for group, take in zip(asked, shares([len(g.shown) for g in asked], ROWS), strict=True):
        for place, query in enumerate(group.shown[:take]):
            bottom = 0.768 - 0.1455 * row
            if place == 0:
                label = f"{group.name}: {percent(group.share)}"
                write(fig, 0.42, bottom + 0.1, label, size=8.5, color=SOFT)
            strip(fig, query, thumbs, bottom)
            row += 1
    out = BytesIO()
    canvas.print_png(out)
    aside = at.with_name(at.name + ".aside")
    aside.write_bytes(out.getvalue())
    os.replace(aside, at)


def write(to: Any, x: Number, y: Number, text: str, **look: Any) -> None:
    """A text on a figure or in axes; nothing in it is taken for a formula."""
    family = look.pop("family", "DejaVu Sans")
    color = look.pop("color", INK)
    to.text(x, y, text, color=color, family=family, parse_math=False, **look)


def curve(axes: Any, rows: list[dict[str, Any]]) -> None:
    """The first loss by step, raw and smoothed."""
    name = next((key for row in rows for key in row if key.startswith("loss/")), None)
    points = [(row["step"], row[name]) for row in rows if name in row]
    points = [(x, y) for x, y in points if np.isfinite(y)]
    bare(axes)
    if not points:
        axes.set_axis_off()
        return
    x, y = np.array(points, dtype=np.float64).T
    soft = smooth(x, y, WINDOW * (x[-1] - x[0]))
    axes.plot(*thinned(x, y), color=ONE, alpha=0.3, lw=0.9)
    axes.plot(*thinned(x, soft), color=ONE, lw=2, marker="o" if len(x) == 1 else None)
    low, top = float(soft.min()), float(np.quantile(y, 0.995))
    room = 0.1 * (top - low) or 0.5
    axes.set_ylim(low - room, top + room)
    if len(x) == 1:
        axes.set_xticks(x)
    write(axes, 0, 1.05, "Loss", transform=axes.transAxes, size=11, weight="bold")
    write(axes, 1, 1.05, "by step", transform=axes.transAxes, size=9, color=SOFT, ha="right")


def bare(axes: Any) -> None:
    """Axes without a box."""
    axes.set_facecolor(PAGE)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(axis="y", color=RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=SOFT)
    axes.locator_params(nbins=5)
    axes.locator_params(axis="x", integer=True)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_family("DejaVu Sans")


def dots(fig: Any, evidence: Evidence) -> None:
    """R@k in both directions, every series a colour."""
    rows = (
        [
            (part, name)
            for part in (TO_IMAGE, TO_TEXT)
            for name in evidence.series[0].scores.get(part, {})
            if name.startswith("R@")
        ]
        if evidence.series
        else []
    )
    if not rows:
        return
    axes = fig.add_axes((0.085, 0.085, 0.27, 0.335))
    bare(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=RULE, lw=0.8)
    heights = [-(n + 0.9 * (part == TO_TEXT)) for n, (part, _) in enumerate(rows)]
    for n, one in enumerate(evidence.series[: len(COLOURS)]):
        for (part, name), height in zip(rows, heights, strict=True):
            value = one.scores.get(part, {}).get(name)
            if value is None:
                continue
            low, high = one.intervals.get(part, {}).get(name, (value, value))
            at = height + 0.17 - 0.34 * n if len(evidence.series) > 1 else height
            axes.plot([100 * low, 100 * high], [at, at], color=COLOURS[n], lw=4, alpha=0.35)
            fill = COLOURS[n] if n == 0 else PAGE
            mark = {"marker": "o", "ms": 6.5, "mec": COLOURS[n], "mew": 1.8, "mfc": fill}
            axes.plot([100 * value], [at], ls="", clip_on=False, zorder=3, **mark)
    axes.set_xlim(0, 100)
    axes.set_ylim(min(heights) - 0.6, 1.15)
    axes.set_xticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.set_yticks(heights, [name for _, name in rows])
    axes.tick_params(axis="y", pad=9)
    for part, label in ((TO_IMAGE, "Text to picture"), (TO_TEXT, "Picture to text")):
        first = [h for h, (p, _) in zip(heights, rows, strict=True) if p == part]
        if first:
            write(axes, 0, first[0] + 0.62, label, size=9, color=SOFT)
    write(axes, 0, 1.08, "Scores", transform=axes.transAxes, size=11, weight="bold")
    for n, one in enumerate(evidence.series[:2]):
        label = NAMES.get(one.name, one.name) if len(evidence.series) > 1 else "95% intervals"
        where = {"transform": axes.transAxes, "ha": "right", "size": 9}
        write(axes, 1, 1.08 - 0.085 * n, label, color=COLOURS[n], **where)


def strip(fig: Any, query: Query, thumbs: Thumbs, bottom: float) -> None:
    """A query's text and its first pictures, the right one framed."""
    lines = wrapped(legible(query.text, query.picture))
    write(fig, 0.42, bottom + 0.045, "\n".join(lines), size=10.5, va="center", linespacing=1.3)
    answers = [(a.picture, a.right) for a in query.answers[:ACROSS]]
    late = not any(right for _, right in answers)
    side, step = 0.0525, 0.0575
    for column, (name, right) in enumerate(answers[: ACROSS - 1] if late else answers):
        frame(fig, thumbs, name, (0.59 + step * column, bottom, side), ONE if right else RULE)
    if late:
        last = 0.59 + step * (ACROSS - 1)
        frame(fig, thumbs, query.picture, (last, bottom, side), TWO)
        where = {"size": 8, "ha": "center", "va": "top"}
        write(fig, last + side / 2, bottom - 0.008, f"no. {query.rank:,}", color=TWO, **where)


def frame(
    fig: Any, thumbs: Thumbs, name: str, box: tuple[float, float, float], colour: str
) -> None:
    """A picture on a white square with a frame, (left, bottom, side) in shares of the width."""
    left, bottom, side = box
    axes = fig.add_axes((left, bottom, side, side * SIZE[0] / SIZE[1]))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("white")
    for edge in axes.spines.values():
        edge.set_color(colour)
        edge.set_linewidth(1 if colour == RULE else 3)
    made = thumbs.get(name)
    if made is None:
        return
    picture = np.asarray(Image.open(BytesIO(made.data), formats=("PNG", "JPEG")).convert("RGB"))
    height, width = picture.shape[:2]
    axes.imshow(picture, interpolation="lanczos", aspect="equal")
    half = 0.5 * min(height, width) if made.fills() else 0.55 * max(height, width)
    axes.set_xlim(width / 2 - half - 0.5, width / 2 + half - 0.5)
    axes.set_ylim(height / 2 + half - 0.5, height / 2 - half - 0.5)


def wrapped(text: str) -> list[str]:
    """A text on at most three lines."""
    lines, rest = [], text.split()
    while rest and len(lines) < 3:
        line = rest.pop(0)
        while rest and len(line) + 1 + len(rest[0]) <= LETTERS - 4:
            line += " " + rest.pop(0)
        lines.append(short(line, LETTERS - 2))
    if rest:
        lines[-1] = lines[-1].rstrip("…") + "…"
    return lines


def legible(text: str, name: str) -> str:
    """A text in letters that the drawing's font has; the sample's name where most are missing."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    text = short(clean(text))
    kept = "".join(c if ord(c) in known or c.isspace() else "□" for c in text)
    if 2 * kept.count("□") <= len(kept):
        return kept
    name = "".join(c if ord(c) in known else "□" for c in clean(name))
    return name if len(name) < LETTERS else "…" + name[-LETTERS + 4 :]
