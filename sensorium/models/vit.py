"""ViT: "An Image is Worth 16x16 Words" (Dosovitskiy et al. 2020, arXiv 2010.11929).

A picture is cut into patches; each is a token; a class token stands in front; learned positions are
added; a plain pre-norm transformer reads them; the class token's state is the picture's feature.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.encoder import Classifier, Encoder
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.embed import PatchEmbed
from sensorium.nn.pool import First


class Size(NamedTuple):
    """Pixels and patch are sides; the MLP is `hidden` wide."""

    pixels: int
    patch: int
    width: int
    layers: int
    heads: int
    hidden: int


def vit(
    size: Size, classes: int, act: str = "gelu", eps: float = 1e-6, pre_logits: int | None = None
) -> Classifier:
    """The encoder and a linear head that starts at zero (section 3.1).

    Args:
        classes: width of the head; 0 for features only.
        act: "gelu" as in timm and Hugging Face; the original flax code computes "gelu_tanh".
        eps: 1e-6 in the original and timm, 1e-12 in Hugging Face's configuration.
        pre_logits: width of the hidden layer with tanh that the paper's pre-training heads have.
    """
    s = size
    tower = Encoder(
        embed=PatchEmbed(s.pixels, s.patch, s.width, bias=True),
        stack=Stack(
            [pre_layer(s.width, s.heads, activation(act), eps, s.hidden) for _ in range(s.layers)],
            norm=layer_norm(s.width, eps),
        ),
        pool=First(norm=nn.Identity(), proj=pre_logits_layer(s.width, pre_logits)),
    )
    for block in tower.stack.blocks:
        for name, p in block.named_parameters():
            if name.endswith("weight") and p.dim() == 2:
                nn.init.xavier_uniform_(p)
            elif "mlp.f" in name:
                nn.init.normal_(p, std=1e-6)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
    return Classifier(tower, linear_head(pre_logits or s.width, classes))


def pre_logits_layer(width: int, hidden: int | None) -> nn.Module:
    """Linear and tanh, as pre-training heads have it; nothing where `hidden` is None."""
    if hidden is None:
        return nn.Identity()
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh())


def linear_head(width: int, classes: int) -> nn.Module:
    """One logit a class, zero at the start, so that fine-tuning begins at chance."""
    if classes == 0:
        return nn.Identity()
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


SIZES = {
    "Ti/16": Declaration(vit, dict(size=Size(224, 16, 192, 12, 3, 768), classes=1000)),
    "S/16": Declaration(vit, dict(size=Size(224, 16, 384, 12, 6, 1536), classes=1000)),
    "B/32": Declaration(vit, dict(size=Size(224, 32, 768, 12, 12, 3072), classes=1000)),
    "B/16": Declaration(vit, dict(size=Size(224, 16, 768, 12, 12, 3072), classes=1000)),
    "L/16": Declaration(vit, dict(size=Size(224, 16, 1024, 24, 16, 4096), classes=1000)),
    "H/14": Declaration(vit, dict(size=Size(224, 14, 1280, 32, 16, 5120), classes=1000)),
}
TINY = Declaration(vit, dict(size=Size(32, 8, 64, 2, 2, 128), classes=10))
PAPER = Paper(
    name="ViT",
    year=2020,
    citation="Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv 2010.11929",
    text="none",
    vision="linear patches",
    fusion="encoder alone",
    objectives="classification",
    data="JFT-300M, ImageNet-21k, ImageNet-1k",
)
