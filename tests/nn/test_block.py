"""Layers written out by hand, and the stack of them."""

import pytest
import torch
import torch.nn.functional as F

from sensorium.nn.activation import ACTIVATIONS, activation
from sensorium.nn.attention import CrossAttention
from sensorium.nn.block import Block, Pre, Stack, layer_norm, post_layer, pre_layer
from sensorium.nn.sight import View
from sensorium.types import Layout, Tokens

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


def test_the_pre_norm_layer_is_equations_2_and_3_of_vit() -> None:
    layer = pre_layer(8, 2, activation("gelu"), 1e-6)
    attn, mlp = layer.attn, layer.mlp
    y = X + attn.f(F.layer_norm(X, (8,), attn.norm.weight, attn.norm.bias, 1e-6), View())
    z = y + mlp.f.down(F.gelu(mlp.f.up(F.layer_norm(y, (8,), eps=1e-6))))
    assert torch.allclose(layer(X, View()), z, atol=1e-6)


def test_the_post_norm_layer_normalises_each_sum() -> None:
    layer = post_layer(8, 2, activation("relu"), 1e-12)
    y = F.layer_norm(X + layer.attn.f(X, View()), (8,), eps=1e-12)
    z = F.layer_norm(y + layer.mlp.f.down(F.relu(layer.mlp.f.up(y))), (8,), eps=1e-12)
    assert torch.allclose(layer(X, View()), z, atol=1e-6)


def test_a_stack_is_its_blocks_in_turn_and_a_norm() -> None:
    stack = Stack(
        [pre_layer(8, 2, activation("gelu"), 1e-6) for _ in range(3)], layer_norm(8, 1e-6)
    )
    states = stack.states(Tokens(X))
    assert len(states) == 4 and torch.equal(states[0], X)
    for block, before, after in zip(stack.blocks, states, states[1:], strict=False):
        assert torch.equal(block(before, View()), after)
    assert torch.equal(stack(Tokens(X)).x, stack.norm(states[-1]))


def test_a_stack_hands_its_memory_to_cross_attention() -> None:
    block = Block(cross=Pre(CrossAttention(8, 2), layer_norm(8, 1e-6)))
    memory = torch.randn(2, 3, 8)
    got = Stack([block])(Tokens(X), Tokens(memory)).x
    assert torch.equal(got, block(X, View(memory=memory)))
    nothing = torch.zeros(2, 3, dtype=torch.long)
    with pytest.raises(ValueError, match="Layout on both sides"):
        Stack([block])(Tokens(X), Tokens(memory, Layout(*[nothing] * 4)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_their_formula(name: str) -> None:
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)
    cube = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    wanted = {
        "gelu": x * (1 + torch.erf(x / 2**0.5)) / 2,
        "gelu_tanh": x * (1 + torch.tanh(cube)) / 2,
        "quick_gelu": x / (1 + torch.exp(-1.702 * x)),
        "relu": x.clamp(min=0),
        "silu": x / (1 + torch.exp(-x)),
        "squared_relu": x.clamp(min=0) ** 2,
    }[name]
    assert torch.allclose(activation(name)(x), wanted, atol=1e-12)


def test_an_unknown_activation_is_refused_with_a_list() -> None:
    with pytest.raises(ValueError, match="gelu_tanh"):
        activation("geglu")
