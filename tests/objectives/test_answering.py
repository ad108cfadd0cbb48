"""Questions answered: the drawn answers of pre-training, and each loss of fine-tuning, by loops."""

import math

import pytest
import torch
from torch import nn

from sensorium.objectives import answering, matching
from sensorium.objectives.answering import Answering, Asking, Located
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass
from sensorium.types import Answered, Choices, Scored
from tests.objectives.posed import case, one_by_one, uniter

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], dtype=torch.float64)


def logs(row: torch.Tensor) -> torch.Tensor:
    return row - math.log(sum(math.exp(x) for x in row.tolist()))


def test_answers_are_drawn_in_proportion_and_only_of_questions() -> None:
    batch, part = case(answers=4), Answering()
    assert batch.score is not None
    seen = torch.zeros(6, 4)
    for seed in range(500):
        _, asked = part.hide(batch, torch.Generator().manual_seed(seed))
        seen[asked.row, asked.label] += 1
    questions = batch.score.sum(1) > 0
    assert not seen[~questions].any() and (seen.sum(1)[questions] == 500).all()
    shares = batch.score / batch.score.sum(1, keepdim=True)
    assert (seen / 500 - shares)[questions].abs().max() < 0.08


def test_beside_matching_wrong_pairs_are_not_asked_and_the_loss_is_that_of_a_loop() -> None:
    net, batch = uniter(), case(answers=4)
    net.heads["qa"] = nn.Linear(64, 4).double()
    objective = OnePass(Matching(matching.LXMERT), Answering())
    question = objective.pose(net, batch, torch.Generator().manual_seed(1))
    label, asked = question.asked[0].label, question.asked[1]
    assert (label[asked.row] == 1).all() and 3 not in asked.row and 0 < len(asked.row) < 5
    with torch.no_grad():
        found = objective.mark(objective.encode(net, question), question)["qa"]
        said = one_by_one(net, question.of)
        pairs = zip(asked.row.tolist(), asked.label.tolist(), strict=True)
        wanted = -sum(logs(net.heads["qa"](said[i].pooled)[0])[y] for i, y in pairs)
    torch.testing.assert_close(found, torch.as_tensor(wanted))
    with pytest.raises(ValueError, match="no answers"):
        Answering().hide(case(), torch.Generator())


def test_each_loss_is_its_definition() -> None:
    label = torch.tensor([2, 1])
    wanted = -(logs(LOGITS[0])[2] + logs(LOGITS[1])[1])
    torch.testing.assert_close(answering.one_of(LOGITS, label), wanted)
    score = torch.tensor([[0.3, 0.0, 1.0], [0.0, 0.6, 0.9]])
    bce = kl = 0.0
    for x, s in zip(LOGITS.flatten().tolist(), score.double().flatten().tolist(), strict=True):
        bce += -s * math.log(1 / (1 + math.exp(-x))) - (1 - s) * math.log(1 / (1 + math.exp(x)))
    for row, own in zip(LOGITS, score.double(), strict=True):
        kl += sum(float(s * (s.log() - q)) for s, q in zip(own, logs(row), strict=True) if s > 0)
    assert float(answering.soft_bce(LOGITS, score)) == pytest.approx(bce)
    assert float(answering.soft_kl(LOGITS, score)) == pytest.approx(kl)
    flat = LOGITS.view(6, 1)
    torch.testing.assert_close(answering.choice(flat, label), wanted)
    two = torch.stack([torch.zeros(6).double(), flat[:, 0]], dim=1)
    truth = [0, 0, 1, 0, 1, 0]
    each = [-logs(row)[y] for row, y in zip(two, truth, strict=True)]
    assert float(answering.true_choice(two, label)) == pytest.approx(float(sum(each)) / 3)
    s = [1 / (1 + math.exp(-x)) for x in flat[:, 0].tolist()]
    over = [max(0, 0.2 + s[i] - s[j]) for i, j in ((0, 2), (1, 2), (3, 4), (5, 4))]
    assert float(answering.best_first(0.2)(flat, label)) == pytest.approx(sum(over) / 2)


def test_every_head_is_asked_with_its_batch() -> None:
    net, of = uniter(), case(none=None).of
    b = len(of.text.lengths)
    regions = of.image.rows.shape[1]  # type: ignore[union-attr]
    cases = (
        ("vqa", answering.soft_bce, Scored(of, torch.rand(b, 12)), b),
        ("vqa", answering.one_of, Answered(of, torch.arange(b)), b),
        ("ground", answering.one_of, Answered(of, torch.zeros(b).long()), b),
        ("ground", answering.soft_bce, Located(of, torch.zeros(b, regions)), b),
        ("rank", answering.choice, Choices(of, torch.tensor([0, 2])), 2),
        ("rank", answering.best_first(), Choices(of, torch.tensor([0, 2])), 2),
        ("vcr", answering.true_choice, Choices(of, torch.tensor([1, 0])), 2),
    )
    for name, loss, batch, count in cases:
        objective = Asking(name, loss)
        question = objective.pose(net, batch, torch.Generator())
        found = objective.mark(objective.encode(net, question), question)
        assert objective.count(question) == {name: count}
        assert found[name].isfinite() and found[name] > 0
    with pytest.raises(ValueError, match="Joint holds no answers"):
        Asking("vqa", answering.one_of).count(of)
