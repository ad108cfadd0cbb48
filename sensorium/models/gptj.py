"""GPT-J (Wang and Komatsuzaki 2021): attention and MLP side by side, heads partly rotated.

A peer in the tables of "Evaluating Large Language Models Trained on Code" (Chen et al. 2021, arXiv
2107.03374).
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import started
from sensorium.nn.activation import activation
from sensorium.nn.block import layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import Beside, FeedForward, Layer, LayerStack
from sensorium.nn.rope import Rope


class Size(NamedTuple):
    """The MLP is four times as wide; `turned` dimensions of each head are rotated."""

    width: int
    layers: int
    heads: int
    turned: int


def gptj(size: Size, vocab: int, length: int) -> Decoder:
    """A GPT-J; `length` is the context it was trained on."""
    d, eps = size.width, 1e-5
    heads = Heads(size.heads, size.heads, d // size.heads)

    def layer() -> Layer:
        mlp = FeedForward(d, 4 * d, activation("gelu_tanh"), bias=True)
        return Layer(attn=Beside(GroupedAttention(d, heads), mlp, layer_norm(d, eps)))

    stack = LayerStack(
        [layer() for _ in range(size.layers)],
        norm=layer_norm(d, eps),
        rope=Rope(size.turned, 10000.0),
    )
    head = nn.Linear(d, vocab)
    return started(Decoder(WordEmbed(vocab, d), stack, head, length), size.layers)


SIZES = {"6B": Declaration(gptj, dict(size=Size(4096, 28, 16, 64), vocab=50400, length=2048))}
TINY = Declaration(gptj, dict(size=Size(32, 2, 2, 8), vocab=96, length=64))
PAPER = Paper(
    name="GPT-J",
    year=2021,
    citation="Wang and Komatsuzaki, GPT-J-6B, 2021",
    text="GPT-J",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="the Pile",
)
