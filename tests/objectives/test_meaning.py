"""Statements judged and pointed at: the losses are those of plain loops."""

from typing import Any

import pytest
import torch

from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.models.bert import BertSize
from sensorium.models.uniter import uniter
from sensorium.objectives.meaning import Meaning, Meant
from sensorium.types import Joint

MARKS = torch.tensor([[1.0, 1.0], [0.0, 1.0], [-1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]])


def posed() -> tuple[Any, Meant]:
    torch.manual_seed(0)
    size = BertSize(20, 8, 2, 16, 1, 2, 32)
    net = uniter(size, feature=6, heads=("vqa", "mrc"), answers=2, classes=2, drop=0.0)
    seen = [Looked(torch.rand(n, 6), torch.rand(n, 4).sort().values) for n in (2, 3)]
    joint = Joint(lay_regions(seen), lay([[5, 6, 7], [8, 9]]))
    return net, Meant(joint, torch.tensor([1, 0]), MARKS)


def test_losses_are_those_of_known_regions():
    net, batch = posed()
    objective = Meaning("vqa", "mrc")
    losses = objective.mark(objective.encode(net, batch), batch)
    assert objective.count(batch) == {"vqa": 2, "thing": 2, "box": 2}
    said = net.fuse(batch.of)
    answers = net.ask("vqa", batch.of).log_softmax(1)
    numbers = net.heads["mrc"](said.image.x[0])
    assert losses["vqa"].item() == pytest.approx(-(answers[0, 1] + answers[1, 0]).item(), rel=1e-5)
    for column, name in enumerate(("thing", "box")):
        want = 0.0
        for row in (0, 1):
            p = numbers[row, column].sigmoid().item()
            share = p if MARKS[row, column] == 1 else 1 - p
            want -= torch.tensor(share).log().item()
        assert losses[name].item() == pytest.approx(want, rel=1e-4)


def test_regions_of_which_nothing_is_known_teach_nothing():
    net, batch = posed()
    objective = Meaning("vqa", "mrc")
    batch = batch._replace(marks=torch.full((5, 2), -1.0))
    losses = objective.mark(objective.encode(net, batch), batch)
    assert losses["thing"] == losses["box"] == 0
    assert objective.count(batch)["thing"] == 0
