"""The parts of the page: scores, curves, pictures found, texts found, the map, the record."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.report.choose import Group, Index, Query
from sensorium.report.curves import (
    WINDOW,
    Axis,
    Line,
    chart,
    decades,
    linear,
    place,
    smooth,
    steps,
    thinned,
)
from sensorium.report.evidence import TO_IMAGE, TO_TEXT, Evidence, Series, chance
from sensorium.report.markup import Html, caption, join, short, tag
from sensorium.report.thumbs import Thumb
from sensorium.tasks.records import Records

Thumbs = Mapping[str, Thumb | None]
PARTS = {TO_IMAGE: "Text → picture", TO_TEXT: "Picture → text"}
NAMES = {"all": "all queries", "unseen": "unseen in training"}
QUANTITIES = {
    "norm": ("Gradient norm", "unclipped"),
    "rate": ("Learning rate", "of its peak"),
    "samples_per_second": ("Speed", "samples/s"),
    "log_scale": ("Temperature", "log 1/t"),
}
OUTSIDE = {"step", "samples", "corrupt"}  # of a row of metrics: not drawn


def section(title: str, lead: str | Html, *content: str) -> Html:
    """A part of the page under its heading."""
    return tag("section", tag("h2", title), tag("p", lead, css="lead"), *content)


# --- scores --------------------------------------------------------------------------------------


def scores(evidence: Evidence) -> Html:
    """Every score as a dot with its interval, beside the score of chance; ranks as curves."""
    parts = dict.fromkeys(part for one in evidence.series for part in one.scores)
    panels = [panel(part, evidence.series, evidence.records) for part in parts]
    key = [
        tag("span", tag("i", css=f"dot s{n}"), NAMES.get(one.name, one.name), css="key")
        for n, one in enumerate(evidence.series)
    ]
    if evidence.records:
        key.append(tag("span", tag("i", css="tick"), "chance", css="key"))
    lead = (
        "R@k is the share of queries whose right answer is among the first k. "
        "Bars are 95% intervals."
    )
    plots = [ranks(evidence.records, part) for part in (TO_IMAGE, TO_TEXT) if evidence.records]
    return section(
        "Scores",
        lead,
        tag("div", *key, css="keys"),
        tag("div", *panels, css="two"),
        tag("div", *plots, css="two"),
    )


def panel(part: str, series: list[Series], records: Mapping[str, Records]) -> Html:
    """The scores of a part: shares as dots on a track from 0 to 100%, other values as numbers."""
    names = dict.fromkeys(name for one in series for name in one.scores.get(part, {}))
    rows, plain = [], []
    for name in names:
        shown = [(n, one) for n, one in enumerate(series) if name in one.scores.get(part, {})]
        if all(0 <= one.scores[part][name] <= 1 for _, one in shown) and "rank" not in name:
            rows.append(tag("b", name))
            rows += [track(n, one, part, name, records) for n, one in shown]
        else:
            said = "; ".join(
                f"{NAMES.get(one.name, one.name)} {measured(one, part, name)}" for _, one in shown
            )
            plain.append(tag("p", f"{name.replace('_', ' ').capitalize()}: {said}", css="small"))
    counts = [
        f"{max(one.queries[part].values()):,} {NAMES.get(one.name, one.name) if n else 'queries'}"
        for n, one in enumerate(series)
        if one.queries.get(part)
    ]
    axis = tag(
        "div",
        *(tag("i", f"{v}%", at=place(left=v / 100)) for v in (0, 25, 50, 75, 100)),
        css="scaled",
    )
    head = tag("h3", PARTS.get(part, part.replace("_", " ")), " ", tag("span", ", ".join(counts)))
    return tag("div", head, tag("div", *rows, tag("b"), axis, css="tracks"), *plain)


def track(n: int, one: Series, part: str, name: str, records: Mapping[str, Records]) -> Html:
    """One score: a dot, its interval, chance as a tick, the figures at the end."""
    value = one.scores[part][name]
    marks = []
    k = name.removeprefix("R@")
    if one.name in records and k.isdigit():
        marks.append(tag("i", css="tick", at=place(left=chance(records[one.name], part, int(k)))))
    if (interval := one.intervals.get(part, {}).get(name)) is not None:
        low, high = interval
        marks.append(tag("i", css=f"bar s{n}", at=place(left=low, width=high - low)))
    marks.append(tag("i", css=f"dot s{n}", at=place(left=value)))
    said = f"{percent(value)}"
    spread = f" {100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval is not None else ""
    return tag("div", *marks, tag("em", said, tag("span", spread)), css="track")


def measured(one: Series, part: str, name: str) -> str:
    """A value that is no share, with its interval."""
    interval = one.intervals.get(part, {}).get(name)
    spread = f" ({interval[0]:,.0f}–{interval[1]:,.0f})" if interval is not None else ""
    return f"{one.scores[part][name]:,.4g}{spread}"


def percent(share: float) -> str:
    """A share with one digit, two where it is small."""
    return f"{100 * share:.2f}%" if 0 < share < 0.01 else f"{100 * share:.1f}%"


def ranks(records: Mapping[str, Records], part: str) -> Html:
    """R@k for every k, on a logarithmic axis of k."""
    lines, most = [], 1
    for n, kept in enumerate(records.values()):
        found = np.sort([row["rank"] for row in kept.rows if row["part"] == part])
        most = max(most, kept.header["candidates"][part])
        at = np.unique(np.geomspace(1, most, 160).round())
        share = np.searchsorted(found, at, side="right") / len(found)
        lines.append(Line(at, share, f"line s{n}"))
        if n == 0:
            lines.append(Line(at, [chance(kept, part, int(k)) for k in at], "line none"))
    y = Axis(0, 1, [(v / 4, f"{25 * v}%") for v in range(5)])
    if most == 1:
        return Html()
    return chart("Found among the first k", f"{most:,} candidates", lines, decades(1, most), y)


# --- learning ------------------------------------------------------------------------------------


def learning(rows: list[dict[str, Any]]) -> Html:
    """The losses and everything else that was measured at every step."""
    if not rows:
        return section("Learning", "No step was recorded in metrics.jsonl.")
    names = dict.fromkeys(
        name
        for row in rows
        for name, value in row.items()
        if name not in OUTSIDE and isinstance(value, (int, float)) and not isinstance(value, bool)
    )
    losses = [name for name in names if name.startswith("loss/")]
    large = [curve(rows, name, f"Loss: {name.removeprefix('loss/')}", "by step") for name in losses]
    small = [
        curve(rows, name, *QUANTITIES.get(name, (name.replace("_", " ").replace("/", ": "), "")))
        for name in names
        if name not in losses
    ]
    lead = f"{len(rows):,} steps. " if len(rows) > 1 else "A single step."
    if len(rows) >= 1 / WINDOW:
        lead += (
            f"Thin: every step. Thick: mean under a Gaussian of {WINDOW:.0%} of the run, centred, "
            "so that it does not lag."
        )
    return section("Learning", lead, tag("div", *large, css="one"), tag("div", *small, css="three"))


def curve(rows: list[dict[str, Any]], name: str, title: str, note: str) -> Html:
    """One quantity by step, raw and smoothed, with its last value in the note."""
    points = [(row["step"], row[name]) for row in rows if name in row]
    x, y = np.array(points, dtype=np.float64).T
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(x):
        return tag("figure", tag("figcaption", tag("b", title), " no finite value"))
    soft = smooth(x, y, WINDOW * (x[-1] - x[0]))
    scale = y if len(y) < 20 else np.quantile(y, (0.002, 0.998))
    low, high = float(min(scale.min(), soft.min())), float(max(scale.max(), soft.max()))
    still = float(np.abs(np.diff(y, 2)).mean()) < 0.02 * (high - low) if len(y) > 2 else True
    lines = [Line(*thinned(x, np.clip(y, low, high)), "raw")] if not still else []
    lines.append(Line(*thinned(x, y if still else soft), "line s0"))
    axis = linear(low, high, zero=name in ("rate", "samples_per_second", "norm"))
    across = steps(float(x[0]), float(x[-1]))
    return chart(title, note, lines, across, axis, last=f"{soft[-1]:,.4g}")


# --- pictures ------------------------------------------------------------------------------------


def image(name: str, thumbs: Thumbs, alt: str) -> Html:
    """A picture, or in its place that it could not be read."""
    made = thumbs.get(name)
    if made is None:
        return tag("span", "cannot be read", css="lost")
    size = {"width": str(made.size[0]), "height": str(made.size[1])}
    about = {"src": made.uri(), "alt": short(alt), "title": short(alt), **size}
    return tag("img", at=about, css="photo" if made.fills() else "")


def heading(group: Group) -> Html:
    """A group's name and how large a share of all queries it is."""
    share = f"{percent(group.share)} of the queries ({group.count:,})"
    return tag("h3", group.name, " ", tag("span", share))


