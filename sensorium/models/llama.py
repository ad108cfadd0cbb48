"""LLaMA and its kin: RMS norms, rotary positions, gated MLPs, shared keys and values.

Touvron et al. 2023, arXiv 2302.13971 (LLaMA); arXiv 2307.09288 (LLaMA 2); Dubey et al. 2024, arXiv
2407.21783 (LLaMA 3); Vicuna is a LLaMA fine-tuned on conversations; SmolLM2 (Allal et al. 2025,
arXiv 2502.02737) has the same shape.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import Before, GatedMLP, Layer, LayerStack
from sensorium.nn.rope import Rope, Scaling


class Size(NamedTuple):
    """Heads of `head` dimensions; `groups` of keys and values; the MLP is `hidden` wide."""

    width: int
    layers: int
    heads: int
    groups: int
    head: int
    hidden: int


def llama(
    size: Size,
    vocab: int,
    length: int,
    eps: float = 1e-5,
    theta: float = 10000.0,
    scaling: Scaling | None = None,
    tied: bool = False,
) -> Decoder:
    """A LLaMA.

    Args:
        length: context in tokens.
        eps: of the norms; 1e-6 in the first LLaMA.
        theta: base of the rotation.
        tied: whether words are scored by their own vectors (SmolLM2, LLaMA 3.2).
    """
    s = size
    heads = Heads(s.heads, s.groups, s.head)

    def layer() -> Layer:
        attention = GroupedAttention(s.width, heads)
        mlp = GatedMLP(s.width, s.hidden, activation("silu"))
        return Layer(
            attn=Before(attention, nn.RMSNorm(s.width, eps)),
            mlp=Before(mlp, nn.RMSNorm(s.width, eps)),
        )

    stack = LayerStack(
        [layer() for _ in range(s.layers)],
        norm=nn.RMSNorm(s.width, eps),
        rope=Rope(s.head, theta, scaling),
    )
    head = None if tied else nn.Linear(s.width, vocab, bias=False)
    net = Decoder(WordEmbed(vocab, s.width), stack, head, length)
    for p in net.parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.02)
    return net


def _plain(width: int, layers: int, heads: int, hidden: int, groups: int | None = None) -> Size:
    return Size(width, layers, heads, groups or heads, width // heads, hidden)


def _one(size: Size, length: int, eps: float, vocab: int = 32000) -> Declaration:
    return Declaration(llama, dict(size=size, vocab=vocab, length=length, eps=eps))


def _three(size: Size, scaling: Scaling | None = None, tied: bool = False) -> Declaration:
    args = dict(size=size, vocab=128256, length=8192 if scaling is None else 131072, eps=1e-5)
    return Declaration(llama, args | dict(theta=500000.0, scaling=scaling, tied=tied))


def _smol(size: Size) -> Declaration:
    args = dict(size=size, vocab=49152, length=8192, eps=1e-5, theta=100000.0, tied=True)
    return Declaration(llama, args)


S7, S13 = _plain(4096, 32, 32, 11008), _plain(5120, 40, 40, 13824)
S33, S65 = _plain(6656, 60, 52, 17920), _plain(8192, 80, 64, 22016)
S70 = _plain(8192, 80, 64, 28672, 8)
THREE_ONE = Scaling("llama3", 8.0, 1.0, 4.0, 8192)
THREE_TWO = THREE_ONE._replace(factor=32.0)
SIZES = {
    "7B": _one(S7, 2048, 1e-6),
    "13B": _one(S13, 2048, 1e-6),
    "33B": _one(S33, 2048, 1e-6),
    "65B": _one(S65, 2048, 1e-6),
    "2-7B": _one(S7, 4096, 1e-5),
    "2-13B": _one(S13, 4096, 1e-5),
    "2-70B": _one(S70, 4096, 1e-5),
    "vicuna-7B-v1.5": _one(S7, 4096, 1e-5),
    "vicuna-13B-v1.5": _one(S13, 4096, 1e-5),
    "3-8B": _three(_plain(4096, 32, 32, 14336, 8)),
    "3-70B": _three(S70),
    "3.1-8B": _three(_plain(4096, 32, 32, 14336, 8), THREE_ONE),
    "3.2-1B": _three(_plain(2048, 16, 32, 8192, 8), THREE_TWO, tied=True),
    "3.2-3B": _three(_plain(3072, 28, 24, 8192, 8), THREE_TWO, tied=True),
    "smollm2-135M": _smol(_plain(576, 30, 9, 1536, 3)),
    "smollm2-360M": _smol(_plain(960, 32, 15, 2560, 5)),
    "smollm2-1.7B": _smol(_plain(2048, 24, 32, 8192))._replace(
        args=_smol(_plain(2048, 24, 32, 8192)).args | dict(theta=130000.0)
    ),
}
_TINY = dict(size=_plain(32, 2, 4, 48, 2), vocab=96, length=64)
TINY = Declaration(llama, _TINY)
TINY_TIED = Declaration(
    llama, _TINY | dict(tied=True, scaling=Scaling("llama3", 4.0, 1.0, 4.0, 16))
)
PAPER = Paper(
    name="LLaMA",
    year=2023,
    citation="Touvron et al., LLaMA, arXiv 2302.13971; LLaMA 2, arXiv 2307.09288",
    text="LLaMA",
    vision="none",
    fusion="decoder alone",
    objectives="next token",
    data="CommonCrawl, C4, GitHub, Wikipedia, books (1.0 to 1.4T tokens)",
)
