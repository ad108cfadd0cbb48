"""Attention against loops over batch, heads and queries, for every way tokens see each other."""

import math

import pytest
import torch
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.nn.attention import CrossAttention, SelfAttention
from sensorium.nn.sight import Masked, View, attend, sees, sight
from sensorium.types import Layout, Ragged

B, N, D, H = 2, 6, 8, 2


def layout(seg: list[list[int]], rank: list[list[int]]) -> Layout:
    s, r = torch.tensor(seg), torch.tensor(rank)
    return Layout(s, r, torch.arange(N).expand(B, N), torch.zeros_like(s))


ZEROS, STEPS = [[0] * N] * B, [list(range(N))] * B
LAYOUTS = {
    "bidirectional": layout(ZEROS, ZEROS),
    "causal": layout(ZEROS, STEPS),
    # the first three (two) tokens see each other, those behind them see the past
    "prefix": layout(ZEROS, [[0, 0, 0, 1, 2, 3], [0, 0, 1, 2, 3, 4]]),
    # two documents in a row
    "packed": layout([[1, 1, 1, 2, 2, 2], [1, 2, 2, 2, 2, 2]], STEPS),
    # padding is a segment of its own
    "padded": layout([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]], ZEROS),
}


def visible(at: Layout, b: int, i: int, j: int) -> bool:
    return bool(at.seg[b, i] == at.seg[b, j] and at.rank[b, j] <= at.rank[b, i])


def naive(q: Tensor, k: Tensor, v: Tensor, heads: int, sees) -> Tensor:
    """Softmax attention, one query of one head at a time."""
    out = torch.zeros_like(q)
    width = q.shape[2] // heads
    for b in range(q.shape[0]):
        for h in range(heads):
            own = slice(h * width, (h + 1) * width)
            for i in range(q.shape[1]):
                keys = [j for j in range(k.shape[1]) if sees(b, i, j)]
                logits = torch.stack([q[b, i, own] @ k[b, j, own] for j in keys])
                shares = (logits / math.sqrt(width)).softmax(0)
                out[b, i, own] = sum(w * v[b, j, own] for w, j in zip(shares, keys, strict=True))
    return out


def projections(attention: SelfAttention, x: Tensor) -> tuple[Tensor, ...]:
    weight, bias = attention.qkv.weight, attention.qkv.bias
    return tuple(x @ weight[i * D : (i + 1) * D].T + bias[i * D : (i + 1) * D] for i in range(3))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_means_what_its_loop_says(name: str) -> None:
    at = LAYOUTS[name]
    mask = sees(at, at)
    for b in range(B):
        for i in range(N):
            for j in range(N):
                assert mask[b, 0, i, j] == visible(at, b, i, j)


@pytest.mark.parametrize("name", ["none", *LAYOUTS])
def test_self_attention_equals_the_loop(name: str) -> None:
    attention = SelfAttention(D, H).double()
    x = torch.randn(B, N, D, dtype=torch.float64)
    at = LAYOUTS.get(name)
    wanted = naive(
        *projections(attention, x), H, lambda b, i, j: at is None or visible(at, b, i, j)
    )
    got = attention(x, View(see=sight(at)))
    assert torch.allclose(got, attention.out(wanted), atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_ragged_texts_are_attended_text_by_text(causal: bool) -> None:
    """Each text alone, by the loop; tokens that only fill up change nothing."""
    attention = SelfAttention(D, H).double()
    lengths = [3, 1, 6]
    texts = [torch.randn(1, n, D, dtype=torch.float64) for n in lengths]
    wanted = [
        attention.out(naive(*projections(attention, x), H, lambda b, i, j: j <= i or not causal))
        for x in texts
    ]
    for rounding in (1, 8):
        ids = lay([[7] * n for n in lengths], round_tokens=rounding, round_length=rounding)
        spare = torch.full((1, len(ids.ids) - sum(lengths), D), 1e3, dtype=torch.float64)
        at = Ragged(ids.rows, ids.back, ids.lengths, causal)
        got = attention(torch.cat([*texts, spare], dim=1), View(see=sight(at)))
        assert torch.allclose(got[:, : sum(lengths)], torch.cat(wanted, dim=1), atol=1e-12)
        assert got.isfinite().all()


def test_cross_attention_equals_the_loop() -> None:
    attention = CrossAttention(D, H, memory_width=5).double()
    x = torch.randn(B, 3, D, dtype=torch.float64)
    memory = torch.randn(B, 4, 5, dtype=torch.float64)
    k, v = attention.kv(memory).chunk(2, dim=-1)
    wanted = naive(attention.q(x), k, v, H, lambda b, i, j: True)
    assert torch.allclose(attention(x, View(memory=memory)), attention.out(wanted), atol=1e-12)


def test_a_query_that_sees_nothing_gives_zero_and_clean_gradients() -> None:
    q, k, v = (torch.randn(1, 3, H, 4, requires_grad=True) for _ in range(3))
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    mask[:, :, 1] = False
    out = attend(q, k, v, Masked(mask))
    assert torch.equal(out[:, 1], torch.zeros(1, 8)) and out.isfinite().all()
    out.square().sum().backward()
    for x in (q, k, v):
        assert x.grad is not None and x.grad.isfinite().all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be shared by 3 heads"):
        SelfAttention(8, 3)
    with pytest.raises(ValueError, match="cannot be shared by 3 heads"):
        CrossAttention(8, 3)
    with pytest.raises(ValueError, match="no memory"):
        CrossAttention(8, 2)(torch.zeros(1, 2, 8), View())
