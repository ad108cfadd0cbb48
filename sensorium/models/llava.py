"""LLaVA: "Visual Instruction Tuning" (Liu et al. 2023, arXiv 2304.08485; 1.5: arXiv 2310.03744).

The states of a picture's patches in CLIP's tower, from its last layer but one, are mapped by one
linear layer (1.0) or by two (1.5) to word vectors, and stand in the text where the picture does.
"""

from typing import Literal, NamedTuple

from torch import nn

from sensorium.forms.prefix import PatchTower, Prefix
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.llama import SIZES as LLAMAS
from sensorium.models.llama import Size, llama
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.embed import PatchEmbed

Bridge = Literal["linear", "mlp"]


class Tower(NamedTuple):
    """CLIP's image tower as far as it is read: `layers` are those that are run.

    LLaVA reads the last layer but one of 24, so that 23 are. Pixels and patch are sides.
    """

    pixels: int
    patch: int
    width: int
    layers: int
    heads: int
    act: str
    eps: float


class Language(NamedTuple):
    """The language model: a LLaMA (see `models.llama`)."""

    width: int
    layers: int
    heads: int
    groups: int
    head: int
    hidden: int
    vocab: int
    length: int
    eps: float
    theta: float
    tied: bool


def llava(image: Tower, text: Language, bridge: Literal["linear", "mlp"] = "mlp") -> Prefix:
    """A LLaVA.

    Args:
        bridge: "linear" (1.0), or "mlp": two linear layers with GELU between (1.5).
    """
    wide, width = image.width, text.width
    norm = layer_norm(wide, image.eps)
    tower = PatchTower(
        PatchEmbed(image.pixels, image.patch, wide, bias=False, norm=norm),
        Stack(
            [
                pre_layer(wide, image.heads, activation(image.act), image.eps)
                for _ in range(image.layers)
            ]
        ),
    )
    for name in ("embed.cls", "embed.pos"):
        nn.init.normal_(tower.get_parameter(name), std=wide**-0.5)
    across: nn.Module = nn.Linear(wide, width)
    if bridge == "mlp":
        across = nn.Sequential(across, nn.GELU(), nn.Linear(width, width))
    t = text
    size = Size(t.width, t.layers, t.heads, t.groups, t.head, t.hidden)
    decoder = llama(size, t.vocab, t.length, eps=t.eps, theta=t.theta, tied=t.tied)
    return Prefix(tower, across, decoder, (image.pixels // image.patch) ** 2, image.pixels)


def language(of: Declaration) -> Language:
    """A LLaMA's declaration as the language model of a LLaVA.

    Raises:
        ValueError: its positions are stretched, which no LLaVA's are.
    """
    args = of.spec()["args"]
    if args.get("scaling") is not None:
        raise ValueError("this language model's positions are stretched: LLaVA has none like that")
    rest = {key: args[key] for key in ("vocab", "length", "eps", "theta", "tied")}
    return Language(**args["size"], **rest)


def _one(pixels: int, lm: str, bridge: Bridge) -> Declaration:
    tower = Tower(pixels, 14, 1024, 23, 16, "quick_gelu", 1e-5)
    return Declaration(llava, dict(image=tower, text=language(LLAMAS[lm]), bridge=bridge))


SMALL_TOWER = Tower(64, 8, 192, 5, 3, "quick_gelu", 1e-5)
SIZES = {
    "1.0-7B": _one(224, "7B", "linear"),
    "1.0-13B": _one(224, "13B", "linear"),
    "1.0-13B@336": _one(336, "13B", "linear"),
    "1.5-7B": _one(336, "vicuna-7B-v1.5", "mlp"),
    "1.5-13B": _one(336, "vicuna-13B-v1.5", "mlp"),
    "smollm2-135M": Declaration(
        llava, dict(image=SMALL_TOWER, text=language(LLAMAS["smollm2-135M"]), bridge="mlp")
    ),
}
_TOWER = Tower(24, 8, 32, 2, 2, "quick_gelu", 1e-5)
_TEXT = Language(32, 2, 4, 2, 8, 48, 96, 96, 1e-5, 10000.0, False)
TINY = Declaration(llava, dict(image=_TOWER, text=_TEXT, bridge="mlp"))
TINY_LINEAR = Declaration(
    llava, dict(image=_TOWER, text=_TEXT._replace(tied=True), bridge="linear")
)
PAPER = Paper(
    name="LLaVA",
    year=2023,
    citation="Liu et al., Visual Instruction Tuning, arXiv 2304.08485; 1.5: arXiv 2310.03744",
    text="Vicuna",
    vision="ViT",
    fusion="decoder",
    objectives="next token",
    data="595K captions, 158K conversations written by GPT-4",
    notes={"vision": "CLIP ViT-L/14, its last layer but one", "data": "1.5: 558K and 665K"},
)
