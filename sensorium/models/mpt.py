"""MPT (MosaicML 2023): ALiBi in place of positions, norms without bias, no bias anywhere.

"Introducing MPT-7B", 2023; ALiBi: Press et al. 2021, arXiv 2108.12409. The 1B model trained on
RedPajama normalises queries and keys over the whole width.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.gpt2 import started
from sensorium.nn.activation import activation
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import Before, FeedForward, Layer, LayerStack
from sensorium.nn.position import ALiBi


class Size(NamedTuple):
    """The MLP is four times as wide as the model."""

    width: int
    layers: int
    heads: int


def mpt(
    size: Size,
    vocab: int,
    length: int,
    most: float = 8.0,
    clip: float | None = None,
    norms: bool = False,
) -> Decoder:
    """An MPT.

    Args:
        length: the context it was trained on.
        most: ALiBi's largest exponent.
        clip: the largest size of queries, keys and values.
        norms: whether queries and keys are normalised.
    """
    d, eps = size.width, 1e-5
    heads = Heads(size.heads, size.heads, d // size.heads)

    def norm() -> nn.LayerNorm:
        return nn.LayerNorm(d, eps, bias=False)

    def layer() -> Layer:
        both = (norm(), norm()) if norms else None
        attention = GroupedAttention(d, heads, clip=clip, norms=both)
        mlp = FeedForward(d, 4 * d, activation("gelu"), bias=False)
        return Layer(attn=Before(attention, norm()), mlp=Before(mlp, norm()))

    stack = LayerStack(
        [layer() for _ in range(size.layers)], norm=norm(), bias=ALiBi(size.heads, most)
    )
    return started(Decoder(WordEmbed(vocab, d), stack, None, length), size.layers)


SIZES = {
    "1B-redpajama": Declaration(
        mpt, dict(size=Size(2048, 24, 16), vocab=50432, length=2048, norms=True)
    ),
    "7B": Declaration(mpt, dict(size=Size(4096, 32, 32), vocab=50432, length=2048)),
    "30B": Declaration(mpt, dict(size=Size(7168, 48, 64), vocab=50432, length=8192)),
}
TINY = Declaration(mpt, dict(size=Size(36, 2, 6), vocab=96, length=64, clip=0.5))
TINY_NORMS = Declaration(mpt, dict(size=Size(32, 2, 4), vocab=96, length=64, norms=True))
PAPER = Paper(
    name="MPT",
    year=2023,
    citation="MosaicML, Introducing MPT-7B, 2023",
    text="MPT",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="web text and code (1T tokens)",
)