def pictures(groups: list[Group], index: Index, thumbs: Thumbs, lead: str) -> Html:
    """Texts and the pictures they brought up, the right one outlined."""
    blocks: list[str] = []
    for group in (g for g in groups if g.shown):
        blocks.append(heading(group))
        blocks += [strip(query, index, thumbs) for query in group.shown]
    return section("Pictures found by words", lead, *blocks)


def strip(query: Query, index: Index, thumbs: Thumbs) -> Html:
    """A query's row: the text, its first pictures, and the right one where it came too late."""
    cells = [
        tag(
            "div",
            image(a.picture, thumbs, index.texts[a.picture][0]),
            tag("i", f"{a.cosine:.2f}"),
            css="cell right" if a.right else "cell",
        )
        for a in query.answers
    ]
    if not any(a.right for a in query.answers):
        late = tag("i", f"no. {query.rank:,}")
        shown = image(query.picture, thumbs, query.text)
        cells.append(tag("div", shown, late, css="cell right late"))
    text = tag("div", caption(query.text), tag("small", f"rank {query.rank:,}"), css="asked")
    return tag("div", text, tag("div", *cells, css="cells"), css="strip")


def texts(groups: list[Group], thumbs: Thumbs, lead: str) -> Html:
    """Pictures and the texts they brought up, the right one marked."""
    blocks: list[str] = []
    for group in (g for g in groups if g.shown):
        cards = [card(query, thumbs) for query in group.shown]
        blocks += [heading(group), tag("div", *cards, css="cards")]
    return section("Words found by pictures", lead, *blocks)


