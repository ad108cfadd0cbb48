"""Matching: what is replaced by what, by each convention, and the loss beside a loop."""

import pytest
import torch

from sensorium.data.ragged import lay, unlay
from sensorium.data.regions import unlay_regions
from sensorium.objectives import matching
from sensorium.objectives.matching import Convention, Matching, chance_of_match, partners
from sensorium.objectives.passes import Case, OnePass
from sensorium.types import Joint
from tests.objectives.posed import case, one_by_one, uniter


def hidden(convention: Convention, batch: Case, seed: int = 0):
    part = Matching(convention)
    return part.hide(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("convention", [matching.UNITER, matching.LXMERT, matching.VILBERT])
def test_wrong_pairs_are_made_of_what_belongs_to_another_text(convention: Convention) -> None:
    batch = case()
    texts, pictures = unlay(batch.of.text), unlay_regions(batch.of.image)  # type: ignore[arg-type]
    wrongs = 0
    for seed in range(20):
        now, asked = hidden(convention, batch, seed)
        new_texts, new_pictures = unlay(now.of.text), unlay_regions(now.of.image)  # type: ignore[arg-type]
        probs = now.said.probs.split(now.of.image.lengths.tolist())  # type: ignore[union-attr]
        old = batch.said.probs.split(batch.of.image.lengths.tolist())  # type: ignore[union-attr]
        for i in range(6):
            source = [
                j
                for j in range(6)
                if new_texts[i] == texts[j]
                and torch.equal(new_pictures[i].features, pictures[j].features)
            ]
            right = asked.label[i] == convention.match
            assert right == bool(now.pairs()[i]) == (i in source)
            if convention.replaced == "picture":
                assert new_texts[i] == texts[i]
                j = next(j for j in range(6) if torch.equal(probs[i], old[j]))  # moved along
                assert torch.equal(new_pictures[i].features, pictures[j].features)
                assert right or texts[j] != texts[i]
            else:
                assert torch.equal(new_pictures[i].features, pictures[i].features)
                assert right or new_texts[i] != texts[i]
            wrongs += not right
    assert 40 < wrongs < 80  # of 120


def test_every_other_sample_is_as_likely() -> None:
    text = lay([[i + 1] for i in range(5)])
    seen = torch.zeros(5, 5)
    for seed in range(600):
        wrong, other = partners(text, "chance", torch.Generator().manual_seed(seed))
        assert torch.equal(wrong, other != torch.arange(5))
        seen[torch.arange(5), other] += 1
    shares = seen / 600
    assert (shares.diagonal() - 0.5).abs().max() < 0.08
    assert (shares.masked_select(~torch.eye(5).bool()) - 0.125).abs().max() < 0.06


def test_vilt_makes_exactly_half_of_the_batch_wrong() -> None:
    for b in (2, 5, 8):
        text = lay([[i + 1] for i in range(b)])
        wrong, _ = partners(text, "half", torch.Generator().manual_seed(b))
        assert int(wrong.sum()) == b - b // 2


def test_without_another_text_every_pair_stays_right() -> None:
    wrong, other = partners(lay([[5, 6]] * 4), "half", torch.Generator())
    assert not wrong.any() and other.tolist() == [0, 1, 2, 3]


def test_visualbert_replaces_the_second_caption_alone() -> None:
    texts = [[2, 10 + i, 3, *range(20 * i + 30, 20 * i + 31 + i), 3] for i in range(5)]
    kinds = [[0, 0, 0] + [1] * (2 + i) for i in range(5)]
    batch = Case(Joint(torch.zeros(5, 3, 2, 2), lay(texts, kinds=kinds)))
    for seed in range(5):
        now, asked = hidden(matching.VISUALBERT, batch, seed)
        for i, text in enumerate(unlay(now.of.text)):
            second = [t[3:] for t in texts].index(text[3:])
            assert text[:3] == texts[i][:3] and (second == i) == bool(asked.label[i] == 1)
    assert now.of.text.kind is not None and len(now.of.text.kind) == int(now.of.text.lengths.sum())
    cut, _ = hidden(Convention("second", 1, "half", longest=6), batch, 1)
    assert int(cut.of.text.lengths.max()) == 6 and all(t[-1] == 3 for t in unlay(cut.of.text))
    with pytest.raises(ValueError, match="one segment"):
        hidden(matching.VISUALBERT, case())


def test_links_of_wrong_pairs_are_cut() -> None:
    batch = case()
    image = batch.of.image
    words = torch.zeros(len(image.features), 1, dtype=torch.long)  # type: ignore[union-attr]
    batch = batch._replace(of=batch.of._replace(image=image._replace(words=words)))  # type: ignore[union-attr]
    now, asked = hidden(matching.LXMERT, batch)
    for i, regions in enumerate(unlay_regions(now.of.image)):  # type: ignore[arg-type]
        assert regions.words is not None
        assert (regions.words == (0 if asked.label[i] == 1 else -1)).all()


def test_the_loss_is_that_of_a_loop_over_pairs() -> None:
    net, batch, objective = uniter(), case(), OnePass(Matching(matching.UNITER))
    question = objective.pose(net, batch, torch.Generator().manual_seed(3))
    answers = objective.encode(net, question)
    found = objective.mark(answers, question)["itm"]
    wanted = torch.zeros((), dtype=torch.float64)
    for said, label in zip(one_by_one(net, question.of), question.asked[0].label, strict=True):
        wanted -= net.heads["itm"](said.pooled)[0].log_softmax(0)[label]  # type: ignore[index]
    torch.testing.assert_close(found, wanted)
    assert objective.count(question) == {"itm": 6}


def test_whichever_number_means_yes_it_is_told_in_one_place() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    yes = chance_of_match(logits, matching.VILBERT)
    torch.testing.assert_close(yes, 1 - chance_of_match(logits, matching.UNITER))
    assert float(yes) > 0.8
