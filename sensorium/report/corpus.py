"""The report of a code corpus: what went in, what each stage left, what was dropped and why."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sensorium.corpus.shards import Entry, read_ledger
from sensorium.report.markup import Html, short, tag, trusted
from sensorium.report.page import document, save
from sensorium.report.sections import section
from sensorium.version import VERSION

SHOWN = 3  # examples of each reason
REASONS = 14  # reasons of a stage with examples; the largest
BAR, GAP = 22, 8  # pixels
STYLE = """
.corpus table { border-collapse: collapse; font: 14px/1.4 var(--sans); width: 100%; }
.corpus th, .corpus td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
.corpus th:first-child, .corpus td:first-child, .corpus td.why { text-align: left; }
.corpus svg { width: 100%; height: auto; display: block; margin-top: 18px; }
.corpus svg text { font: 13px var(--sans); fill: var(--ink); }
.corpus svg .left { fill: var(--one); } .corpus svg .gone { fill: var(--two); opacity: .35; }
.corpus details { margin-top: 14px; } .corpus summary { cursor: pointer; }
.corpus summary { font: 15px var(--sans); } .corpus pre { margin: 8px 0 14px; max-height: 190px;
  overflow: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
.corpus .where { font: 13px var(--sans); color: var(--soft); margin-top: 12px;
  overflow-wrap: anywhere; }
"""


def write(folder: Path) -> Path:
    """Writes report.html into the folder of a run that is done, and returns its path."""
    said = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    order = [stage["stage"] for stage in said["stages"]]
    parts = [
        tag("style", trusted(STYLE)),
        head(said),
        wrapped(section("Stage by stage", LEAD, picture(said["stages"]), stages(said["stages"]))),
        wrapped(section("Languages", "Of what is left, by size.", languages(said["languages"]))),
        wrapped(
            section("What was dropped", DROPPED, *examples(order, read_ledger(folder / "ledger")))
        ),
        wrapped(section("Record", "What it takes to run it again.", record(said))),
    ]
    at = folder / "report.html"
    save(at, document("Code corpus", parts).encode())
    return at


LEAD = "Bars are the text that a stage left; pale is what it dropped. Seconds are of one core."
DROPPED = (
    "Of each reason the files whose names have the smallest SHA-256, so nobody picked them, with "
    "their beginnings. The ledger holds them all."
)


def wrapped(part: Html) -> Html:
    """A section with this page's own style."""
    return tag("div", part, css="corpus")


def head(said: Mapping[str, Any]) -> Html:
    """What went in and what came out, in a sentence."""
    first, last = said["stages"][0], said["stages"][-1]
    share = last["kept_bytes"] / first["bytes"] if first["bytes"] else 0.0
    line = tag(
        "p",
        tag("b", size(last["kept_bytes"])),
        f" of {size(first['bytes'])} are left ({share:.0%}): {last['kept_files']:,} of "
        f"{first['files']:,} files in {len(said['languages'])} languages.",
        css="headline",
    )
    kicker = tag("p", f"sensorium {VERSION} · report of a corpus", css="kicker")
    return tag("header", kicker, tag("h1", "Code corpus"), line)


def size(count: int | float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def picture(stages: Sequence[Mapping[str, Any]]) -> Html:
    """A bar for each stage: what it left, and what it dropped."""
    most = max(stage["bytes"] for stage in stages) or 1
    rows: list[Html] = []
    for place, stage in enumerate(stages):
        y = place * (BAR + GAP)
        left, had = (620 * stage[key] / most for key in ("kept_bytes", "bytes"))
        text = f"{size(stage['kept_bytes'])} · {stage['kept_files']:,} files"
        rows += [
            label(stage["stage"], 150, y, "end"),
            bar(160, y, left, "left"),
            bar(160 + left, y, had - left, "gone"),
            label(text, 168 + had, y, "start"),
        ]
    return drawn(rows, len(stages), "Text left after each stage")


def languages(found: Mapping[str, Sequence[int]], most: int = 30) -> Html:
    """A bar for each language, the largest first; the rest as one."""
    items = list(found.items())
    shown = [(name, *counts) for name, counts in items[:most]]
    rest = [counts for _, counts in items[most:]]
    if rest:
        shown.append((f"{len(rest)} more", sum(c[0] for c in rest), sum(c[1] for c in rest)))
    greatest = max((count for _, _, count in shown), default=1) or 1
    rows: list[Html] = []
    for place, (name, files, count) in enumerate(shown):
        y, width = place * (BAR + GAP), 620 * count / greatest
        rows += [label(name, 150, y, "end"), bar(160, y, width, "left")]
        rows.append(label(f"{size(count)} · {files:,} files", 168 + width, y, "start"))
    return drawn(rows, len(shown), "Text of each language")


def bar(x: int | float, y: int | float, width: int | float, css: str) -> Html:
    """A bar of a picture."""
    at = {"x": f"{x:.1f}", "y": str(y), "width": f"{max(0.0, width):.1f}", "height": str(BAR)}
    return tag("rect", at=at, css=css)


def label(text: str, x: int | float, y: int | float, anchor: str) -> Html:
    """A word beside a bar."""
    at = {"x": f"{x:.1f}", "y": str(y + BAR - 6), "text-anchor": anchor}
    return tag("text", short(text, 40), at=at)


def drawn(rows: Iterable[Html], count: int, name: str) -> Html:
    """Bars and words as a picture."""
    box = f"0 0 1000 {max(1, count) * (BAR + GAP)}"
    return tag("svg", *rows, at={"viewBox": box, "role": "img", "aria-label": name})


def stages(some: Sequence[Mapping[str, Any]]) -> Html:
    """The counts as a table."""
    titles = ("stage", "files in", "files left", "text left", "changed", "seconds", "MB/s a core")
    rows = [tag("tr", *(tag("th", title) for title in titles))]
    for stage in some:
        speed = stage["bytes"] / 1e6 / stage["seconds"] if stage["seconds"] else 0.0
        cells = (
            stage["stage"],
            f"{stage['files']:,}",
            f"{stage['kept_files']:,}",
            size(stage["kept_bytes"]),
            f"{stage['changed']:,}" if stage["changed"] else "",
            few(stage["seconds"]),
            few(speed),
        )
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
        for reason, (files, total) in most_first(stage["reasons"]):
            why = tag("td", f"— {short(reason, 80)}: {files:,} files, {size(total)}", css="why")
            rows.append(tag("tr", why, *(tag("td", "") for _ in titles[1:])))
    return tag("table", *rows)


def few(number: float) -> str:
    """A number in two digits where it is small, so that none but 0 is shown as 0."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def most_first(reasons: Mapping[str, Sequence[int]]) -> list[tuple[str, Sequence[int]]]:
    """Reasons with what they dropped, the largest first."""
    return sorted(reasons.items(), key=lambda item: -item[1][1])[:REASONS]


def examples(order: Sequence[str], entries: Iterable[Entry]) -> list[Html]:
    """A few files of each stage, in order, and reason: the smallest SHA-256 of their names."""
    chosen: dict[tuple[str, str], list[tuple[str, Entry]]] = {}
    counts: dict[tuple[str, str], int] = {}
    for entry in entries:
        key = (entry.stage, entry.reason)
        counts[key] = counts.get(key, 0) + 1
        digest = hashlib.sha256(f"{entry.repo}\n{entry.path}".encode()).hexdigest()
        best = chosen.setdefault(key, [])
        best.append((digest, entry))
        best.sort(key=lambda one: one[0])
        del best[SHOWN:]
    made = []
    places = {stage: place for place, stage in enumerate(order)}
    for stage, reason in sorted(chosen, key=lambda key: (places[key[0]], -counts[key], key[1])):
        some = chosen[stage, reason]
        why = short(reason, 100) if stage == reason else f"{stage}: {short(reason, 100)}"
        title = tag("summary", f"{why} ({counts[stage, reason]:,})")
        shown: list[Html] = []
        for _, entry in some:
            detail = f" · {short(entry.detail, 120)}" if entry.detail else ""
            where = f"{entry.repo} · {short(entry.path, 160)} · {size(entry.size)}{detail}"
            shown.append(tag("p", where, css="where"))
            if entry.head:
                shown.append(tag("pre", entry.head))
        made.append(tag("details", title, *shown))
    return made


def record(said: Mapping[str, Any]) -> Html:
    """What was asked for, and the memory that it took."""
    memory = [max(group) for group in said["memory"] if group]
    text = {
        **said["asked"],
        "seconds": round(said["seconds"], 1),
        "most memory of a process, bytes, by group": memory,
    }
    return tag("pre", json.dumps(text, indent=1, ensure_ascii=False))
