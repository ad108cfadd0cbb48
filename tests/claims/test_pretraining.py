"""What pre-training is worth, at toy size: both arms of a system, and the page."""

from pathlib import Path

import pytest

from sensorium.claims import pretraining
from sensorium.claims.pretraining_page import PAGE
from sensorium.claims.record import Record, Row

SYSTEMS = ("uniter", "albef")
TOY = pretraining.FULL._replace(
    systems=SYSTEMS,
    seeds=(0, 1),
    rates=(1e-3, 1e-3),
    before=2,
    after=(2, 2),
    batch=4,
    shape=(24, 8, 24),
    labelled=8,
    held=4,
    asked=2,
)


@pytest.mark.parametrize("system", ["uniter", pytest.param("albef", marks=pytest.mark.slow)])
def test_both_arms_are_trained_and_asked(system: str) -> None:
    found = pretraining.work(TOY, {"arm": system, "seed": 0})
    named = [f"{arm}{kind}" for arm in ("pretrained", "scratch") for kind in ("", ", how many")]
    assert found.keys() == {"guessed", *named}
    assert all(0 <= share <= 1 for share in found.values())


def test_the_test_questions_are_the_same_for_every_seed() -> None:
    first, second = (pretraining.questions(TOY, seed) for seed in (0, 1))
    assert first.test.entries == second.test.entries and len(first.test) == 8
    assert first.train.entries != second.train.entries and len(first.train) == 8
    assert not {one.cluster for one in first.train.entries} & {
        one.cluster for one in first.test.entries
    }


def test_the_page_says_what_was_found(tmp_path: Path) -> None:
    design = pretraining.FULL
    record = Record(tmp_path / "results.jsonl", design)
    for job in pretraining.jobs(design):
        gained = 0.1 + 0.01 * job["seed"] if job["arm"] != "vilt" else 0.1 * (job["seed"] - 1)
        found = {"pretrained": 0.5 + gained, "scratch": 0.5, "guessed": 0.4}
        found |= {"pretrained, how many": 0.5, "scratch, how many": 0.4}
        record.add(Row(job, found, 1.0))
    judged = PAGE.verdicts(record, design)
    words = {one.claim.split()[-1]: one.word for one in judged}
    assert words.pop("ViLT") == "inconclusive" and set(words.values()) == {"holds"}
    assert "| UNITER | 62.5 (" in PAGE.text(record, design, judged)
    PAGE.plot(record, design, tmp_path / "claim.png")
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
