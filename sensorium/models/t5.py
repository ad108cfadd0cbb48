"""T5: "Exploring the Limits of Transfer Learning" (Raffel et al. 2019, arXiv 1910.10683), Flan-T5.

An encoder and a decoder without positions but for a bias by distance that all layers share; scores
of attention are not divided by the root of the heads' width. T5 1.1 and Flan-T5 (Chung et al. 2022,
arXiv 2210.11416) have gated MLPs and a head of their own.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.forms.seq2seq import Seq2Seq, TextEncoder
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.grouped import GroupedAttention, Heads, MemoryAttention
from sensorium.nn.layer import Before, FeedForward, GatedMLP, Layer, LayerStack
from sensorium.nn.position import Buckets

LENGTH = 16384  # there is no longest text; those it was trained on had 512 tokens


class Size(NamedTuple):
    """Layers of each side; heads are `head` wide, whatever the model's width."""

    width: int
    layers: int
    heads: int
    head: int
    hidden: int


def t5(
    size: Size, vocab: int, gated: bool = False, tied: bool = True, eps: float = 1e-6
) -> Seq2Seq:
    """A T5.

    Args:
        gated: T5 1.1's gated MLP with GELU, in place of one with ReLU.
        tied: whether words are scored by their own vectors, states over sqrt(width).
    """
    s, heads = size, Heads(size.heads, size.heads, size.head, scale=1.0)

    def norm() -> nn.RMSNorm:
        return nn.RMSNorm(s.width, eps)

    def mlp() -> nn.Module:
        if gated:
            return GatedMLP(s.width, s.hidden, activation("gelu_tanh"))
        return FeedForward(s.width, s.hidden, activation("relu"), bias=False)

    def layer(reads: bool) -> Layer:
        branches = {"attn": Before(GroupedAttention(s.width, heads), norm())}
        if reads:
            look = MemoryAttention(s.width, heads, s.width, (False, False))
            branches["cross"] = Before(look, norm())
        return Layer(**branches, mlp=Before(mlp(), norm()))

    def stack(reads: bool) -> LayerStack:
        bias = Buckets(s.heads, both=not reads)
        return LayerStack([layer(reads) for _ in range(s.layers)], norm=norm(), bias=bias)

    head = None if tied else nn.Linear(s.width, vocab, bias=False)
    shrink = s.width**-0.5 if tied else 1.0
    decoder = Decoder(WordEmbed(vocab, s.width), stack(True), head, LENGTH, shrink=shrink)
    net = Seq2Seq(TextEncoder(s.width, stack(False)), decoder, start=0)
    for name, p in net.named_parameters():
        if name.endswith("qkv.weight"):
            q = s.heads * s.head
            nn.init.normal_(p[:q], std=(s.width * s.head) ** -0.5)
            nn.init.normal_(p[q:], std=s.width**-0.5)
        elif p.dim() == 2:
            nn.init.normal_(p, std=1.0 if "word" in name else p.shape[1] ** -0.5)
    return net


def _first(width: int, hidden: int, layers: int, heads: int, head: int = 64) -> Declaration:
    return Declaration(t5, dict(size=Size(width, layers, heads, head, hidden), vocab=32128))


def _later(width: int, hidden: int, layers: int, heads: int) -> Declaration:
    size = Size(width, layers, heads, 64, hidden)
    return Declaration(t5, dict(size=size, vocab=32128, gated=True, tied=False))


SIZES = {
    "small": _first(512, 2048, 6, 8),
    "base": _first(768, 3072, 12, 12),
    "large": _first(1024, 4096, 24, 16),
    "3b": _first(1024, 16384, 24, 32, 128),
    "11b": _first(1024, 65536, 24, 128, 128),
    "flan-small": _later(512, 1024, 8, 6),
    "flan-base": _later(768, 2048, 12, 12),
    "flan-large": _later(1024, 2816, 24, 16),
    "flan-xl": _later(2048, 5120, 24, 32),
    "flan-xxl": _later(4096, 10240, 24, 64),
}
TINY = Declaration(t5, dict(size=Size(24, 2, 2, 8, 40), vocab=96))
TINY_GATED = Declaration(t5, dict(size=Size(24, 2, 2, 8, 40), vocab=96, gated=True, tied=False))
PAPER = Paper(
    name="T5",
    year=2019,
    citation="Raffel et al., Exploring the Limits of Transfer Learning, arXiv 1910.10683",
    text="T5",
    vision="none",
    fusion="encoder and decoder",
    objectives="span corruption",
    data="C4",
)
