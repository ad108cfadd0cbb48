"""GPT-Neo (Black et al. 2021): every second layer sees the last 256 tokens only.

A peer in the tables of "Evaluating Large Language Models Trained on Code" (Chen et al. 2021, arXiv
2107.03374). Scores of attention are not divided by the root of the heads' width.
"""

from typing import NamedTuple

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import started
from sensorium.nn.activation import activation
from sensorium.nn.block import layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import Before, FeedForward, Layer, LayerStack


class Size(NamedTuple):
    """The MLP is four times as wide as the model."""

    width: int
    layers: int
    heads: int


def gpt_neo(size: Size, vocab: int, length: int, window: int = 256) -> Decoder:
    """A GPT-Neo.

    Args:
        length: context in tokens, as many as positions are learnt.
        window: how many tokens the second, fourth, ... layer sees.
    """
    d, eps = size.width, 1e-5
    heads = Heads(size.heads, size.heads, d // size.heads, scale=1.0)

    def layer(number: int) -> Layer:
        near = window if number % 2 else None
        attention = GroupedAttention(d, heads, bias=(False, True), window=near)
        mlp = FeedForward(d, 4 * d, activation("gelu_tanh"), bias=True)
        return Layer(
            attn=Before(attention, layer_norm(d, eps)), mlp=Before(mlp, layer_norm(d, eps))
        )

    stack = LayerStack([layer(i) for i in range(size.layers)], norm=layer_norm(d, eps))
    return started(Decoder(WordEmbed(vocab, d, length), stack, None, length), size.layers)


def _one(width: int, layers: int, heads: int) -> Declaration:
    return Declaration(gpt_neo, dict(size=Size(width, layers, heads), vocab=50257, length=2048))


SIZES = {"125M": _one(768, 12, 12), "1.3B": _one(2048, 24, 16), "2.7B": _one(2560, 32, 20)}
TINY = Declaration(gpt_neo, dict(size=Size(32, 2, 4), vocab=96, length=64, window=4))
PAPER = Paper(
    name="GPT-Neo",
    year=2021,
    citation="Black et al., GPT-Neo: Large Scale Autoregressive Language Modeling, 2021",
    text="GPT-Neo",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="the Pile",
)
