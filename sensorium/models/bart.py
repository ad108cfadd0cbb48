"""BART: "Denoising Sequence-to-Sequence Pre-training" (Lewis et al. 2019, arXiv 1910.13461).

BERT's layers on both sides, norms behind the branches, learnt positions of which two are unused.
"""

from typing import NamedTuple

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.forms.seq2seq import Seq2Seq, TextEncoder
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import started
from sensorium.nn.activation import activation
from sensorium.nn.block import layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads, MemoryAttention
from sensorium.nn.layer import After, FeedForward, Layer, LayerStack

SKIP = 2


class Size(NamedTuple):
    """Layers of each side; the MLP is `hidden` wide."""

    width: int
    layers: int
    heads: int
    hidden: int


def bart(size: Size, vocab: int, length: int, act: str = "gelu", start: int = 2) -> Seq2Seq:
    """A BART.

    Args:
        length: the longest text of either side, in tokens.
        start: the id that every written text begins with (the end token, in the released weights).
    """
    s, eps = size, 1e-5
    heads = Heads(s.heads, s.heads, s.width // s.heads)
    both = (True, True)

    def layer(reads: bool) -> Layer:
        branches = {"attn": After(GroupedAttention(s.width, heads, both), layer_norm(s.width, eps))}
        if reads:
            look = MemoryAttention(s.width, heads, s.width, both)
            branches["cross"] = After(look, layer_norm(s.width, eps))
        mlp = FeedForward(s.width, s.hidden, activation(act), bias=True)
        return Layer(**branches, mlp=After(mlp, layer_norm(s.width, eps)))

    def stack(reads: bool) -> LayerStack:
        return LayerStack([layer(reads) for _ in range(s.layers)])

    norms = [layer_norm(s.width, eps) for _ in range(2)]
    embed = WordEmbed(vocab, s.width, length, skip=SKIP, norm=norms[0])
    decoder = started(Decoder(embed, stack(True), None, length), s.layers)
    encoder = TextEncoder(s.width, stack(False), length, SKIP, norms[1])
    return Seq2Seq(encoder, decoder, start)


SIZES = {
    "base": Declaration(bart, dict(size=Size(768, 6, 12, 3072), vocab=50265, length=1024)),
    "large": Declaration(bart, dict(size=Size(1024, 12, 16, 4096), vocab=50265, length=1024)),
}
TINY = Declaration(bart, dict(size=Size(24, 2, 3, 40), vocab=96, length=64))
PAPER = Paper(
    name="BART",
    year=2019,
    citation="Lewis et al., BART: Denoising Sequence-to-Sequence Pre-training, arXiv 1910.13461",
    text="BART",
    vision="none",
    fusion="encoder and decoder",
    objectives="denoising",
    data="RoBERTa's corpora (160 GB)",
)
