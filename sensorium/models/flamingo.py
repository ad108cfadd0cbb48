"""Flamingo (Alayrac et al. 2022, arXiv 2204.14198) and OpenFlamingo (Awadalla et al. 2023, arXiv
2308.01390).

A frozen language model looks at pictures that stand anywhere in a text, through gated layers put
between its own; each picture or clip is 64 states of a Perceiver resampler.

OpenFlamingo's sizes are those of its code and files. DeepMind published neither code nor weights of
Flamingo: its sizes are recalled from the paper, an MPT of the same width and depth stands for
Chinchilla (relative positions, no biases), and what the resampler reads is NFNet-F6's last stage.
"""

from typing import Any, NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder
from sensorium.forms.gated import Gated, interleave
from sensorium.forms.prefix import PatchTower
from sensorium.models import gpt_neox, llama, mpt
from sensorium.models.declaration import Declaration, Paper, declared
from sensorium.models.llava import Tower
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.embed import PatchEmbed
from sensorium.nn.gate import Gate, LookAt
from sensorium.nn.grouped import GroupedAttention, Heads
from sensorium.nn.layer import FeedForward
from sensorium.nn.nfnet import NFNet
from sensorium.nn.resample import Resampler


class Look(NamedTuple):
    """The resampler: heads of `head` dimensions, `frames` of a clip with a time (0: none)."""

    layers: int
    queries: int
    heads: int
    head: int
    frames: int


class Gates(NamedTuple):
    """The layers put in, in front of layers `first`, first + every, ... of the language model."""

    first: int
    every: int
    heads: int
    head: int


class Free(NamedTuple):
    """An NFNet: blocks and widths of its four stages, channels of a group."""

    pixels: int
    blocks: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    group: int


def flamingo(
    image: Tower, look: Look, lm: dict[str, Any], gates: Gates, mark: int, act: str = "gelu"
) -> Gated:
    """A Flamingo over CLIP's tower: OpenFlamingo.

    Args:
        image: its patches' states are read, without the norm behind the last layer.
        lm: the language model's declaration, as a manifest has it: any decoder of ours.
        mark: the id of the token that stands for a picture.
        act: in the resampler and in the layers put in.

    Raises:
        ValueError: `lm` declares no decoder, or has no layer to put others in front of.
    """
    d = image.width
    tower = PatchTower(
        PatchEmbed(image.pixels, image.patch, d, False, layer_norm(d, image.eps)),
        Stack(
            [
                pre_layer(d, image.heads, activation(image.act), image.eps)
                for _ in range(image.layers)
            ]
        ),
    )
    for name in ("embed.cls", "embed.pos"):
        nn.init.normal_(tower.get_parameter(name), std=d**-0.5)
    return _joined(tower, (d, image.pixels), look, lm, gates, mark, act)


def flamingo_free(
    image: Free, look: Look, lm: dict[str, Any], gates: Gates, mark: int, act: str = "squared_relu"
) -> Gated:
    """A Flamingo over an NFNet: DeepMind's; `ValueError`s as `flamingo`."""
    tower = NFNet(image.blocks, image.widths, image.group)
    return _joined(tower, (image.widths[-1], image.pixels), look, lm, gates, mark, act)


def _joined(
    tower: nn.Module,
    states: tuple[int, int],
    look: Look,
    lm: dict[str, Any],
    gates: Gates,
    mark: int,
    act: str,
) -> Gated:
    """Tower, resampler, and language model with the layers put in.

    Args:
        states: the width of the tower's states, and the side of its pictures.
    """
    wide, pixels = states
    decoder = declared(lm).build()
    if not isinstance(decoder, Decoder):
        raise ValueError(f"lm: {lm.get('function')} is no language model that others are put into")
    width = next(m for m in decoder.modules() if isinstance(m, GroupedAttention)).qkv.in_features
    heads = Heads(gates.heads, gates.heads, gates.head)

    def branches() -> dict[str, nn.Module]:
        mlp = FeedForward(width, 4 * width, activation(act), bias=False)
        return {
            "look": Gate(LookAt(width, heads, wide), layer_norm(width, 1e-5)),
            "think": Gate(mlp, layer_norm(width, 1e-5)),
        }

    resampler = Resampler(
        wide,
        look.queries,
        Heads(look.heads, look.heads, look.head),
        [activation(act) for _ in range(look.layers)],
        look.frames,
    )
    return Gated(
        tower, resampler, interleave(decoder, (gates.first, gates.every), branches), mark, pixels
    )


