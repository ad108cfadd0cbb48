"""The shares of attention that are shown are those that the layer uses."""

import pytest
import torch

from sensorium.nn.activation import activation
from sensorium.nn.attention import SelfAttention
from sensorium.nn.block import MLP, Block, Post, Stack, layer_norm, post_layer, pre_layer
from sensorium.nn.look import shares
from sensorium.types import Ragged, Tokens
from tests.nn.together import tokens

D = 8


@pytest.mark.parametrize("layer", [post_layer, pre_layer])
@pytest.mark.parametrize("lengths", [[3, 5], [4, 4]])
def test_shares_times_values_are_what_attention_gives(layer, lengths: list[int]) -> None:
    stack = Stack([layer(D, 2, activation("gelu"), 1e-12) for _ in range(2)])
    laid = tokens("a", lengths, D)
    assert isinstance(laid.at, Ragged)
    for number, share in enumerate(shares(stack, laid)):
        branch = next(stack.blocks[number].children())
        attention: SelfAttention = branch.f  # type: ignore[assignment]
        x = stack.states(laid)[number]
        read = branch.norm(x) if layer is pre_layer else x  # type: ignore[operator]
        v = attention.qkv(read)[0, :, 2 * D :].unflatten(1, (2, -1))[laid.at.rows]
        slow = torch.einsum("bhqk,bkhw->bqhw", share, v).flatten(2)
        wanted = attention.out(slow.flatten(0, 1)[laid.at.back])[None]
        got = attention(read, Stack.view(laid, None))
        assert float((got - wanted).detach().abs().max()) <= 1e-6
        assert torch.allclose(share.sum(-1), torch.ones(share.shape[:3]))
        for one, n in zip(share, lengths, strict=True):
            assert float(one[:, :, n:].sum()) == 0


def test_a_layer_without_attention_first_is_refused() -> None:
    mlp = MLP(D, 8, activation("gelu"))
    odd = Stack([Block(mlp=Post(mlp, layer_norm(D, 1e-12)))])
    with pytest.raises(ValueError, match="self-attention"):
        shares(odd, Tokens(torch.randn(1, 2, D)))
