"""The four experiments on fusion encoders at toy size, from scenes to page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sensorium.claims import lxmert, toy, uniter, vilbert, visualbert
from sensorium.claims.lesson import Effort, Turns
from sensorium.claims.page import Found, Page, gap, told
from sensorium.claims.reproduce import SYSTEMS, measure
from sensorium.objectives.passes import Case, OnePass
from sensorium.types import Joint

FEW = dict(seeds=(0, 1), before=Effort(2, 24, 1e-3), tune=Effort(2, 4, 1e-3), scenes=64)
DESIGNS: dict[str, Any] = {
    "visualbert": visualbert.FULL._replace(**FEW, pairs=8, test=8, width=16, layers=2),
    "uniter": uniter.FULL._replace(
        **FEW, tuned=8, pool=3, captions=6, probed=5, width=16, layers=1
    ),
    "vilbert": vilbert.FULL._replace(**FEW, tuned=8, test=8, width=16, single=(16, 2, 32)),
    "lxmert": lxmert.FULL._replace(**FEW, pairs=8, test=8, width=16, layers=(1, 1, 1)),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_is_measured_written_resumed_and_no_other_is_mixed_in(
    name: str, tmp_path: Path
) -> None:
    said: list[str] = []
    design = DESIGNS[name]
    jobs = SYSTEMS[name][0].jobs(design)
    found = measure(name, design, tmp_path, said.append, workers=0)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert len(lines) == 1 + len(jobs) and len(jobs) == 2 * len(SYSTEMS[name][1].arms)
    assert {v["word"] for v in found["verdicts"]} <= {"holds", "fails", "inconclusive"}
    page = (tmp_path / "README.md").read_text()
    assert all(v["claim"] in page for v in found["verdicts"]) and "{" not in page
    assert (tmp_path / "claim.png").read_bytes().startswith(b"\x89PNG")
    # the last job is lost: it alone is measured again, and comes out as before
    (tmp_path / "results.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    said.clear()
    assert measure(name, design, tmp_path, said.append, workers=0)["verdicts"] == found["verdicts"]
    assert said[0].startswith(f"{len(jobs) - 1} of {len(jobs)} jobs were done before")
    again = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[-1])
    assert again["found"] == json.loads(lines[-1])["found"]
    with pytest.raises(ValueError, match="another design"):
        measure(name, design._replace(seeds=(0, 1, 2)), tmp_path, said.append, workers=0)


def test_late_fusion_has_the_layers_of_the_whole_and_reads_regions_in_the_last_alone() -> None:
    design = visualbert.FULL
    whole, late = (visualbert.net(arm, design) for arm in ("paired", "late"))
    sizes = [sum(p.numel() for p in net.parameters()) for net in (whole, late)]
    assert sizes[1] - sizes[0] == 2 * design.width  # one more norm
    assert len(late.stack.blocks) == 1


def test_streams_have_equally_many_parameters() -> None:
    sizes = [
        sum(p.numel() for p in vilbert.net(streams, vilbert.FULL).parameters())
        for streams in ("two", "one")
    ]
    assert max(sizes) / min(sizes) < 1.02


def test_masking_both_at_once_hides_the_other_side_and_asks_the_same() -> None:
    of = toy.scenes(64, np.random.default_rng(3), 32, 0.5)
    every = torch.arange(64)
    case = Case(
        Joint(
            toy.regions(of, every),
            toy.laid(toy.captions(of, np.random.default_rng(3), 2).text, every),
        ),
        said=toy.detected(of, every),
    )
    net = uniter.net(uniter.FULL)
    for name in ("mlm", "mrfr", "mrckl"):
        hidden = {}
        for arm in ("full", "joint"):
            one = uniter.tasks(arm)[name][0]
            assert isinstance(one, OnePass)
            posed = one.pose(net, case, torch.Generator().manual_seed(0))
            image = posed.of.image
            assert not isinstance(image, torch.Tensor) and "masked" in type(image)._fields
            words = int((posed.of.text.ids == toy.MASK).sum())
            hidden[arm] = words, int(image.masked.sum())  # type: ignore[union-attr]
            assert set(one.count(posed)) == {name.removesuffix("kl")}
        words, regions = hidden["full"]
        assert (words > 0) == (name == "mlm") and (regions > 0) == (name != "mlm")
        assert min(hidden["joint"]) > 0


def test_tasks_take_turns_by_their_shares() -> None:
    of = toy.scenes(4, np.random.default_rng(3), 32, 0.5)
    every = torch.arange(4)
    told = toy.laid(toy.captions(of, np.random.default_rng(3), 2).text, every)
    case = Case(Joint(toy.regions(of, every), told), said=toy.detected(of, every))
    turns = Turns(uniter.tasks("full"))
    net = uniter.net(uniter.FULL)
    names = [turns.pose(net, case, torch.Generator().manual_seed(i))[0] for i in range(600)]
    shares = [names.count(name) / 600 for name in ("itm", "mlm", "mrfr", "mrckl")]
    assert shares == pytest.approx([1 / 3, 1 / 3, 1 / 6, 1 / 6], abs=0.05)


def test_alignment_counts_the_words_that_point_at_their_object() -> None:
    of = toy.scenes(5, np.random.default_rng(3), 32, 0.5)
    told = toy.captions(of, np.random.default_rng(3), 2)
    score = torch.zeros(5, int(told.text.length[0]), toy.MOST)
    for i in range(5):
        for k in range(2):
            at, object = int(told.place[i, k]), int(told.object[i, k])
            score[i, at, object] = 1  # the colour's word is right,
            score[i, at + 1, (object + 1) % toy.MOST] = 1  # that of the shape is not
    assert uniter.hits(score, told) == 0.5


def test_a_caption_is_true_of_a_scene_that_holds_all_it_names() -> None:
    of = toy.scenes(50, np.random.default_rng(3), 32, 0.5)
    told = toy.captions(of, np.random.default_rng(3), 2)
    at = torch.arange(50)
    assert uniter.true_of(told, of, at).all()
    found = uniter.true_of(told, of, at.roll(1))
    for i, j in enumerate(at.roll(1).tolist()):
        held = set(zip(of.colour[j].tolist(), of.shape[j].tolist(), strict=True))
        named = {(int(of.colour[i, k]), int(of.shape[i, k])) for k in told.object[i].tolist()}
        assert bool(found[i]) == (named <= held)


def test_a_page_reads_arms_by_name() -> None:
    one: Found = {"a": {"accuracy": 0.75}, "b": {"accuracy": 0.5}}
    assert gap("a", "b", "accuracy")(one) == 25
    assert told(Effort(2000, 64, 1e-3)) == "2,000 steps of 64 at a peak rate of 0.001"
    assert told((2, 1, 2)) == "2, 1, 2" and told(0.5) == "0.5" and told(1500) == "1,500"
    assert all(isinstance(SYSTEMS[name][1], Page) for name in DESIGNS)
