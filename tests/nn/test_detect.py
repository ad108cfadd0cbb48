"""The parts of a detector equal their slow twins, forward and backward."""

import pytest
import torch
from torch import Tensor

from sensorium.nn.detect.anchors import cell, spread
from sensorium.nn.detect.boxes import clipped, decode, encode, large, overlaps
from sensorium.nn.detect.match import IGNORED, NOTHING, match, noise, sample
from sensorium.nn.detect.pool import roi_align, roi_pool
from sensorium.nn.detect.rpn import RPN, Anchors, Limits
from sensorium.nn.detect.suppress import nms, nms_by_class
from tests.nn import slow_detect as slow

# what py-faster-rcnn's generate_anchors gives for three ratios and the scales 8, 16 and 32
CAFFE = [[-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199]]
CAFFE += [[-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263]]
CAFFE += [[-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359]]


def drawn(n: int, side: float = 100.0, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    low = torch.rand(n, 2, generator=g) * side
    return torch.cat([low, low + 1 + torch.rand(n, 2, generator=g) * side / 2], dim=1)


@pytest.mark.parametrize("extra", [0, 1])
def test_a_coding_is_undone(extra: int) -> None:
    boxes, truth = drawn(50), drawn(50, seed=1)
    back = decode(encode(truth, boxes, extra), boxes, extra)
    if extra:  # the far corner lies a pixel further out, as in the programs this comes from
        back = back - torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert torch.allclose(back, truth, atol=1e-3)


def test_overlaps_and_edges() -> None:
    a, b = drawn(20), drawn(30, seed=1)
    for extra in (0, 1):
        want = [[slow.overlap(one, other, extra) for other in b] for one in a]
        assert torch.allclose(overlaps(a, b, extra), torch.tensor(want), atol=1e-6)
    nothing = torch.zeros(1, 4)
    assert overlaps(nothing, nothing).item() == 0
    wide = torch.tensor([[-5.0, -5.0, 300.0, 50.0]])
    assert clipped(wide, (40, 60)).tolist() == [[0, 0, 60, 40]]
    assert clipped(wide, (40, 60), extra=1).tolist() == [[0, 0, 59, 39]]
    assert large(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 0]]), 0.0).tolist() == [True, False]


def test_anchors_are_the_documented_ones() -> None:
    assert cell((128.0, 256.0, 512.0), (0.5, 1.0, 2.0), 16, "caffe").tolist() == CAFFE
    exact = cell((32.0,), (0.5, 1.0), 16)
    assert (exact[:, 2:] - exact[:, :2]).prod(1).tolist() == pytest.approx([1024, 1024])
    grid = spread(exact, (2, 3), 16)
    assert torch.equal(grid[:2], exact) and torch.equal(
        grid[2:4], exact + torch.tensor([16, 0] * 2)
    )
    assert torch.equal(grid[6:8], exact + torch.tensor([0, 16, 0, 16]))


