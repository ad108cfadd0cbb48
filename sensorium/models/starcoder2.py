"""StarCoder2: rotary positions, few heads of keys and values, and a sliding window.

Lozhkov et al. 2024, "StarCoder 2 and The Stack v2: The Next Generation" (arXiv 2402.19173).
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import started
from sensorium.nn.activation import activation
from sensorium.nn.block import layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import Before, FeedForward, Layer, LayerStack
from sensorium.nn.rope import Rope


class Size(NamedTuple):
    """`groups` heads of keys and values; the MLP is `hidden` wide."""

    width: int
    layers: int
    heads: int
    groups: int
    hidden: int


def starcoder2(
    size: Size,
    vocab: int,
    length: int,
    theta: float,
    window: int | None = 4096,
    tied: bool = True,
    eps: float = 1e-5,
) -> Decoder:
    """A StarCoder2.

    Args:
        length: the context it was trained on, in tokens.
        theta: base of the rotation.
        window: how many tokens a query sees, itself included; None: all.
        tied: whether words are scored by their own vectors.
    """
    s, d = size, size.width
    heads = Heads(s.heads, s.groups, d // s.heads)

    def layer() -> Layer:
        attention = GroupedAttention(d, heads, bias=(True, True), window=window)
        mlp = FeedForward(d, s.hidden, activation("gelu_tanh"), bias=True)
        return Layer(
            attn=Before(attention, layer_norm(d, eps)), mlp=Before(mlp, layer_norm(d, eps))
        )

    stack = LayerStack(
        [layer() for _ in range(s.layers)],
        norm=layer_norm(d, eps),
        rope=Rope(heads.width, theta),
    )
    head = None if tied else nn.Linear(d, vocab, bias=False)
    return started(Decoder(WordEmbed(vocab, d), stack, head, length), s.layers)


def _one(size: Size, theta: float, tied: bool = True) -> Declaration:
    args = dict(size=size, vocab=49152, length=16384, theta=theta, tied=tied)
    return Declaration(starcoder2, args)


SIZES = {
    "3b": _one(Size(3072, 30, 24, 2, 12288), 999999.4420358813),
    "7b": _one(Size(4608, 32, 36, 4, 18432), 1000000.0),
    "15b": _one(Size(6144, 40, 48, 4, 24576), 100000.0, tied=False),
}
_TINY = dict(size=Size(32, 2, 4, 2, 80), vocab=96, length=64, theta=100.0)
TINY = Declaration(starcoder2, _TINY | dict(window=4))
TINY_OWN = Declaration(starcoder2, _TINY | dict(window=None, tied=False))
PAPER = Paper(
    name="StarCoder2",
    year=2024,
    citation="Lozhkov et al., StarCoder 2 and The Stack v2, arXiv 2402.19173",
    text="StarCoder2",
    vision="none",
    fusion="decoder alone",
    objectives="next token, files rearranged to fill in the middle",
    data="The Stack v2, 3.3 to 4.3T tokens",
)
