"""The losses of detection: against plain loops, picture by picture, and by what they teach."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.models.faster_rcnn import TINY, TINY_SMALL
from sensorium.nn.detect.boxes import encode
from sensorium.nn.detect.match import match, noise, sample
from sensorium.objectives.detection import BETA, Detect
from sensorium.train.rules import AdamW, optimiser
from sensorium.types import Scenes
from tests.models.nets import filled, part, scenes

ASKED = Detect(anchors=32, regions=16)


def sums(net: torch.nn.Module, batch: Scenes) -> dict[str, Tensor]:
    question = ASKED.pose(net, batch, torch.Generator())
    said = ASKED.mark(ASKED.encode(net, question), question)
    return {name: value.detach() for name, value in said.items()}


@pytest.mark.parametrize("declaration", [TINY, TINY_SMALL])
def test_a_picture_counts_the_same_in_any_batch(declaration) -> None:
    net, batch = filled(declaration).eval(), scenes(4, torch.float32)
    together = sums(net, batch)
    alone = [sums(net, part(batch, torch.tensor([i]))) for i in range(4)]
    for name, value in together.items():
        assert torch.allclose(value, torch.stack([one[name] for one in alone]).sum(), rtol=1e-4)


def test_the_losses_are_those_of_plain_loops() -> None:
    net, batch = filled(TINY_SMALL).eval(), scenes(1, torch.float32)
    batch = part(batch, torch.tensor([0]))
    got = sums(net, batch)
    view = net.views(batch.image, batch.size)[0]  # type: ignore[operator]
    truth, boxes = batch.boxes[0], net.rpn.boxes(view.x)  # type: ignore[operator,union-attr]
    found = match(truth, boxes, 0.3, 0.7, rescue=True)
    yes, no = sample(found, noise(0, len(boxes)), 32, 0.5)
    here = where = torch.tensor(0.0)
    for i in [*yes.tolist(), *no.tolist()]:
        logit = view.score[i]
        here = here + torch.log1p((-logit if i in yes.tolist() else logit).exp())
    for i in yes.tolist():
        for a, b in zip(view.delta[i], encode(truth[found[i]], boxes[i]), strict=True):
            off = (a - b).abs()
            where = where + (off**2 / (2 * BETA) if off < BETA else off - BETA / 2)
    assert torch.allclose(got["here"], here, rtol=1e-4)
    assert torch.allclose(got["where"], where, rtol=1e-4)
    proposed = net.rpn.propose(view.score, view.delta, boxes, (48, 64), net.limits)  # type: ignore
    regions = torch.cat([proposed, truth])
    found = match(truth, regions, 0.5, 0.5)
    yes, no = sample(found, noise(1, len(regions)), 16, 0.25)
    label = torch.tensor(0.0)
    for i in [*yes.tolist(), *no.tolist()]:
        named = int(batch.labels[0, found[i]]) + 1 if i in yes.tolist() else 0
        logits = net.read(view.x, regions[i : i + 1]).classes  # type: ignore[operator]
        label = label - F.log_softmax(logits, dim=1)[0, named]
    assert torch.allclose(got["label"], label, rtol=1e-4)


def test_pictures_without_objects_and_with_crowds_alone_are_background_and_nothing() -> None:
    net, batch = filled(TINY_SMALL), scenes(2, torch.float32)
    empty = sums(net, batch._replace(labels=torch.full((2, 2), -1)))
    assert float(empty["where"]) == float(empty["box"]) == 0 and float(empty["here"]) > 0
    crowd = sums(net, batch._replace(crowd=torch.ones(2, 2, dtype=torch.bool)))
    assert float(crowd["where"]) == float(crowd["box"]) == 0
    assert all(value.isfinite() for value in (*empty.values(), *crowd.values()))


def test_a_set_without_attributes_is_not_asked_for_them() -> None:
    net, batch = filled(TINY_SMALL), scenes(2, torch.float32)._replace(attributes=None)
    assert "attribute" not in sums(net, batch) and "attribute" not in ASKED.count(batch)


def test_it_teaches_to_find_two_objects() -> None:
    torch.manual_seed(0)
    net, asked = TINY_SMALL.build(), Detect(anchors=64, regions=32)
    image = torch.zeros(1, 3, 48, 64)
    boxes = torch.tensor([[[8.0, 8.0, 24.0, 24.0], [36.0, 20.0, 52.0, 36.0]]])
    image[0, 0, 8:24, 8:24], image[0, 2, 20:36, 36:52] = 2.0, 2.0
    labels, crowd = torch.tensor([[1, 3]]), torch.zeros(1, 2, dtype=torch.bool)
    size = torch.tensor([[48, 64]])
    learn = optimiser(net, ((r".*", AdamW(3e-3)),))
    for group in learn.param_groups:
        group["lr"] = group["initial_lr"]
    for step in range(150):
        batch = Scenes(image, size, boxes, labels, labels % 3, crowd, torch.tensor([step]))
        losses = asked.mark(asked.encode(net.train(), batch), batch)
        torch.stack([losses[name] / n for name, n in asked.count(batch).items()]).sum().backward()
        learn.step()
        learn.zero_grad()
    found = net.eval().detect(image[0], least=0.4)  # type: ignore[operator]
    order = found.labels.argsort()
    assert found.labels[order].tolist() == [1, 3]
    assert float((found.boxes[order] - boxes[0]).abs().max()) < 3
