"""Flamingo's experiment at toy size, from glyphs to page, and the parts whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.claims import flamingo, glyphs
from sensorium.claims.lesson import Effort
from sensorium.claims.reproduce import measure
from sensorium.nn.pictured import Pictures

DESIGN = flamingo.FULL._replace(
    seeds=(0, 1),
    width=16,
    layers=1,
    tower=16,
    queries=2,
    test=8,
    words=Effort(2, 4, 1e-3),
    sight=Effort(2, 4, 1e-3),
    captions=9,
    meet=Effort(2, 2, 1e-3),
)


def test_the_experiment_is_measured_written_and_not_measured_again(tmp_path: Path) -> None:
    said: list[str] = []
    found = measure("flamingo", DESIGN, tmp_path, said.append, workers=0)
    assert {v["word"] for v in found["verdicts"]} <= {"holds", "fails", "inconclusive"}
    page = (tmp_path / "README.md").read_text()
    assert all(v["claim"] in page for v in found["verdicts"]) and "{" not in page
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(flamingo.jobs(DESIGN)) == 9
    again = measure("flamingo", DESIGN, tmp_path, said.append, workers=0)
    assert again == found and (tmp_path / "results.jsonl").read_text().splitlines() == lines
    start = [json.loads(line)["found"]["start"] for line in lines[1:5]]
    assert start[0] == start[1] == start[2] != start[3]  # only open layers change anything


def test_a_name_is_a_kinds_in_its_document_alone() -> None:
    of = glyphs.documents(50, 9, 4, np.random.default_rng(3))
    for kinds, names, known in zip(of.kind, of.name, of.known, strict=True):
        pairs = set(zip(kinds.tolist(), names.tolist(), strict=True))
        assert len({k for k, _ in pairs}) == len({n for _, n in pairs}) == len(pairs) <= 4
        assert set(names) <= set(known) and known.min() >= glyphs.NAME
    every = {
        (k, n) for row in zip(of.kind, of.name, strict=True) for k, n in zip(*row, strict=True)
    }
    assert len(every) > 4 * glyphs.KINDS  # another name in another document


def test_texts_and_glyphs_say_the_same_and_what_is_asked_ends_with_a_glyph() -> None:
    of = glyphs.documents(5, 3, 2, np.random.default_rng(3))
    told = glyphs.told(of)
    shown = glyphs.shown(of, np.random.default_rng(4), 0.1)
    keys = (told.text.ids >= glyphs.KEY) & (told.text.ids < glyphs.NAME)
    assert torch.equal(shown.text.ids, told.text.ids.masked_fill(keys, glyphs.MARK))
    assert torch.equal(told.learnt, told.text.ids >= glyphs.NAME)
    assert isinstance(shown.source, Pictures) and len(shown.source.image) == 15
    lesson, known, right = glyphs.asked(of, np.random.default_rng(4), 0.1)
    ends = lesson.text.lengths.cumsum(0) - 1
    assert (lesson.text.ids[ends] == glyphs.MARK).all() and lesson.text.lengths.tolist() == [8] * 5
    assert known.gather(1, right[:, None])[:, 0].tolist() == of.name[:, -1].tolist()


def test_captions_say_a_kinds_own_word_behind_the_documents() -> None:
    of = glyphs.documents(2, 3, 2, np.random.default_rng(3))
    kinds = np.array([5, 0, 5])
    lesson = glyphs.shown(of, np.random.default_rng(4), 0.1, kinds)
    ids = lesson.text.ids[-12:].view(3, 4)
    assert lesson.text.lengths.tolist() == [10, 10, 4, 4, 4]
    begins = [[glyphs.CAPTION, glyphs.MARK]] * 3
    assert ids[:, :2].tolist() == begins and (ids[:, 2] - glyphs.OWN).tolist() == [5, 0, 5]
    assert lesson.learnt[-12:].view(3, 4).tolist() == [[False, False, True, False]] * 3
    assert isinstance(lesson.source, Pictures) and len(lesson.source.image) == 9
    alone = glyphs.shown(
        glyphs.documents(0, 3, 2, np.random.default_rng(3)), np.random.default_rng(4), 0.1, kinds
    )
    assert alone.text.lengths.tolist() == [4, 4, 4]


def test_kinds_are_told_apart_by_their_patterns() -> None:
    flat = glyphs.patterns().reshape(glyphs.KINDS, -1)
    apart = np.abs(flat[:, None] - flat[None]).sum(-1) + 99 * np.eye(glyphs.KINDS)
    assert flat.sum(1).tolist() == [12] * glyphs.KINDS and apart.min() >= 4
    picture = glyphs.drawn(np.array([0, 0]), np.random.default_rng(0), 0.0)
    assert picture.shape == (2, 3, glyphs.PIXELS, glyphs.PIXELS)
    inked = picture[0, 0] > 0
    assert int(inked.sum()) == 12 * glyphs.SQUARE**2 and not torch.equal(picture[0], picture[1])


def test_a_net_that_says_one_name_is_right_by_chance() -> None:
    design = DESIGN._replace(test=400)
    net = flamingo.joined(DESIGN, 0, opened=False)
    assert flamingo.accuracy(net, 2, design, 0) == pytest.approx(0.25, abs=0.12)
