"""ALBEF's teacher and queue are part of a run: one that goes on ends where one that never stopped
ends, to the bit."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.ragged import lay, unlay
from sensorium.objectives.aligned import Aligned
from sensorium.objectives.momentum import Queue, Slow
from sensorium.train.checkpoint import latest, place_of
from sensorium.train.loop import train
from sensorium.train.rules import AdamW, Freeze
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Joint
from tests.objectives.align_net import EMBED, align_fuse, pairs
from tests.objectives.test_aligned import WORDS


def run(slices: int = 1, **more) -> Run:
    batch = pairs(12)
    samples = list(zip(batch.image.float(), unlay(batch.text), strict=True))

    def collate(items: list) -> Joint:
        return Joint(torch.stack([p for p, _ in items]), lay([t for _, t in items]))

    source = Source(samples, Shuffled(12, 0), lambda sample, rng: sample, collate)
    teacher = align_fuse().float()
    del teacher.heads["itm"]
    objective = Aligned(teacher, Queue(8, EMBED), WORDS, Slow(0.9, ramp=3), **more)
    return Run(
        net=lambda: align_fuse().float(),
        asks={"pass": Ask(objective, lambda: source)},
        rules=((r"teacher\.", Freeze()), (r".*", AdamW(1e-2))),
        steps=4,
        batch=4,
        package=lambda: Package({"about": "a test"}, {}),
        draw={"pass": 1.0},
        slices=slices,
        save_every=2,
    )


def state(at: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in at.rglob("*.safetensors")}


def test_a_run_that_goes_on_ends_where_one_that_never_stopped_ends(tmp_path: Path) -> None:
    whole = train(run(), tmp_path / "whole")
    half = place_of(tmp_path / "whole", 2)
    shutil.copytree(half, place_of(tmp_path / "again", 2))
    again = train(run(), tmp_path / "again")
    found, wanted = state(again), state(whole)
    assert found == wanted and "objectives.safetensors" in wanted
    assert state(half) != wanted and latest(tmp_path / "again") == again


def test_slices_change_the_contrast_by_nothing_but_rounding(tmp_path: Path) -> None:
    losses = []
    for n in (1, 2):
        train(run(n, losses=("itc",)), tmp_path / str(n))
        lines = (tmp_path / str(n) / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss/itc"] for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and len(losses[0]) == 4
