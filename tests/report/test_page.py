"""The page: whole, self-contained, and safe whatever the captions hold."""

import json
import warnings
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.recipes.execute import start
from sensorium.report.evidence import TO_IMAGE, chance, gather
from sensorium.report.markup import Html, escape, short, tag
from sensorium.report.page import write
from sensorium.report.thumbs import BUDGET, thumb, thumbs
from tests.report.conftest import Make, Table, picture, samples

HOSTILE = (
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title><svg/onload=alert(2)>",
    "$x_1^2$ \\frac{ costs $5 & more %s {}",
    "一只猫坐在桌子上",
    "قطة تجلس على الطاولة",
    "\u202eoverride, bell \x07, half a pair \ud83d",
    "long " * 400,
    "two\nlines\tand a tab",
)
VOID = {"img", "meta", "br"}


class Page(HTMLParser):
    """Tags of a page, its addresses, its text; refuses tags that are not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.events: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        self.events += [k for k, _ in attrs if k.startswith("on")]
        if name not in VOID:
            self._open.append(name)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        self.text += data


def page(at: Path) -> Page:
    return Page(at.read_text())


def test_a_report_holds_scores_curves_pictures_the_map_and_the_record(made: Make) -> None:
    given = samples(30)
    evidence = made(given)
    text = page(write(evidence, given, Table(), ["norm: Freeze()"])).text
    for heading in ("Scores", "Learning", "Pictures found by words", "Words found by pictures"):
        assert heading in text
    assert "Similarity map" in text and "Record" in text and "norm: Freeze()" in text
    assert "of 30 texts find their picture first" in text
    value = evidence.series[0].scores[TO_IMAGE]["R@5"]
    assert f"{100 * value:.1f}%" in text
    assert evidence.records["all"].header["data"] in text


def test_it_needs_nothing_from_elsewhere_and_runs_nothing(made: Make) -> None:
    given = samples(12)
    at = write(made(given), given, Table())
    found, text = page(at), at.read_text()
    assert "script" not in found.tags and "link" not in found.tags and not found.events
    assert found.addresses and all(a.startswith("data:image/") for a in found.addresses)
    assert "@import" not in text and "url(" not in text and "http" not in found.text
    assert at.stat().st_size < 3e6


def test_captions_are_data_whatever_they_hold(made: Make) -> None:
    given = samples(len(HOSTILE), HOSTILE)
    evidence = made(given, recipe="<b>clip</b>")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that a font lacks is no warning either
        at = write(evidence, given, Table())
    text = at.read_text()
    assert "<script" not in text and "<b>clip" not in text and "<svg/onload" not in text
    found = page(at)
    assert not found.events and set(found.tags) <= {
        *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "figure"),
        *("h1", "h2", "h3", "p", "b", "i", "u", "q", "em", "small", "span", "div", "bdi", "pre"),
        *("svg", "path", "polyline", "figcaption", "img", "ol", "li", "dl", "dt", "dd"),
    }
    assert "<script>alert('x')</script>" in found.text and "一只猫坐在桌子上" in found.text
    assert "\u202e" not in text and "\x07" not in text


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_run_without_scores_or_with_hardly_a_step_is_reported(made: Make, steps: int) -> None:
    evidence = made(steps=steps)
    at = write(evidence._replace(found={"scores": {}, "note": "too few pictures"}))
    text = page(at).text
    assert "too few pictures" in text and "Pictures found" not in text
    assert ("No step was recorded" in text) == (steps == 0)
    with Image.open(at.parent / "figure.png") as drawn:
        assert drawn.size == (1200, 700)


def test_other_scores_than_those_of_retrieval_are_shown_as_they_are(made: Make) -> None:
    folder = made().folder
    (folder / "run.json").unlink()  # a folder that says less is reported all the same
    found: dict = {"scores": {"probe": {"accuracy": 0.875, "queries_asked": 1234.0}}}
    found["intervals"] = {"probe": {"accuracy": [0.8, 0.9]}}
    text = page(write(gather(folder, found))).text
    assert "87.5%" in text and "80.0–90.0" in text and "Queries asked" in text


def test_a_single_sample_is_enough(made: Make) -> None:
    given = samples(1)
    assert "100.0%" in page(write(made(given), given, Table())).text


def test_a_picture_that_cannot_be_read_is_said_in_its_place(made: Make) -> None:
    given = samples(6)
    evidence = made(given)
    broken = [given[0]._replace(image=b"GIF89a no picture"), *given[1:]]
    text = page(write(evidence, broken)).text
    assert "cannot be read" in text


def test_the_record_names_unreadable_samples(made: Make) -> None:
    evidence = made()._replace(corrupt={"a<b>.jpg": "cut short"})
    text = page(write(evidence)).text
    assert "a<b>.jpg" in text and "cut short" in text


def test_no_number_of_large_pictures_makes_a_large_page() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    out = BytesIO()
    Image.fromarray(noise).save(out, "JPEG", quality=95)
    names = [f"{i}" for i in range(200)]
    made = thumbs(names, lambda name: out.getvalue(), BUDGET // 4)
    assert 0 < sum(len(t.data) for t in made.values() if t) <= BUDGET // 4


def test_thumbnails_are_encoded_anew_and_small_ones_keep_their_pixels() -> None:
    small, large = thumb(picture(3), "a", 144), thumb(picture(3, "JPEG", (800, 600)), "b", 144)
    assert small is not None and small.kind == "image/png" and small.size == (40, 30)
    assert large is not None and large.kind == "image/jpeg" and large.size == (144, 108)
    assert thumb(b"not a picture", "c", 144) is None
    hidden = picture(3, "JPEG", (200, 200)) + b"<script>"
    made = thumb(hidden, "d", 144)
    assert made is not None and b"<script>" not in made.data


def test_what_is_not_html_yet_is_escaped() -> None:
    assert tag("p", "<b>", at={"title": '"<'}) == '<p title="&quot;&lt;">&lt;b&gt;</p>'
    assert tag("p", tag("b", "&")) == "<p><b>&amp;</b></p>"
    assert isinstance(tag("p"), Html) and escape("a\x00\ud800b") == "a\ufffd\ufffdb"
    assert short("a  b\nc", 10) == "a b c" and short("abcdef", 4) == "abc…"


def test_chance_is_what_random_ranks_give(made: Make) -> None:
    given = samples(20)
    kept = made(given).records["all"]
    assert all(row["correct"] == 1 for row in kept.rows)
    assert [chance(kept, TO_IMAGE, k) for k in (1, 5, 20, 99)] == pytest.approx([0.05, 0.25, 1, 1])


@pytest.mark.slow
def test_a_recipe_ends_with_its_report(tmp_path: Path) -> None:
    data = tmp_path / "own"
    data.mkdir()
    for i in range(60):
        (data / f"{i}.jpg").write_bytes(picture(i, "JPEG", (120, 90)))
        (data / f"{i}.txt").write_text(f"<i>colour</i> number {i}")
    found = start(
        "clip", {"data": str(data), "steps": 1, "batch": 16}, tmp_path / "run", lambda text: None
    )
    text = Path(found["report"]).read_text()
    assert "Similarity map" in text and "<i>colour" not in text
    assert json.loads((tmp_path / "run/scores.json").read_text())["scores"]
