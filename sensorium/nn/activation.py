"""Activations by name. A checkpoint says which one it was trained with; nothing is assumed."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the cheap GELU that the CLIP paper's weights were trained with."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {
    "gelu": nn.GELU,  # exact, with erf: timm, Hugging Face's ViT and BERT
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),  # flax's default, GPT-2, Google's ViT
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
}


def activation(name: str) -> nn.Module:
    """The activation called `name`.

    Raises:
        ValueError: no activation has that name; the message lists those that exist.
    """
    if name not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ValueError(f"activation {name!r} is not known; choose one of: {known}")
    return ACTIVATIONS[name]()
