"""Masked words: what is hidden, by each system's rule, and the loss beside a loop over words."""

import pytest
import torch

from sensorium.data.ragged import lay
from sensorium.objectives import masked_words
from sensorium.objectives.masked_words import MaskedWords, Rule, hide_words
from sensorium.objectives.passes import Case, OnePass
from sensorium.types import Joint
from tests.objectives.posed import WORDS, case, one_by_one, states, uniter


def many(length: int = 12, rows: int = 400):
    """Texts of [CLS], words (every third goes on the one before) and [SEP]."""
    words = [700 if j % 3 == 2 else 5 + 7 * j for j in range(length - 2)]
    return lay([[2, *words, 3]] * rows, round_tokens=7)


def drawn(rule: Rule, text=None, where=None):
    text = many() if text is None else text
    hidden, asked = hide_words(text, WORDS, rule, torch.Generator().manual_seed(1), where)
    assert torch.equal(text.ids[asked.place], asked.label)
    rest = torch.ones(len(text.ids), dtype=torch.bool)
    rest[asked.place] = False
    assert torch.equal(hidden.ids[rest], text.ids[rest])
    assert not torch.isin(asked.label, torch.tensor(WORDS.never)).any()
    return text, hidden.ids[asked.place], asked


def test_15_per_cent_are_chosen_of_which_80_10_10_are_masked_random_and_kept() -> None:
    text, now, asked = drawn(masked_words.VISUALBERT)
    assert len(asked.place) / 4000 == pytest.approx(0.15, abs=0.02)
    assert (now == WORDS.mask).float().mean() == pytest.approx(0.8, abs=0.05)
    assert (now == asked.label).float().mean() == pytest.approx(0.1, abs=0.04)
    other = now[(now != WORDS.mask) & (now != asked.label)]
    assert WORDS.first <= int(other.min()) and int(other.max()) < WORDS.last
    assert len(other.unique()) > len(other) * 0.8
    assert int(asked.place.max()) < int(text.lengths.sum())


def test_uniter_hides_the_first_word_where_nothing_was_drawn() -> None:
    text = lay([[2, 9, 8, 3], [2, 7, 3], [2, 3]] * 100)
    _, hidden = text, hide_words(text, WORDS, masked_words.UNITER, torch.Generator().manual_seed(0))
    rows = torch.arange(300).repeat_interleave(text.lengths)[hidden[1].place]
    count = torch.bincount(rows, minlength=300).view(100, 3)
    assert (count[:, :2] >= 1).all() and (count[:, 2] == 0).all()
    ones = text.pos[hidden[1].place]
    assert (ones[rows % 3 == 1] == 1).all()  # a text of one word: always that one
    assert (hidden[0].ids[hidden[1].place] == WORDS.mask).float().mean() > 0.85


def test_of_whole_words_all_pieces_are_hidden_or_none() -> None:
    for rule in (Rule(whole=True), masked_words.VILT):
        text, _, asked = drawn(rule)
        chosen = torch.zeros(int(text.lengths.sum()), dtype=torch.bool)
        chosen[asked.place] = True
        chosen = chosen.view(400, 12)[:, 1:-1]
        goes_on = torch.arange(10) % 3 == 2
        assert torch.equal(chosen[:, goes_on], chosen[:, goes_on.roll(-1)])
        assert 0.1 < chosen.float().mean() < 0.2


def test_vilt_takes_a_share_of_the_padded_text() -> None:
    """40 tokens with padding: 6 of them, of which those that are words are hidden."""
    _, _, asked = drawn(masked_words.VILT, many(length=40, rows=50))
    rows = torch.bincount(asked.place // 40, minlength=50)
    assert (rows <= 6).all() and (rows >= 5).all()
    _, _, asked = drawn(masked_words.VILT, many(length=4, rows=400))
    rows = torch.bincount(asked.place // 4, minlength=400)
    assert rows.float().mean() == pytest.approx(2 * 6 / 38, rel=0.2)


def test_words_of_wrong_pairs_or_of_other_segments_are_left_alone() -> None:
    text = lay([[2, 9, 8, 3, 7, 3]] * 60, kinds=[[0, 0, 0, 0, 1, 1]] * 60)
    right = torch.arange(60) % 2 == 0
    _, _, asked = drawn(masked_words.VILBERT_MULTI_TASK._replace(share=0.9), text, right)
    assert ((asked.place // 6) % 2 == 0).all() and len(asked.place) > 60
    _, _, asked = drawn(Rule(share=0.9, kind=1), text)
    assert (asked.place % 6 == 4).all()


def test_the_loss_is_that_of_a_loop_over_pairs_and_words() -> None:
    net, batch = uniter(), case()
    objective = OnePass(MaskedWords(WORDS, Rule(share=0.5)))
    question = objective.pose(net, batch, torch.Generator().manual_seed(2))
    found = objective.mark(objective.encode(net, question), question)["mlm"]
    hidden = question.asked[0]
    every = states(one_by_one(net, question.of), "text")
    wanted = torch.zeros((), dtype=torch.float64)
    for place, label in zip(hidden.place.tolist(), hidden.label.tolist(), strict=True):
        wanted -= net.heads["mlm"](every[place]).log_softmax(0)[label]  # type: ignore[index]
    torch.testing.assert_close(found, wanted)
    assert objective.count(question) == {"mlm": len(hidden.place)} and len(hidden.place) > 5


def test_with_nothing_hidden_the_loss_is_zero_and_so_is_its_gradient() -> None:
    net, objective = uniter(), OnePass(MaskedWords(WORDS))
    only_ends = Case(Joint(case(2).of.image, lay([[2, 3], [2, 3]])))
    question = objective.pose(net, only_ends, torch.Generator())
    loss = objective.mark(objective.encode(net, question), question)["mlm"]
    loss.backward()
    assert loss.item() == 0 and objective.count(question) == {"mlm": 0}
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())


def test_a_net_without_the_head_says_which_it_has() -> None:
    net, objective = uniter(), OnePass(MaskedWords(WORDS, name="words"))
    question = objective.pose(net, case(), torch.Generator())
    with pytest.raises(ValueError, match=r"no head 'words' \(it has: mlm, itm"):
        objective.encode(net, question)
