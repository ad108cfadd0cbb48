"""CLIP: "Learning Transferable Visual Models From Natural Language Supervision".

Radford et al. 2021, arXiv 2103.00020.

Two towers from scratch. The image tower is a ViT (with a norm behind its embedding) or a modified
ResNet with attention pooling; the text tower is a causal transformer read at its last token. Both
end in a linear map to one space, where the right caption of a picture is the nearest one.
"""

import math
from typing import NamedTuple

from torch import nn

from sensorium.forms.dual import Dual
from sensorium.forms.encoder import ConvEncoder, Encoder
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.embed import PatchEmbed, TextEmbed, Words
from sensorium.nn.pool import Bag, First, GridMean, Last
from sensorium.nn.residual import SmallResNet
from sensorium.nn.resnet import AttentionPool, Bottleneck, ModifiedResNet

LOG_SCALE = math.log(1 / 0.07)  # section 2.3: the temperature starts at 0.07
LOG_SCALE_MAX = math.log(100)  # and the scale never passes 100


class ViTSize(NamedTuple):
    """Sides in pixels; heads are 64 wide."""

    pixels: int
    patch: int
    width: int
    layers: int
    heads: int


class ResNetSize(NamedTuple):
    """Side in pixels, blocks a stage, width of the stem; the feature is 32 times as wide."""

    pixels: int
    blocks: tuple[int, int, int, int]
    width: int
    heads: int


class SmallSize(NamedTuple):
    """Side in pixels, blocks a stage, width of the stem; the feature is 8 times as wide."""

    pixels: int
    blocks: tuple[int, int, int, int]
    width: int


class WordSize(NamedTuple):
    """Vocabulary, longest text in tokens, and width of the word vectors."""

    vocab: int
    length: int
    width: int


class TextSize(NamedTuple):
    """Vocabulary, longest text in tokens, and the transformer's size."""

    vocab: int
    length: int
    width: int
    layers: int
    heads: int


def clip_vit(
    image: ViTSize, text: TextSize, embed: int, act: str = "quick_gelu", eps: float = 1e-5
) -> Dual:
    """CLIP with a vision transformer, initialised as the released code does.

    Args:
        embed: width of the shared space.
        act: "quick_gelu" for OpenAI's weights; many later ones were trained with "gelu".
    """
    width = image.width
    tower = Encoder(
        embed=PatchEmbed(image.pixels, image.patch, width, bias=False, norm=layer_norm(width, eps)),
        stack=Stack(
            [pre_layer(width, image.heads, activation(act), eps) for _ in range(image.layers)]
        ),
        pool=First(norm=layer_norm(width, eps), proj=nn.Linear(width, embed, bias=False)),
    )
    for name in ("embed.cls", "embed.pos", "pool.proj.weight"):
        nn.init.normal_(tower.get_parameter(name), std=width**-0.5)
    return Dual(tower, text_tower(text, embed, act, eps), LOG_SCALE)


