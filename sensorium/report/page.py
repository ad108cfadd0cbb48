"""The report of a run: report.html, one file that needs nothing else, and figure.png beside it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.report.choose import RULE, Group, Index, groups, sampled
from sensorium.report.evidence import TO_IMAGE, TO_TEXT, Evidence, Series, chance, gather
from sensorium.report.figure import figure
from sensorium.report.markup import Html, join, tag, trusted
from sensorium.report.sections import (
    learning,
    percent,
    pictures,
    record,
    scores,
    similarity,
    texts,
)
from sensorium.report.thumbs import thumbs
from sensorium.tasks.records import Embedder
from sensorium.train.run import Run
from sensorium.types import Captioned
from sensorium.verbs.load import load_folder

STRIPS, ACROSS = 12, 8  # queries of text to picture, and pictures shown of each
CARDS, DOWN = 9, 5  # queries of picture to text, and texts shown of each
MAPPED = 24  # samples of the similarity map
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def report(folder: Path, run: Run, found: Mapping[str, Any]) -> Path:
    """Writes report.html and figure.png into a run's folder and returns the path of the first.

    Where the run's scores are of retrieval, the pictures come from its samples and the similarity
    map from its checkpoint, which is loaded for that.

    Raises:
        TaskError, WeightsError, DataError: a record, the checkpoint or the data are damaged.
    """
    evidence = gather(folder, found)
    samples, model = (), None
    if run.finish is not None and evidence.records:
        samples, model = run.finish.samples(), load_folder(folder / "checkpoint")
    rules = [f"{pattern}: {rule}" for pattern, rule in run.rules]
    return write(evidence, samples, model, rules)


def write(
    evidence: Evidence,
    samples: Sequence[Captioned] = (),
    model: Embedder | None = None,
    rules: Sequence[str] = (),
) -> Path:
    """The report of what was gathered; see `report`.

    Args:
        samples: what the records are of; empty: no pictures are shown.
        model: embeds the samples of the similarity map; None: there is no map.
        rules: the run's name rules, as text.
    """
    index = Index(samples)
    kept = evidence.records.get("all") if len(samples) else None
    asked = groups(kept, TO_IMAGE, index, STRIPS, ACROSS) if kept else []
    shown = groups(kept, TO_TEXT, index, CARDS, DOWN) if kept else []
    mapped = sampled(index, MAPPED) if model is not None else []
    made = thumbs(
        [*named(asked), *(q.picture for g in shown for q in g.shown), *mapped], index.image
    )
    parts = [head(evidence), scores(evidence) if evidence.series else unscored(evidence)]
    parts.append(learning(evidence.metrics))
    if asked:
        parts.append(pictures(asked, index, made, RULE))
        parts.append(texts(shown, made, "Chosen by the same rule, among pictures."))
    if len(mapped) > 1 and model is not None:
        parts.append(similarity(mapped, index, cosines(mapped, index, model), made))
    parts.append(record(evidence, list(rules), commands(evidence.folder)))
    figure(evidence, asked, made, evidence.folder / "figure.png")
    at = evidence.folder / "report.html"
    save(at, document(title(evidence), parts).encode())
    return at


def named(asked: list[Group]) -> list[str]:
    """The ids of all pictures in the rows of pictures."""
    queries = [query for group in asked for query in group.shown]
    return [name for q in queries for name in (q.picture, *(a.picture for a in q.answers))]


def cosines(names: list[str], index: Index, model: Embedder) -> np.ndarray:
    """Cosines of the samples' first texts (rows) with their pictures (columns)."""
    images = model.embed(images=[index.image(name) for name in names])
    return model.embed(texts=[index.texts[name][0] for name in names]) @ images.T


# --- the head of the page ------------------------------------------------------------------------


def title(evidence: Evidence) -> str:
    """What was trained."""
    return f"{evidence.said.get('recipe', 'A run')}, trained"


