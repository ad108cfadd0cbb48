"""Line charts as HTML and inline SVG: they stretch with the page, their type keeps its size."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sensorium.report.markup import Html, tag, trusted

BUCKETS = 400  # the most points of a line; beyond, each bucket keeps its least and its greatest
WINDOW = 0.02  # the smoothing kernel's standard deviation, as a share of the run
CELL = 1000  # the drawing's own units, stretched to whatever size the page gives


Number = int | float


class Line(NamedTuple):
    """A line of a chart; `css` names its look, `name` is written at its end."""

    x: Sequence[Number] | np.ndarray
    y: Sequence[Number] | np.ndarray
    css: str = "line"
    name: str = ""


class Axis(NamedTuple):
    """A range of values and the ticks on it: (value, label)."""

    low: Number
    high: Number
    ticks: list[tuple[Number, str]]
    log: bool = False

    def at(self, value: Number) -> Number:
        """The share of the axis at which a value lies, 0 to 1."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


def smooth(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], width: Number
) -> Float[np.ndarray, " n"]:
    """The Gaussian-weighted mean of y around every x (standard deviation `width`, in units of x).

    Centred, so that it does not lag behind as a running mean does. O(n * points in the window).
    """
    out = np.empty_like(y)
    first = np.searchsorted(x, x - 3 * width)
    last = np.searchsorted(x, x + 3 * width, side="right")
    for place, (low, high) in enumerate(zip(first, last, strict=True)):
        weights = np.exp(-0.5 * ((x[low:high] - x[place]) / max(width, 1e-9)) ** 2)
        out[place] = (weights * y[low:high]).sum() / weights.sum()
    return out


def thinned(x: np.ndarray, y: np.ndarray, buckets: int = BUCKETS) -> tuple[np.ndarray, np.ndarray]:
    """Points of a line, few enough to draw: of each bucket the least and the greatest, in order."""
    if len(x) <= 2 * buckets:
        return x, y
    kept: list[int] = []
    for part in np.array_split(np.arange(len(x)), buckets):
        kept += sorted({int(part[y[part].argmin()]), int(part[y[part].argmax()])})
    return x[kept], y[kept]


def linear(low: Number, high: Number, count: int = 4, zero: bool = False) -> Axis:
    """An axis with about `count` round ticks, a little wider than the values."""
    low = min(low, 0.0) if zero else low
    if high - low <= 1e-12 * max(1.0, abs(high)):
        low, high = low - 0.5 * max(abs(low), 1e-6), high + 0.5 * max(abs(high), 1e-6)
    step = rounded((high - low) / count)
    bottom = low if zero and low == 0 else low - 0.04 * (high - low)
    top = high + 0.06 * (high - low)
    ticks = [n * step for n in range(math.ceil(bottom / step), math.floor(top / step) + 1)]
    return Axis(bottom, top, [(value, number(value, step)) for value in ticks])


def steps(first: Number, last: Number) -> Axis:
    """The axis of a run's steps, ending with the last one."""
    if last <= first:
        return Axis(first - 1, first + 1, [(first, f"{first:,.0f}")])
    step = max(1.0, rounded((last - first) / 4))
    ticks = [n * step for n in range(math.ceil(first / step), math.floor(last / step) + 1)]
    ticks = [value for value in ticks if value - first > 0.6 * step and last - value > 0.6 * step]
    return Axis(first, last, [(v, f"{v:,.0f}") for v in [first, *ticks, last]])


def decades(low: Number, high: Number) -> Axis:
    """A logarithmic axis with ticks at 1, 10, 100, and its end where there is room for it."""
    powers = [10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    ticks = [v for v in powers if v * 2.2 < high] + [high]
    return Axis(low, high, [(value, f"{value:,.0f}") for value in ticks], log=True)


def rounded(step: Number) -> Number:
    """The nearest 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return power * min((1, 2, 5, 10), key=lambda n: abs(math.log(n * power / step)))


def number(value: Number, step: Number) -> str:
    """A tick's label, with as many digits as its distance to the next one needs."""
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        return f"{value:.2g}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def chart(title: str, note: str, lines: Sequence[Line], x: Axis, y: Axis, last: str = "") -> Html:
    """A chart with its title above, labels in the page's type and lines in SVG.

    `note` says what the axes are, `last` is the final value; a line of a single point is a dot.
    """
    drawn = [path(line, x, y) for line in lines if len(line.x) > 1]
    grid = [
        trusted(f'<path class="grid" d="M0 {v:.1f}H{CELL}"/>')
        for v in (CELL * (1 - y.at(value)) for value, _ in y.ticks)
    ]
    marks = {"viewBox": f"0 0 {CELL} {CELL}", "preserveAspectRatio": "none", "role": "img"}
    svg = tag("svg", *grid, *drawn, at=marks | {"aria-label": f"{title}: {note}"})
    dots = [dot(line, x, y) for line in lines if len(line.x) == 1]
    names = [name(line, y) for line in lines if line.name and len(line.x)]
    labels = [
        *(tag("i", text, css="y", at=place(top=1 - y.at(value))) for value, text in y.ticks),
        *(tag("i", text, css="x", at=place(left=x.at(value))) for value, text in x.ticks),
    ]
    head = tag("figcaption", tag("b", title), tag("span", note), tag("em", last))
    return tag("figure", head, tag("div", svg, *dots, *names, *labels, css="plot"))


def path(line: Line, x: Axis, y: Axis) -> Html:
    """A line in the drawing's units."""
    points = " ".join(
        f"{CELL * x.at(a):.1f},{CELL * (1 - y.at(b)):.1f}"
        for a, b in zip(line.x, line.y, strict=True)
    )
    return tag("polyline", css=line.css, at={"points": points})


def dot(line: Line, x: Axis, y: Axis) -> Html:
    """The dot of a line that has one point."""
    where = place(left=x.at(line.x[0]), top=1 - y.at(line.y[0]))
    return tag("i", css=f"dot {line.css}", at=where)


def name(line: Line, y: Axis) -> Html:
    """A line's name, where the line ends."""
    return tag("i", line.name, css=f"name {line.css}", at=place(top=1 - y.at(line.y[-1])))


def place(**shares: Number) -> dict[str, str]:
    """A style that places something at shares of the plot."""
    return {"style": ";".join(f"{side}:{100 * share:.2f}%" for side, share in shares.items())}