def words(of: Declaration, vocab: int) -> dict[str, Any]:
    """A language model's declaration with another vocabulary, as a manifest has it."""
    spec = of.spec()
    return {**spec, "args": {**spec["args"], "vocab": vocab}}


CLIP_L = Tower(224, 14, 1024, 24, 16, "quick_gelu", 1e-5)
OPEN = Look(layers=6, queries=64, heads=8, head=64, frames=0)
TOKENS = 50277  # of the tokenizer that all three language models share


def _open(of: Declaration, every: int) -> Declaration:
    lm = words(of, TOKENS + 3)  # <|endofchunk|>, <image>, <PAD>, in this order
    args = dict(
        image=CLIP_L, look=OPEN, lm=lm, gates=Gates(every - 1, every, 8, 64), mark=TOKENS + 1
    )
    return Declaration(flamingo, args)


F6 = Free(320, (7, 14, 42, 21), (256, 512, 1536, 1536), 128)
DEEP = Look(layers=6, queries=64, heads=16, head=96, frames=8)


def _deep(width: int, layers: int, heads: int, every: int) -> Declaration:
    args = dict(size=mpt.Size(width, layers, heads), vocab=32002, length=2048)
    lm = Declaration(mpt.mpt, args).spec()
    gates = Gates(0, every, heads, width // heads)
    return Declaration(flamingo_free, dict(image=F6, look=DEEP, lm=lm, gates=gates, mark=32000))


SIZES = {
    "3B": _deep(2048, 24, 16, 1),
    "9B": _deep(4096, 40, 32, 4),
    "80B": _deep(8192, 80, 64, 7),
    "open-3B": _open(mpt.SIZES["1B-redpajama"], 1),
    "open-4B": _open(gpt_neox.SIZES["redpajama-incite-3B"], 2),
    "open-9B": _open(mpt.SIZES["7B"], 4),
}
_TOWER = Tower(24, 8, 32, 2, 2, "quick_gelu", 1e-5)
_LOOK = Look(layers=2, queries=3, heads=2, head=8, frames=0)
_GATES = Gates(first=1, every=2, heads=2, head=12)


def _tiny(of: Declaration, every: int = 2, frames: int = 0) -> Declaration:
    look, gates = _LOOK._replace(frames=frames), _GATES._replace(first=every - 1, every=every)
    return Declaration(flamingo, dict(image=_TOWER, look=look, lm=of.spec(), gates=gates, mark=95))


TINY = _tiny(mpt.TINY_NORMS, 1)
TINY_MPT = _tiny(mpt.TINY)
TINY_NEOX = _tiny(gpt_neox.TINY)
TINY_LLAMA = _tiny(llama.TINY)
TINY_CLIPS = Declaration(
    flamingo_free,
    dict(
        image=Free(32, (1, 1, 2, 1), (32, 32, 32, 32), 8),
        look=_LOOK._replace(frames=3),
        lm=mpt.TINY.spec(),
        gates=_GATES,
        mark=95,
    ),
)
PAPER = Paper(
    name="Flamingo",
    year=2022,
    citation="Alayrac et al., Flamingo, arXiv 2204.14198; OpenFlamingo, arXiv 2308.01390",
    text="Chinchilla",
    vision="NFNet",
    fusion="gated cross-attention",
    objectives="next token",
    data="M3W (43M pages), ALIGN, LTIP, VTP",
    notes={
        "text": "OpenFlamingo: MPT or RedPajama-INCITE",
        "vision": "OpenFlamingo: CLIP ViT-L/14",
        "data": "OpenFlamingo: MMC4 and LAION-2B",
    },
)
