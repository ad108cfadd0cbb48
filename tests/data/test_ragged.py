"""Texts laid end to end: each function beside a twin of plain lists."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from sensorium.data.errors import DataError
from sensorium.data.ragged import cat, lay, padded, ragged, take, unlay

TEXTS = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=7)
STEPS = st.none() | st.integers(1, 12)


def same(a, b):
    pairs = zip(a[:5], b[:5], strict=True)
    assert all(x.dtype == y.dtype == torch.int64 and x.equal(y) for x, y in pairs)


def test_what_lies_where():
    got = lay([[7, 8, 9], [5]])
    assert got.ids.tolist() == [7, 8, 9, 5]
    assert got.pos.tolist() == [0, 1, 2, 0]
    assert got.rows.tolist() == [[0, 1, 2], [3, 3, 3]]
    assert got.back.tolist() == [0, 1, 2, 3]
    assert got.lengths.tolist() == [3, 1]


@given(TEXTS)
def test_lay_equals_its_naive_twin(texts):
    got, n = lay(texts), max(map(len, texts))
    ids, pos, rows, back = [], [], [], []
    for b, text in enumerate(texts):
        start = len(ids)
        rows.append([start + min(i, len(text) - 1) for i in range(n)])
        for i, token in enumerate(text):
            ids.append(token)
            pos.append(i)
            back.append(b * n + i)
    assert [x.tolist() for x in got[:5]] == [ids, pos, rows, back, [len(t) for t in texts]]
    assert unlay(got) == texts
    assert got.rows.flatten()[got.back].tolist() == list(range(len(ids)))


@given(TEXTS, STEPS, STEPS, st.none() | st.integers(9, 14))
def test_rounding_changes_sizes_and_nothing_else(texts, tokens, length, longest):
    plain = lay(texts)
    got = lay(texts, round_tokens=tokens, round_length=length, longest=longest)
    real, (b, n) = len(plain.ids), got.rows.shape
    assert len(got.ids) % (tokens or 1) == 0 and len(got.ids) - real < (tokens or 1)
    assert n % (length or 1) == 0 or n == longest
    assert len(got.ids) == len(got.pos) == len(got.back)
    assert unlay(got) == texts and got.lengths.equal(plain.lengths)
    assert got.pos[:real].equal(plain.pos)
    # the extra tokens: seen by no row, reading the last place
    assert got.rows.max() < real
    assert (got.ids[real:] == 0).all() and (got.pos[real:] == 0).all()
    assert (got.back[real:] == b * n - 1).all()
    # rows still say the same, and back still undoes them
    w = plain.rows.shape[1]
    assert got.rows[:, :w].equal(plain.rows)
    assert got.rows[:, w:].equal(plain.rows[:, -1:].expand(b, n - w))
    assert got.rows.flatten()[got.back[:real]].tolist() == list(range(real))


def test_no_gradient_comes_from_tokens_that_belong_to_no_text():
    got = lay([[1, 2, 3], [4, 5, 6]], round_tokens=8)
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    spread = x[got.rows].cumsum(1)  # stands for causal attention
    out = spread.flatten(0, 1)[got.back]
    out[got.rows[:, -1]].sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 1.0]] * 6 + [[0.0, 0.0]] * 2


@given(TEXTS, STEPS, st.integers(0, 3))
def test_padded_and_back(texts, tokens, more):
    length = max(map(len, texts)) + more
    laid = lay(texts, round_tokens=tokens)
    got = padded(laid, pad=-1, length=length)
    assert got.tolist() == [t + [-1] * (length - len(t)) for t in texts]
    same(ragged(got, laid.lengths), lay(texts))
    same(ragged(got.int(), laid.lengths.int()), lay(texts))
    assert padded(laid, 0).shape[1] == max(map(len, texts))


@given(st.lists(st.tuples(TEXTS, STEPS), min_size=1, max_size=4))
def test_cat(parts):
    got = cat(lay(texts, round_tokens=step, round_length=step) for texts, step in parts)
    same(got, lay([text for texts, _ in parts for text in texts]))


@settings(max_examples=50)
@given(TEXTS, STEPS, st.data())
def test_take(texts, step, data):
    index = data.draw(st.lists(st.integers(0, len(texts) - 1), min_size=1, max_size=9))
    got = take(lay(texts, round_tokens=step, round_length=step), torch.tensor(index))
    same(got, lay([texts[i] for i in index]))


@pytest.mark.parametrize(
    "ask, says",
    [
        (lambda: lay([]), "no texts"),
        (lambda: lay([[1], []]), "text 1 has no ids"),
        (lambda: lay([[1], [1, 2, 3]], longest=2), "text 1 has 3 tokens, the limit is 2"),
        (lambda: lay([[1]], round_tokens=0), "round_tokens is 0"),
        (lambda: padded(lay([[1], [1, 2]]), 0, 1), "text 1 has 2 tokens"),
        (lambda: cat([]), "no batches"),
        (lambda: take(lay([[1]]), torch.tensor([1])), "texts 0 to 0"),
        (lambda: take(lay([[1]]), torch.tensor([-1])), "texts 0 to 0"),
        (lambda: take(lay([[1]]), torch.tensor([], dtype=torch.int64)), "at least one"),
        (lambda: ragged(torch.zeros(2, 3).long(), torch.tensor([1, 4])), "row 1 .* 4 tokens"),
        (lambda: ragged(torch.zeros(2, 3).long(), torch.tensor([1, 0])), "text 1 has no ids"),
    ],
)
def test_refusals_say_which_text(ask, says):
    with pytest.raises(DataError, match=says):
        ask()


def test_rows_and_lengths_must_agree():
    with pytest.raises((DataError, TypeCheckError)):  # the second where signatures are checked
        ragged(torch.zeros(2, 3).long(), torch.tensor([1]))
