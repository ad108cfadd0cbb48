"""LLaVA's experiment at toy size, from scenes to page, and the parts whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sensorium.claims import llava, talks
from sensorium.claims.lesson import Effort
from sensorium.claims.llava_page import PAGE
from sensorium.claims.record import Record, Row
from sensorium.claims.reproduce import measure
from sensorium.nn.pictured import Pictures

DESIGN = llava.FULL._replace(
    seeds=(0, 1),
    width=32,
    layers=1,
    tower=16,
    test=4,
    words=Effort(2, 4, 1e-3),
    sight=Effort(2, 4, 1e-3),
    align=Effort(2, 2, 1e-3),
    tune=Effort(2, 2, 1e-3),
)
RED, BLUE = talks.ID["red"], talks.ID["blue"]
DISC, SQUARE = talks.ID["disc"], talks.ID["square"]
RED_DISC, BLUE_SQUARE = 1, 1 + 2 * talks.KINDS + 1  # as things at a place


def test_the_experiment_is_measured_written_and_not_measured_again(tmp_path: Path) -> None:
    said: list[str] = []
    found = measure("llava", DESIGN, tmp_path, said.append, workers=0)
    assert {v["word"] for v in found["verdicts"]} <= {"holds", "fails", "inconclusive"}
    page = (tmp_path / "README.md").read_text()
    assert all(v["claim"] in page for v in found["verdicts"]) and "{" not in page
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(llava.jobs(DESIGN)) == 11
    again = measure("llava", DESIGN, tmp_path, said.append, workers=0)
    assert again == found and (tmp_path / "results.jsonl").read_text().splitlines() == lines


def test_held_out_scenes_are_never_learnt_from() -> None:
    parts = [
        {tuple(one) for one in talks.scenes(3000, np.random.default_rng(2), test).tolist()}
        for test in (False, True)
    ]
    assert not parts[0] & parts[1] and all(len(part) > 2000 for part in parts)
    assert all(sum(thing > 0 for thing in one) >= 2 for part in parts for one in part)


@pytest.mark.parametrize(
    ("question", "known"),
    [
        ("what colour", {(talks.PLACE,): [RED], (talks.PLACE + 1,): [BLUE]}),
        ("what shape", {(talks.PLACE,): [DISC], (talks.PLACE + 1,): [SQUARE]}),
        ("what is beside", {(RED, DISC): [BLUE, SQUARE], (BLUE, SQUARE): [RED, DISC]}),
        ("describe", {(): [RED, DISC, BLUE, SQUARE, talks.EMPTY, talks.EMPTY]}),
        ("how many", {(c,): [talks.NUMBER + (c in (RED, BLUE))] for c in range(RED, RED + 4)}),
    ],
)
def test_answers_are_those_of_the_scene(question: str, known: dict) -> None:
    rng, kind = np.random.default_rng(1), [RED_DISC, BLUE_SQUARE, 0, 0]
    asked = [talks.ask(kind, question, rng) for _ in range(100)]
    assert all(words[0] == talks.ID[question] for words, _ in asked)
    assert {tuple(words[1:]): answer for words, answer in asked} == known


def test_what_is_there_is_so_half_of_the_time_and_beside_needs_a_single_object() -> None:
    rng, kind = np.random.default_rng(1), [RED_DISC, 0, BLUE_SQUARE, 0]
    asked = [talks.ask(kind, "is there", rng) for _ in range(400)]
    assert all((w[1] in (DISC, SQUARE)) == (a == [talks.NO + 1]) for w, a in asked)
    assert 150 < sum(a == [talks.NO] for _, a in asked) < 250
    twins = [talks.ask([RED_DISC, RED_DISC, 0, 0], "what is beside", rng) for _ in range(20)]
    assert {words[0] for words, _ in twins} == {talks.ID["how many"]}
    assert ([talks.ID["how many"], RED], [talks.NUMBER + 2]) in twins


def test_dialogues_have_a_picture_and_learn_answers_and_their_ends() -> None:
    lesson = talks.talks(20, ["conversation"], llava.PATCHES, 0.0, np.random.default_rng(3))
    assert isinstance(lesson.source, Pictures) and len(lesson.source.image) == 20
    assert len(lesson.source.place) == 20 * llava.PATCHES
    assert (lesson.text.ids[lesson.source.place] == talks.PATCH).all()
    assert int(lesson.learnt.sum()) == 20 * 3 * 2  # three answers of a word, and their ends
    ids, learnt = lesson.text.ids, lesson.learnt
    assert (ids[1:][learnt[:-1] & ~learnt[1:]] != talks.BOT).all()
    assert not learnt[(ids == talks.USER) | (ids == talks.BOT) | (ids == talks.PATCH)].any()
    told = talks.words(50, np.random.default_rng(3))
    assert told.source is None and not (told.text.ids == talks.PATCH).any()
    assert int(told.text.lengths.max()) <= talks.LONGEST


def test_a_picture_shows_each_object_in_its_quarter() -> None:
    kinds = np.array([[RED_DISC, 0, 0, BLUE_SQUARE], [0, 0, 0, 0]])
    shown, ground = talks.drawn(kinds, np.random.default_rng(3), 0.0)
    strongest = (shown[:, 8, 8], shown[:, 24, 24])
    assert int(strongest[0].argmax()) == 0 and int(strongest[1].argmax()) == 2
    assert float(strongest[0][0]) > float(shown[0, 8, 24]) and float(ground.max()) < 0
    labels = kinds[:, llava.QUARTER].reshape(2, llava.SIDE, llava.SIDE)
    assert (labels[0, :2, :2] == RED_DISC).all() and (labels[0, 2:, 2:] == BLUE_SQUARE).all()
    assert (labels[0, :2, 2:] == 0).all()


class Parrot(nn.Module):
    """Says what was written, but for one wrong token."""

    def __init__(self, wrong: int):
        super().__init__()
        self.wrong = wrong

    def forward(self, source: Pictures, text) -> torch.Tensor:
        out = nn.functional.one_hot(text.ids.roll(-1), talks.VOCAB).float()
        out[self.wrong] = out[self.wrong].roll(1)
        return out


def test_one_wrong_token_makes_an_answer_wrong() -> None:
    asked = llava.exam(DESIGN, 0, "detail", True)
    last = int(asked.text.lengths[0]) - 2  # what follows it ends the first answer
    assert llava.right(Parrot(last), asked) == [False, True, True, True]
    assert llava.right(Parrot(0), asked) == [True] * 4


def test_a_stage_teaches_what_it_should_and_no_more() -> None:
    before = llava.joined(DESIGN, 0, "mlp").state_dict()
    for rules, learns in ((llava.ALIGN, {"bridge"}), (llava.TUNE, {"bridge", "decoder"})):
        net = llava.joined(DESIGN, 0, "mlp")

        def batch(step: int):
            return talks.captions(2, llava.PATCHES, 0.0, np.random.default_rng(step))

        llava.taught(net, llava.NextToken(), batch, DESIGN.align, rules)
        moved = {k.split(".")[0] for k, v in net.state_dict().items() if not v.equal(before[k])}
        assert moved == learns


def test_the_page_judges_by_the_mean_of_the_types(tmp_path: Path) -> None:
    design = llava.FULL
    record = Record(tmp_path / "results.jsonl", design)
    means = {"full": 0.9, "aligned": 0.2, "conversation": 0.7, "unaligned": 0.9, "linear": 0.95}
    for job in llava.jobs(design):
        mean = means[job["arm"]] + 0.01 * job["seed"] * (job["arm"] == "unaligned")
        found = dict.fromkeys(talks.TYPES, 0.5) | {
            "mean": mean - 0.01 * (job["arm"] == "unaligned")
        }
        record.add(Row(job, found, 1.0))
    judged = PAGE.verdicts(record, design)
    assert [one.word for one in judged] == ["holds", "holds", "inconclusive", "fails"]
