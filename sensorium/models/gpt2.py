"""GPT-2: "Language Models are Unsupervised Multitask Learners" (Radford et al. 2019).

A pre-norm decoder with learnt positions, whose words are scored by their own vectors.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.block import layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import Before, FeedForward, Layer, LayerStack


class Size(NamedTuple):
    """The MLP is four times as wide as the model."""

    width: int
    layers: int
    heads: int


def gpt2(size: Size, vocab: int, length: int, act: str = "gelu_tanh", eps: float = 1e-5) -> Decoder:
    """A GPT-2.

    Args:
        length: context in tokens, as many as positions are learnt.
        act: "gelu_tanh" in the released weights.
    """
    heads = Heads(size.heads, size.heads, size.width // size.heads)
    return over_heads(size.width, size.layers, heads, vocab, length, act, eps)


def over_heads(
    d: int, layers: int, heads: Heads, vocab: int, length: int, act: str, eps: float
) -> Decoder:
    """The same over any heads: GPTBigCode's queries share one of keys and values."""

    def layer() -> Layer:
        attention = GroupedAttention(d, heads, bias=(True, True))
        mlp = FeedForward(d, 4 * d, activation(act), bias=True)
        return Layer(
            attn=Before(attention, layer_norm(d, eps)), mlp=Before(mlp, layer_norm(d, eps))
        )

    stack = LayerStack([layer() for _ in range(layers)], norm=layer_norm(d, eps))
    return started(Decoder(WordEmbed(vocab, d, length), stack, None, length), layers)


def started(net: Decoder, layers: int) -> Decoder:
    """The net with the paper's first weights: N(0, 0.02), those into the residual over sqrt(2n)."""
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(p)
        elif p.dim() == 2:
            into = name.endswith(("f.out.weight", "f.down.weight"))
            nn.init.normal_(p, std=0.02 * ((2 * layers) ** -0.5 if into else 1))
    return net


def _one(width: int, layers: int, heads: int) -> Declaration:
    return Declaration(gpt2, dict(size=Size(width, layers, heads), vocab=50257, length=1024))


SIZES = {
    "small": _one(768, 12, 12),
    "medium": _one(1024, 24, 16),
    "large": _one(1280, 36, 20),
    "xl": _one(1600, 48, 25),
}
TINY = Declaration(gpt2, dict(size=Size(32, 2, 4), vocab=96, length=64))
PAPER = Paper(
    name="GPT-2",
    year=2019,
    citation="Radford et al., Language Models are Unsupervised Multitask Learners",
    text="GPT2",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="WebText (40 GB)",
)
