"""Masked regions: what is hidden, and each loss beside a loop over regions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sensorium.data.regions import Looked, lay_regions
from sensorium.objectives import masked_regions
from sensorium.objectives.lxmert_objects import Named, SmoothFeature
from sensorium.objectives.masked_regions import (
    Class,
    Classes,
    Feature,
    MaskedRegions,
    Rule,
    hide_regions,
)
from sensorium.objectives.passes import Case, OnePass
from sensorium.types import Joint
from tests.objectives.posed import CLASSES, FEATURE, case, one_by_one, states, uniter


def many(rows: int = 500, regions: int = 4):
    seen = [Looked(torch.rand(regions, 3) + 1, torch.rand(regions, 4)) for _ in range(rows)]
    return lay_regions(seen)


def drawn(rule: Rule, regions, where=None):
    now, place = hide_regions(regions, rule, torch.Generator().manual_seed(0), where)
    zero = (now.features == 0).all(1)
    same = (now.features == regions.features).all(1)
    assert torch.equal(now.masked.bool(), zero) and torch.equal(now.boxes, regions.boxes)
    hidden = torch.zeros(len(zero), dtype=torch.bool)
    hidden[place] = True
    assert same[~hidden].all()
    return hidden, zero, same


def test_uniter_zeroes_at_least_one_region_of_every_picture() -> None:
    hidden, zero, _ = drawn(masked_regions.UNITER, many())
    assert torch.equal(hidden, zero) and hidden.view(500, 4).any(1).all()
    share = 0.15 + (1 - 0.15) ** 4 / 4  # those chosen by chance, and one where there was none
    assert hidden.float().mean() == pytest.approx(share, abs=0.02)


def test_a_picture_without_regions_hides_nothing() -> None:
    some = [torch.rand(n, 3) + 1 for n in (0, 2, 0, 1, 0)]
    regions = lay_regions([Looked(f, torch.rand(len(f), 4)) for f in some])
    hidden, _, _ = drawn(masked_regions.UNITER, regions)
    assert hidden[:2].any() and hidden[2]
    none = lay_regions([Looked(torch.zeros(0, 3), torch.zeros(0, 4))] * 2)
    now, place = hide_regions(none, masked_regions.UNITER, torch.Generator())
    assert len(place) == 0 and len(now.features) == 1


def test_vilbert_keeps_a_tenth_and_lxmert_swaps_another() -> None:
    hidden, zero, same = drawn(masked_regions.VILBERT, many(2000))
    assert hidden.float().mean() == pytest.approx(0.15, abs=0.01)
    assert (
        zero[hidden].float().mean() == pytest.approx(0.9, abs=0.02) and same[hidden & ~zero].all()
    )
    hidden, zero, same = drawn(masked_regions.LXMERT, many(2000))
    assert zero[hidden].float().mean() == pytest.approx(0.8, abs=0.04)
    assert same[hidden].float().mean() == pytest.approx(0.1, abs=0.03)
    right = torch.arange(2000) % 2 == 0
    hidden, _, _ = drawn(masked_regions.VILBERT_MULTI_TASK, many(2000), right)
    assert not hidden.view(2000, 4)[~right].any() and hidden.any()


def asked(loss, rule=masked_regions.UNITER):
    net, objective = uniter(), OnePass(MaskedRegions(rule, loss))
    net.heads["feat"] = nn.Linear(64, FEATURE).double()  # type: ignore[index]
    net.heads["obj"] = nn.Linear(64, CLASSES).double()  # type: ignore[index]
    net.heads["attr"] = nn.Linear(64, 5).double()  # type: ignore[index]
    question = objective.pose(net, case(), torch.Generator().manual_seed(4))
    with torch.no_grad():
        found = objective.mark(objective.encode(net, question), question)
        every = states(one_by_one(net, question.of), "image")
    (total,), (count,) = found.values(), objective.count(question).values()
    return net.requires_grad_(False), question, float(total) / count, every


def test_features_and_classes_beside_loops() -> None:
    before, probs = case().of.image.features, case().said.probs  # type: ignore[union-attr]
    net, question, found, every = asked(Feature())
    place = question.asked[0].place.tolist()
    wanted = [(net.heads["mrfr"](every[i]) - before[i]).square().mean() for i in place]
    assert found == pytest.approx(float(sum(wanted)) / len(place), rel=1e-9)

    def logs(net, i):
        return net.heads["mrc"](every[i]).log_softmax(0)

    net, _, found, _ = asked(Class())
    wanted = [-logs(net, i)[1 + int(probs[i, 1:].argmax())] for i in place]
    assert found == pytest.approx(float(sum(wanted)) / len(place), rel=1e-9)
    for mean, entries in (("regions", 1), ("classes", CLASSES)):
        net, _, found, _ = asked(Classes(mean))  # type: ignore[arg-type]
        wanted = [(probs[i] * (probs[i].log() - logs(net, i))).sum() for i in place]
        assert found == pytest.approx(float(sum(wanted)) / len(place) / entries, rel=1e-9)


def test_lxmert_asks_every_object_its_name_and_hidden_ones_their_feature() -> None:
    batch = case()
    before, said = batch.of.image.features, batch.said  # type: ignore[union-attr]
    assert said is not None
    total = len(said.label)
    net, question, found, every = asked(SmoothFeature(), masked_regions.LXMERT)
    hidden = question.asked[0].place.tolist()
    assert 0 < len(hidden) < total
    wanted = 0.0
    for i in hidden:
        error = (net.heads["feat"](every[i]) - before[i]).abs()
        wanted += float(torch.where(error < 1, error**2 / 2, error - 0.5).mean())
    assert found == pytest.approx(wanted / total / 0.15, rel=1e-9)
    labels = {"obj": (said.label, said.score), "attr": (said.attribute, said.attribute_score)}
    for name, (label, sure) in labels.items():
        net, _, found, every = asked(Named(name), masked_regions.LXMERT)  # type: ignore[arg-type]
        wanted = 0.0
        for i in range(total):
            if label[i] >= 0:
                wanted += float(F.cross_entropy(net.heads[name](every[i]), label[i]) * sure[i])
        assert found == pytest.approx(wanted / total / 0.15, rel=1e-9)


def test_what_cannot_be_asked_is_refused() -> None:
    part = MaskedRegions(masked_regions.UNITER, Class())
    pixels = Case(case().of._replace(image=torch.zeros(6, 3, 4, 4)))
    with pytest.raises(ValueError, match="only regions can be hidden"):
        part.hide(pixels, torch.Generator())
    net, objective = uniter(), OnePass(part)
    for batch, why in ((Case(case().of), "does not say"), (fewer(case()), "21 classes .* 20")):
        question = objective.pose(net, batch, torch.Generator())
        with pytest.raises(ValueError, match=why):
            objective.mark(objective.encode(net, question), question)
    twice = OnePass(MaskedRegions(masked_regions.UNITER, Class(), Classes("regions")))
    with pytest.raises(ValueError, match="the loss mrc"):
        twice.count(twice.pose(net, case(), torch.Generator()))


def fewer(batch: Case) -> Case:
    assert batch.said is not None
    return batch._replace(said=batch.said._replace(probs=batch.said.probs[:, 1:]))


def test_a_batch_of_no_regions_at_all_has_losses_of_zero() -> None:
    net, joint = uniter(), case(2).of
    none = lay_regions([Looked(torch.zeros(0, FEATURE).double(), torch.zeros(0, 4).double())] * 2)
    objective = OnePass(MaskedRegions(masked_regions.UNITER, Feature()))
    question = objective.pose(net, Joint(none, joint.text), torch.Generator())
    loss = objective.mark(objective.encode(net, question), question)["mrfr"]
    assert loss.item() == 0 and loss.requires_grad