@pytest.mark.parametrize("n", [0, 1, 40, 300])
def test_suppression_is_the_greedy_one(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.nn.detect.suppress.BLOCK", 64)
    boxes, scores = drawn(n), torch.rand(n)
    for limit, extra in ((0.3, 0), (0.5, 1), (0.7, 0)):
        want = slow.nms(boxes, scores, limit, extra)
        assert nms(boxes, scores, limit, extra=extra).tolist() == want
        assert nms(boxes, scores, limit, extra=extra, most=7).tolist() == want[:7]
    kinds = torch.randint(3, (n,))
    want = []
    for kind in range(3):
        own = (kinds == kind).nonzero().squeeze(1)
        want += [int(own[i]) for i in slow.nms(boxes[own], scores[own], 0.4)]
    assert sorted(nms(boxes, scores, 0.4, kinds=kinds).tolist()) == sorted(want)


def test_suppression_class_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.nn.detect.suppress.CELLS", 40 * 40 * 3)
    boxes, scores = drawn(40), torch.rand(40, 7)
    found = nms_by_class(boxes, scores, 0.3)
    for c in range(7):
        want = slow.nms(boxes, scores[:, c], 0.3)
        assert sorted(found[:, c].nonzero().squeeze(1).tolist()) == sorted(want)


EDGES = torch.tensor(
    [[0.0, 0, 79, 47], [70, 40, 90, 60], [-20, -9, 3, 3], [5, 5, 5, 5], [100, 100, 120, 120]]
)


@pytest.mark.parametrize("side", [1, 3, 7])
def test_pooling_is_the_plain_one(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorium.nn.detect.pool.ELEMENTS", 2 * side * side * 5)
    boxes = torch.cat([drawn(12, 60), EDGES])
    x = torch.randn(5, 6, 10)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    fast, want = roi_pool(a, boxes, side, 1 / 8), slow.roi_pool(b, boxes, side, 1 / 8)
    assert torch.equal(fast, want)
    weights = torch.randn_like(fast)
    (fast * weights).sum().backward()
    (want * weights).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert torch.allclose(a.grad, b.grad, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2])
def test_aligning_is_the_plain_one(samples: int) -> None:
    boxes = torch.cat([drawn(6, 60), EDGES]).double()
    x = torch.randn(3, 6, 10, dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    fast = roi_align(a, boxes, 4, 1 / 8, samples)
    want = slow.roi_align(b, boxes, 4, 1 / 8, samples)
    assert torch.allclose(fast, want, atol=1e-12)
    weights = torch.randn_like(fast)
    (fast * weights).sum().backward()
    (want * weights).sum().backward()
    assert a.grad is not None and b.grad is not None
    assert torch.allclose(a.grad, b.grad, atol=1e-12)


def test_no_boxes_are_pooled_to_nothing() -> None:
    x, none = torch.randn(3, 6, 10), torch.zeros(0, 4)
    assert roi_pool(x, none, 7, 1 / 8).shape == roi_align(x, none, 7, 1 / 8).shape == (0, 3, 7, 7)


def test_matching_is_the_plain_one() -> None:
    truth, boxes = drawn(6), torch.cat([drawn(80, seed=2), drawn(6) + 1])
    for rescue in (False, True):
        want = slow.match(truth, boxes, 0.3, 0.6, rescue)
        assert match(truth, boxes, 0.3, 0.6, rescue=rescue).tolist() == want
    assert match(torch.zeros(0, 4), boxes, 0.3, 0.6).unique().tolist() == [NOTHING]


def test_a_crowd_is_neither_learnt_nor_background() -> None:
    truth = torch.tensor([[0.0, 0, 10, 10], [40, 40, 60, 60]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [41, 41, 60, 60], [80, 80, 90, 90]])
    found = match(truth, boxes, 0.5, 0.5, rescue=True, crowd=torch.tensor([False, True]))
    assert found.tolist() == [0, IGNORED, NOTHING]


def test_a_draw_keeps_its_shares_and_depends_on_the_seed_alone() -> None:
    found = torch.tensor([0, 1, -1, -1, -1, -2, 2, 0, -1, -1])
    yes, no = sample(found, noise(3, 10), 6, 0.5)
    assert len(yes) == 3 and len(no) == 3 and (found[yes] >= 0).all() and (found[no] == -1).all()
    again = sample(found, noise(torch.tensor(3), 10), 6, 0.5)
    assert torch.equal(yes, again[0]) and torch.equal(no, again[1])
    few = sample(torch.tensor([-1, 0]), noise(0, 2), 6, 0.5)
    assert len(few[0]) == len(few[1]) == 1
    many = noise(7, 100_000)
    assert many.min() >= 0 and many.max() < 1 and abs(float(many.mean()) - 0.5) < 0.005
    assert not torch.equal(noise(7, 100), noise(8, 100))


@pytest.mark.parametrize("rounding", ["none", "caffe"])
def test_proposals_are_whole_boxes_of_the_picture_best_first(rounding) -> None:
    rpn = RPN(8, 8, Anchors((8.0, 16.0), (0.5, 1.0), 8, rounding))
    x = torch.randn(1, 8, 6, 10)
    said = rpn(x)
    boxes = rpn.boxes(x[0])
    assert boxes.shape[0] == said.score.shape[1] == 6 * 10 * 4
    score, delta = torch.randn(240), torch.randn(240, 4) * 0.2
    kept = rpn.propose(score, delta, boxes, (48, 80), Limits(100, 20, 0.7, 4.0), resized=1.5)
    sides = kept[:, 2:] - kept[:, :2] + rpn.extra
    assert 0 < len(kept) <= 20 and sides.min() >= 6.0
    assert kept.min() >= 0 and (kept <= torch.tensor([80.0, 48, 80, 48]) - rpn.extra).all()
