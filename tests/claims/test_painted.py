"""Painted scenes say what they show, and ViLT's and ALBEF's experiments run from them to a page."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.claims import albef, painted, vilt
from sensorium.claims.lesson import Effort
from sensorium.claims.reproduce import measure
from sensorium.claims.toy import laid
from sensorium.types import Joint

FEW = Effort(2, 8, 1e-3)
SMALL = dict(seeds=(0, 1), width=16, pictures=40)
VILT = vilt.FULL._replace(
    **SMALL, layers=1, channels=4, feature=8, test=30, alone=FEW, before=FEW, tune=FEW
)
ALBEF = albef.FULL._replace(**SMALL, layers=(1, 1, 1), queue=16, test=12, effort=FEW)


@pytest.fixture
def of() -> painted.Scenes:
    return painted.scenes(200, np.random.default_rng(3), 0.0)


def words(ids: torch.Tensor) -> list[str]:
    return [painted.WORDS[i] for i in ids.tolist()]


# --- pictures and texts --------------------------------------------------------------------------


def test_captions_name_what_is_painted_where(of: painted.Scenes) -> None:
    names = [name for name, _ in painted.COLOURS]
    told = painted.captions(of)
    for i in range(50):
        _, c1, f1, way, c2, f2, _ = words(told.ids[i])
        centre = (of.box[i, :, :2] + of.box[i, :, 2:]) / 2
        apart = centre[1] - centre[0]
        assert way == ("beside" if apart[0] > abs(apart[1]) else "above")
        assert max(apart) > 0.3  # the first is at the left, or above
        for k, (colour, form) in enumerate(((c1, f1), (c2, f2))):
            assert painted.FORMS[int(of.form[i, k])] == form
            x, y = (32 * centre[k]).long().tolist()
            seen = (of.image[i, :, y, x] + 1) / 2
            known = torch.tensor([rgb for _, rgb in painted.COLOURS])
            assert names[int((known * 0.8 - seen).abs().sum(1).argmin())] == colour


def test_questions_have_the_answer_that_the_scene_gives(of: painted.Scenes) -> None:
    asked = painted.questions(of, np.random.default_rng(0))
    kinds, colours = set(), [name for name, _ in painted.COLOURS]
    for i in range(len(of.way)):
        said = words(asked.text.ids[i, : int(asked.text.length[i])])[1:-1]
        things = [
            (colours[c], painted.FORMS[f])
            for c, f in zip(of.colour[i].tolist(), of.form[i].tolist(), strict=True)
        ]
        kinds.add(said[1])
        if said[1] == "there":
            right = painted.NO + (tuple(said[2:]) in things)
        elif said[1] == "colour":
            right = colours.index(next(c for c, f in things if f == said[3]))
        else:
            right = len(colours) + painted.FORMS.index(next(f for c, f in things if c == said[3]))
        assert int(asked.answer[i]) == right
    assert kinds == {"there", "colour", "shape"}
    true = (asked.answer == painted.NO + 1).sum() / (asked.answer >= painted.NO).sum()
    assert 0.35 < float(true) < 0.65


def test_names_in_two_pieces_say_the_same(of: painted.Scenes) -> None:
    one, two = painted.captions(of), painted.captions(of, 2)
    for i in range(20):
        said = [word for word in words(two.ids[i]) if not word.startswith("##")]
        assert [word.rstrip("-") for word in said] == words(one.ids[i])
    assert set(painted.VOCABULARY.goes_on) >= set(two.ids[:, 2].tolist())
    assert two.ids.shape[1] <= painted.LENGTH


def test_distinct_scenes_have_distinct_captions() -> None:
    of = painted.distinct(800, np.random.default_rng(0), 0.0)
    told = {tuple(row) for row in painted.captions(of).ids.tolist()}
    assert len(told) == 800
    assert (of.colour[:, 0] != of.colour[:, 1]).all() and (of.form[:, 0] != of.form[:, 1]).all()
    with pytest.raises(ValueError, match="800 different scenes, not 801"):
        painted.distinct(801, np.random.default_rng(0), 0.0)


def test_so_many_captions_are_made_wrong(of: painted.Scenes) -> None:
    told = painted.captions(of)
    wrong = painted.distorted(told, 0.3, np.random.default_rng(0))
    assert 0.2 < float((wrong.ids != told.ids).any(1).double().mean()) < 0.4


# --- nets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", vilt.FED)
def test_what_feeds_the_trunk_learns_with_it(arm: str) -> None:
    net, world = vilt.net(arm, VILT), vilt.world(arm, 6, VILT, 0)
    at = torch.arange(6)
    answers = painted.questions(world.of, np.random.default_rng(0), 2)
    net.ask("vqa", Joint(world.shown(at), laid(answers.text, at))).square().sum().backward()
    still = [
        name
        for name, p in net.named_parameters()
        if p.grad is None and not name.startswith(("heads.mlm", "heads.itm"))
    ]
    # nothing is hidden in regions here
    assert [name for name in still if ".mask." not in name] == []


def test_recall_of_scores_that_are_known() -> None:
    score = torch.eye(4)
    score[1, 2] = 2.0  # row 1 and column 2 are lost
    assert albef.first(score) == pytest.approx(0.75)


# --- whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "design"), [("vilt", VILT), ("albef", ALBEF)])
def test_experiments_are_measured_written_and_not_measured_again(
    name: str, design: vilt.Design | albef.Design, tmp_path: Path
) -> None:
    said: list[str] = []
    found = measure(name, design, tmp_path, said.append, workers=0)
    assert {v["word"] for v in found["verdicts"]} <= {"holds", "fails", "inconclusive"}
    assert json.loads((tmp_path / "verdicts.json").read_text()) == json.loads(json.dumps(found))
    page = (tmp_path / "README.md").read_text()
    assert all(v["claim"] in page for v in found["verdicts"]) and "{" not in page
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "results.jsonl").read_text().splitlines(keepends=True)
    cut = "".join(lines[:-2]) + lines[-2][:20]  # killed in the middle of the last line but one
    (tmp_path / "results.jsonl").write_text(cut)
    said.clear()
    again = measure(name, design, tmp_path, said.append, workers=0)
    assert f"{len(lines) - 3} of {len(lines) - 1} jobs were done before" in said[0]
    assert len(again["verdicts"]) == len(found["verdicts"])
    with pytest.raises(ValueError, match="another design"):
        measure(name, design._replace(noise=0.5), tmp_path, said.append, workers=0)
