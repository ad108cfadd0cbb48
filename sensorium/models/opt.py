"""OPT: "Open Pre-trained Transformer Language Models" (Zhang et al. 2022, arXiv 2205.01068).

GPT-2's shape with ReLU and two rows of positions that are never used; the one of 350M normalises
behind its branches and has narrower word vectors.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import started
from sensorium.nn.activation import activation
from sensorium.nn.block import layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import After, Before, FeedForward, Layer, LayerStack

SKIP = 2  # the first position is row 2 of the table


class Size(NamedTuple):
    """`words` is the width of the word vectors."""

    width: int
    layers: int
    heads: int
    hidden: int
    words: int


def opt(size: Size, vocab: int, length: int, act: str = "relu", before: bool = True) -> Decoder:
    """An OPT.

    Args:
        length: context in tokens.
        before: whether norms stand before the branches (all sizes but 350M).
    """
    d, eps = size.width, 1e-5
    heads = Heads(size.heads, size.heads, d // size.heads)
    branch = Before if before else After

    def layer() -> Layer:
        attention = GroupedAttention(d, heads, bias=(True, True))
        mlp = FeedForward(d, size.hidden, activation(act), bias=True)
        return Layer(
            attn=branch(attention, layer_norm(d, eps)), mlp=branch(mlp, layer_norm(d, eps))
        )

    narrow = size.words != d
    embed = WordEmbed(
        vocab,
        d,
        length,
        skip=SKIP,
        project=nn.Linear(size.words, d, bias=False) if narrow else None,
        inner=size.words,
    )
    norm = layer_norm(d, eps) if before else None
    stack = LayerStack([layer() for _ in range(size.layers)], norm=norm)
    out = nn.Linear(d, size.words, bias=False) if narrow else None
    return started(Decoder(embed, stack, None, length, out), size.layers)


def _one(width: int, layers: int, heads: int) -> Declaration:
    size = Size(width, layers, heads, 4 * width, width)
    return Declaration(opt, dict(size=size, vocab=50272, length=2048))


SIZES = {
    "125M": _one(768, 12, 12),
    "350M": Declaration(
        opt, dict(size=Size(1024, 24, 16, 4096, 512), vocab=50272, length=2048, before=False)
    ),
    "1.3B": _one(2048, 24, 32),
    "2.7B": _one(2560, 32, 32),
    "6.7B": _one(4096, 32, 32),
    "13B": _one(5120, 40, 40),
    "30B": _one(7168, 48, 56),
    "66B": _one(9216, 64, 72),
}
TINY = Declaration(opt, dict(size=Size(32, 2, 4, 48, 32), vocab=96, length=64))
TINY_AFTER = Declaration(opt, dict(size=Size(32, 2, 4, 48, 16), vocab=96, length=64, before=False))
PAPER = Paper(
    name="OPT",
    year=2022,
    citation="Zhang et al., OPT: Open Pre-trained Transformer Language Models, arXiv 2205.01068",
    text="OPT",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="RoBERTa's corpora, the Pile, Reddit (180B tokens)",
)