def head(evidence: Evidence) -> Html:
    """What was trained, on what, and the one number that most want first."""
    said = evidence.said
    name = tag("p", f"sensorium {said.get('library', '')} · report of a run", css="kicker")
    facts = [tag("span", fact) for fact in summary(evidence)]
    big = [headline(evidence)] if evidence.records else []
    return tag(
        "header", name, tag("h1", said.get("recipe", "A run")), *big, tag("p", *facts, css="facts")
    )


def headline(evidence: Evidence) -> Html:
    """The scores in a sentence."""
    first = evidence.series[0] if evidence.series else None
    if first is None or "R@1" not in first.scores.get(TO_IMAGE, {}):
        return Html()
    kept = evidence.records["all"]
    luck = chance(kept, TO_IMAGE, 1)
    count = kept.header["queries"][TO_IMAGE]
    pieces: list[str] = [share(first, "R@1"), f" of {count:,} texts find their picture first"]
    if "R@10" in first.scores[TO_IMAGE]:
        pieces += [", ", share(first, "R@10"), " among the first ten"]
    pieces.append(f". Chance would find {percent(luck)} first.")
    return tag("p", *pieces, css="headline")


def share(one: Series, name: str) -> Html:
    """A score of text to picture with its interval."""
    made = [tag("b", percent(one.scores[TO_IMAGE][name]))]
    interval = one.intervals.get(TO_IMAGE, {}).get(name)
    if interval is not None:
        made.append(tag("small", f" {100 * interval[0]:.1f}–{100 * interval[1]:.1f}"))
    return tag("span", *made, css="score")


def summary(evidence: Evidence) -> list[str]:
    """Short facts: data, steps, size, time, machine."""
    said, rows = evidence.said, evidence.metrics
    batch = said.get("settings", {}).get("batch")
    facts = [
        ", ".join(f"{key} {value}" for key, value in evidence.manifest.get("data", {}).items())
    ]
    if rows and batch:
        done = rows[-1]["step"]
        facts.append(f"{done:,} step{'s' if done > 1 else ''} of {batch:,} samples")
    if evidence.parameters is not None:
        facts.append(f"{evidence.parameters / 1e6:.1f} M parameters")
    speeds = [row["samples_per_second"] for row in rows if row.get("samples_per_second")]
    if speeds and batch:
        facts.append(f"{duration(sum(batch / speed for speed in speeds))} of training")
    machine = said.get("machine", {})
    if machine:
        facts.append(machine.get("gpu") or f"{machine.get('cores')} CPU cores")
    facts.append(said.get("started", "")[:10])
    return [fact for fact in facts if fact]


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def unscored(evidence: Evidence) -> Html:
    """What stands in place of scores."""
    note = str(evidence.found.get("note") or "Nothing was evaluated at the end of this run.")
    return tag("section", tag("h2", "Scores"), tag("p", note, css="lead"))


def commands(folder: Path) -> list[str]:
    """What to type next."""
    run, final = shlex.quote(str(folder)), shlex.quote(str(folder / "checkpoint"))
    return [
        f"sensorium resume {run}              # go on, or evaluate again",
        f"sensorium verify {final}   # prove that it gives its own numbers",
        "",
        "import sensorium",
        f"model = sensorium.load({str(folder / 'checkpoint')!r})",
        'model.embed(texts=["two red hearts"]) @ model.embed(images=["heart.png"]).T',
    ]


# --- the file ------------------------------------------------------------------------------------


def document(name: str, parts: Sequence[Html]) -> Html:
    """The page around its parts; it may load nothing and run nothing."""
    style = (Path(__file__).parent / "style.css").read_text()
    policy = {"http-equiv": "Content-Security-Policy", "content": POLICY}
    meta = [
        tag("meta", at={"charset": "utf-8"}),
        tag("meta", at=policy),
        tag("meta", at={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", at={"name": "color-scheme", "content": "light dark"}),
    ]
    top = tag("head", *meta, tag("title", name), tag("style", trusted(style)))
    page = tag("html", top, tag("body", tag("main", *parts)), at={"lang": "en"})
    return join([trusted("<!doctype html>\n"), page])


def save(at: Path, data: bytes) -> None:
    """Writes a file aside, then puts it in place."""
    aside = at.with_name(at.name + ".aside")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, at)
