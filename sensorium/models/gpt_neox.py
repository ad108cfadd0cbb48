"""GPT-NeoX's layers one after the other, as in RedPajama-INCITE (Together 2023).

Black et al. 2022, arXiv 2204.06745. GPT-NeoX-20B and Pythia put attention and MLP side by side,
each behind a norm of its own; RedPajama-INCITE, which is read here, does not
(`use_parallel_residual` false).
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
    """The MLP is `hidden` wide; `turned` dimensions of each head are rotated."""

    width: int
    layers: int
    heads: int
    hidden: int
    turned: int


def gpt_neox(
    size: Size,
    vocab: int,
    length: int,
    act: str = "gelu",
    eps: float = 1e-5,
    theta: float = 10000.0,
) -> Decoder:
    """A GPT-NeoX without parallel branches; `length` is the context it was trained on."""
    d = size.width
    heads = Heads(size.heads, size.heads, d // size.heads)

    def layer() -> Layer:
        attention = GroupedAttention(d, heads, bias=(True, True))
        mlp = FeedForward(d, size.hidden, activation(act), bias=True)
        return Layer(
            attn=Before(attention, layer_norm(d, eps)), mlp=Before(mlp, layer_norm(d, eps))
        )

    stack = LayerStack(
        [layer() for _ in range(size.layers)],
        norm=layer_norm(d, eps),
        rope=Rope(size.turned, theta),
    )
    head = nn.Linear(d, vocab, bias=False)
    return started(Decoder(WordEmbed(vocab, d), stack, head, length), size.layers)


SIZES = {
    "redpajama-incite-3B": Declaration(
        gpt_neox, dict(size=Size(2560, 32, 32, 10240, 80), vocab=50432, length=2048)
    )
}
TINY = Declaration(gpt_neox, dict(size=Size(32, 2, 4, 64, 4), vocab=96, length=64))
PAPER = Paper(
    name="GPT-NeoX",
    year=2023,
    citation="Black et al., GPT-NeoX-20B, arXiv 2204.06745; Together, RedPajama-INCITE, 2023",
    text="GPT-NeoX",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="RedPajama (800B tokens)",
)
