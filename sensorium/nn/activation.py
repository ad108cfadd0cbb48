"""Activations by name. A checkpoint says which one it was trained with; nothing is assumed."""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the cheap GELU that the CLIP paper's weights were trained with."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _Quick.apply(x)  # type: ignore[return-value]


class _Quick(torch.autograd.Function):
    """x * sigmoid(z), z = 1.702 x. That is SiLU(z) / 1.702, and its slope is SiLU's at z.

    Two kernels go back where autograd would take five, and one tensor is kept instead of two.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.sigmoid(1.702 * x).mul_(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        z = 1.702 * ctx.saved_tensors[0]
        if torch.is_grad_enabled():  # a second derivative is wanted, which the kernel has not
            s = torch.sigmoid(z)
            return grad * (s + z * s * (1 - s))
        return torch.ops.aten.silu_backward(grad, z)


class SquaredReLU(nn.Module):
    """max(x, 0)^2 (So et al. 2021), in the layers of Flamingo."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return torch.relu(x).square()


ACTIVATIONS = {
    "gelu": nn.GELU,  # exact, with erf: timm, Hugging Face's ViT and BERT
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),  # flax's default, GPT-2, Google's ViT
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "squared_relu": SquaredReLU,
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