def card(query: Query, thumbs: Thumbs) -> Html:
    """A picture, its first texts with their cosines, and the right one where it came too late."""
    rows = [
        tag("li", caption(a.text), tag("i", f"{a.cosine:.2f}"), css="right" if a.right else "")
        for a in query.answers
    ]
    if not any(a.right for a in query.answers):
        late = tag("i", f"no. {query.rank:,}")
        rows.append(tag("li", caption(query.text), late, css="right late"))
    shown = tag("div", image(query.picture, thumbs, query.text), css="cell")
    return tag("div", shown, tag("ol", *rows), css="card")


# --- the map -------------------------------------------------------------------------------------


def similarity(names: list[str], index: Index, cosines: np.ndarray, thumbs: Thumbs) -> Html:
    """Cosines of texts (rows) with pictures (columns): the right pairs lie on the diagonal."""
    own, count = np.diag(cosines), len(names)
    others = cosines[~np.eye(count, dtype=bool)]
    low, high = float(np.median(others)), float(cosines.max())  # half of the others stay blank
    cells: list[str] = [tag("span")]
    cells += [tag("div", image(n, thumbs, index.texts[n][0]), css="top") for n in names]
    for row, name in enumerate(names):
        said = index.texts[name][0]
        cells.append(tag("div", caption(said), css="said", at={"title": short(said)}))
        for column, value in enumerate(cosines[row]):
            depth = max(0.0, float(value) - low) / max(high - low, 1e-9)
            style = {"style": f"--d:{depth:.3f}", "title": f"{value:.3f}"}
            cells.append(tag("u", css="own" if row == column else "", at=style))
    lead = (
        f"Cosines of {count} texts with {count} pictures; the pairs are outlined. "
        f"The mean is {own.mean():.2f} over pairs and {others.mean():.2f} over all others. "
        "These are the samples with the smallest SHA-256 of their name, in the data's order."
    )
    scale = tag("p", f"{low:.2f} or less ", tag("span", css="scale"), f" {high:.2f}", css="small")
    body = tag("div", *cells, css="map", at={"style": f"--n:{count}"})
    return section("Similarity map", lead, tag("div", body, css="wide"), scale)


# --- the record ----------------------------------------------------------------------------------


def record(evidence: Evidence, rules: list[str], commands: list[str]) -> Html:
    """Everything that is needed to judge the run, and to run it again."""
    said, temperature = evidence.said, evidence.temperature
    model = evidence.manifest.get("files", {}).get("model.safetensors", {}).get("sha256")
    kept = evidence.records.get("all")
    facts: dict[str, Any] = {
        "recipe": said.get("recipe"),
        "arguments": said.get("arguments"),
        "settings": {
            k: v for k, v in said.get("settings", {}).items() if k not in said.get("arguments", {})
        },
        "name rules": rules,
        "parameters": f"{evidence.parameters:,}" if evidence.parameters is not None else None,
        "temperature at the end": f"{temperature:.4g}" if temperature is not None else None,
        "model": evidence.manifest.get("model"),
        "data": evidence.manifest.get("data"),
        "licence": evidence.manifest.get("licence"),
        "unreadable samples": evidence.corrupt or "none",
        "evaluated on": kept.header["split"] if kept else None,
        "data fingerprint": kept.header["data"] if kept else None,
        "weights' SHA-256": model,
        "library": {"sensorium": said.get("library"), **said.get("versions", {})},
        "python": said.get("python"),
        "machine": said.get("machine"),
        "ranks": said.get("ranks"),
        "started": said.get("started"),
        "command": " ".join(["sensorium", *said["command"]]) if said.get("command") else None,
    }
    rows: list[str] = []
    for name, value in facts.items():
        if value is not None and value != {} and value != []:
            rows += [tag("dt", name), tag("dd", told(value))]
    how = tag("pre", "\n".join(commands))
    lead = "Enough to judge the run, and to run it again."
    return section("Record", lead, tag("dl", *rows), tag("h3", "Go on from here"), how)


def told(value: Any) -> Html:
    """A JSON value for people: `name value` pairs, side by side."""
    if isinstance(value, Mapping):
        shown = list(value.items())[:100]
        more = [tag("span", f"and {len(value) - 100} more")] if len(value) > 100 else []
        return join(
            [*(tag("span", tag("q", str(k)), " ", told(v), css="pair") for k, v in shown), *more]
        )
    if isinstance(value, list | tuple):
        return join(tag("span", told(v), css="pair") for v in value)
    words = {None: "none", True: "yes", False: "no"}
    plain = words[value] if value is None or isinstance(value, bool) else str(value)
    return tag("bdi", short(plain, 600))