def clip_resnet(
    image: ResNetSize, text: TextSize, embed: int, act: str = "quick_gelu", eps: float = 1e-5
) -> Dual:
    """CLIP with the modified ResNet; `act` and `eps` are the text tower's."""
    width = 32 * image.width
    tower = ConvEncoder(
        trunk=ModifiedResNet(image.blocks, image.width),
        pool=AttentionPool(image.pixels // 32, width, image.heads, embed),
    )
    for linear in ("q", "k", "v", "out"):
        nn.init.normal_(tower.get_parameter(f"pool.{linear}.weight"), std=width**-0.5)
    for module in tower.trunk.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
    return Dual(tower, text_tower(text, embed, act, eps), LOG_SCALE)


def clip_small(image: SmallSize, text: WordSize, embed: int, eps: float = 1e-5) -> Dual:
    """For pictures of some fifty pixels and a few minutes: a residual tower, and a bag of words.

    Not of the paper: where a name has three words, their order says little, and the time that a
    transformer would take is worth more in the picture's tower.
    """
    feature, hidden = image.width * 2 ** (len(image.blocks) - 1), 2 * text.width
    projection = nn.Sequential(nn.Linear(text.width, hidden), nn.GELU(), nn.Linear(hidden, embed))
    return Dual(
        image=ConvEncoder(
            trunk=SmallResNet(image.blocks, image.width),
            pool=GridMean(nn.Linear(feature, embed)),
        ),
        text=Encoder(
            Words(text.vocab, text.width), Stack([]), Bag(layer_norm(text.width, eps), projection)
        ),
        log_scale=LOG_SCALE,
    )


def text_tower(size: TextSize, embed: int, act: str, eps: float) -> Encoder:
    """GPT-2's shape: causal, pre-norm, read at the end-of-text token."""
    d, depth = size.width, size.layers
    tower = Encoder(
        embed=TextEmbed(size.vocab, size.length, d, causal=True),
        stack=Stack([pre_layer(d, size.heads, activation(act), eps) for _ in range(depth)]),
        pool=Last(norm=layer_norm(d, eps), proj=nn.Linear(d, embed, bias=False)),
    )
    for block in tower.stack.blocks:
        nn.init.normal_(block.get_parameter("attn.f.qkv.weight"), std=d**-0.5)
        nn.init.normal_(block.get_parameter("attn.f.out.weight"), std=d**-0.5 * (2 * depth) ** -0.5)
        nn.init.normal_(block.get_parameter("mlp.f.up.weight"), std=(2 * d) ** -0.5)
        nn.init.normal_(block.get_parameter("mlp.f.down.weight"), std=d**-0.5 * (2 * depth) ** -0.5)
    nn.init.normal_(tower.get_parameter("pool.proj.weight"), std=d**-0.5)
    return tower


def _resnet(
    pixels: int, blocks: tuple, width: int, text: tuple[int, int], embed: int
) -> Declaration:
    image = ResNetSize(pixels, blocks, width, heads=width // 2)
    return Declaration(clip_resnet, dict(image=image, text=_text(*text), embed=embed))


def _vit(pixels: int, patch: int, size: tuple[int, int, int], text: tuple[int, int], embed: int):
    image = ViTSize(pixels, patch, *size)
    return Declaration(clip_vit, dict(image=image, text=_text(*text), embed=embed))


def _text(width: int, heads: int) -> TextSize:
    return TextSize(vocab=49408, length=77, width=width, layers=12, heads=heads)


SIZES = {  # tables 19 and 20 of the paper
    "RN50": _resnet(224, (3, 4, 6, 3), 64, (512, 8), 1024),
    "RN101": _resnet(224, (3, 4, 23, 3), 64, (512, 8), 512),
    "RN50x4": _resnet(288, (4, 6, 10, 6), 80, (640, 10), 640),
    "RN50x16": _resnet(384, (6, 8, 18, 8), 96, (768, 12), 768),
    "RN50x64": _resnet(448, (3, 15, 36, 10), 128, (1024, 16), 1024),
    "ViT-B/32": _vit(224, 32, (768, 12, 12), (512, 8), 512),
    "ViT-B/16": _vit(224, 16, (768, 12, 12), (512, 8), 512),
    "ViT-L/14": _vit(224, 14, (1024, 24, 16), (768, 12), 768),
    "ViT-L/14@336": _vit(336, 14, (1024, 24, 16), (768, 12), 768),
}
SMALL = Declaration(  # trains in minutes on two cores: `sensorium train clip`
    clip_small,
    dict(
        image=SmallSize(48, (1, 1, 1, 1), 32),
        text=WordSize(vocab=49408, length=32, width=128),
        embed=128,
    ),
)
SMALL_VIT = Declaration(  # a tower for others to read: `sensorium train clip.tower`
    clip_vit,
    dict(
        image=ViTSize(64, 16, 192, 6, 3),
        text=TextSize(vocab=49408, length=32, width=128, layers=1, heads=2),
        embed=128,
    ),
)
_TINY_TEXT = TextSize(vocab=49408, length=77, width=64, layers=2, heads=1)
TINY = Declaration(clip_vit, dict(image=ViTSize(64, 16, 64, 2, 1), text=_TINY_TEXT, embed=16))
TINY_RESNET = Declaration(
    clip_resnet, dict(image=ResNetSize(64, (1, 1, 1, 1), 16, 8), text=_TINY_TEXT, embed=16)
)
TINY_SMALL = Declaration(
    clip_small,
    dict(image=SmallSize(32, (1, 1, 1, 1), 8), text=WordSize(49408, 77, 32), embed=16),
)
PAPER = Paper(
    name="CLIP",
    year=2021,
    citation="Radford et al., Learning Transferable Visual Models, arXiv 2103.00020",
    text="GPT2",
    vision="ViT, ResNet",
    fusion="dual encoder",
    objectives="CMCL",
    data="self-collected",
    notes={
        "data": "400 million pairs",
        "fusion": "the survey lists it under dual encoders",
    },
)
