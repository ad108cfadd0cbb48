"""Linear layers whose weights are kept in eight or four bits; what goes through them is not.

Eight bits: whole numbers from -127 to 127, a scale a row. Four bits: 0 to 15 in groups of 32 that
share a scale and a minimum. Rounded to the nearest, no data needed.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.layer import LayerStack

GROUP = 32


class LowBit(nn.Module):
    """A linear layer of `bits` bits, made from the weight of one.

    Raises:
        ValueError: neither eight nor four bits, or rows that are no whole groups.
    """

    def __init__(self, weight: Float[Tensor, "o k"], bias: Tensor | None, bits: int):
        super().__init__()
        if bits not in (4, 8):
            raise ValueError(f"weights of {bits} bits are not known; 8 and 4 are")
        wide = weight.detach().float()
        self.bits, self.rows, self.width = bits, *wide.shape
        if bits == 8:
            scale = wide.abs().amax(dim=1).clamp(min=1e-12) / 127
            packed = (wide / scale[:, None]).round().to(torch.int8)
            least = scale.new_zeros(0)
        else:
            if self.width % GROUP:
                raise ValueError(f"rows of {self.width} are no whole groups of {GROUP}")
            groups = wide.view(self.rows, -1, GROUP)
            least, most = groups.amin(dim=2), groups.amax(dim=2)
            scale = ((most - least) / 15).clamp(min=1e-12)
            q = (
                ((groups - least[..., None]) / scale[..., None])
                .round()
                .clamp(0, 15)
                .to(torch.uint8)
            )
            packed = (q[..., :16] | (q[..., 16:] << 4)).flatten(1)
        self.register_buffer("packed", packed.contiguous())
        self.register_buffer("scale", scale.contiguous())
        self.register_buffer("least", least.contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def full(self, dtype: torch.dtype) -> Float[Tensor, "o k"]:
        """The weight that these bits stand for."""
        packed, scale = self.get_buffer("packed"), self.get_buffer("scale")
        if self.bits == 8:
            return (packed.float() * scale[:, None]).to(dtype)
        q = packed.view(self.rows, -1, GROUP // 2)
        both = torch.cat([q & 15, q >> 4], dim=2).float()
        wide = both * scale[..., None] + self.get_buffer("least")[..., None]
        return wide.flatten(1).to(dtype)

    def forward(self, x: Float[Tensor, "*b k"]) -> Float[Tensor, "*b o"]:
        return F.linear(x, self.full(x.dtype), self.bias)


class Lowered(NamedTuple):
    """A net of fewer bits.

    Attributes:
        bytes: of its weights, and of those of the net it was made from.
        errors: of each layer, the root of the mean square of what rounding changed, over that of
            the weight.
    """

    net: nn.Module
    bytes: tuple[int, int]
    errors: dict[str, float]


def lowered(net: nn.Module, bits: int) -> Lowered:
    """A copy of a language model whose layers' linear maps, and head, have weights of few bits.

    Word vectors keep their precision; a head tied to them gets rounded rows of its own.

    Raises:
        ValueError: as `LowBit`; the net is no language model.
    """
    twin = copy.deepcopy(net).eval()
    stacks = [m for m in twin.modules() if isinstance(m, LayerStack)]
    if not stacks:
        raise ValueError("only language models are kept in fewer bits")
    errors: dict[str, float] = {}
    for name, module in list(twin.named_modules()):
        for key, child in list(module.named_children()):
            if type(child) is nn.Linear:
                made = LowBit(child.weight, child.bias, bits)
                weight = child.weight.detach().float()
                off = (made.full(torch.float32) - weight).square().mean().sqrt()
                size = weight.square().mean().sqrt()
                errors[f"{name}.{key}" if name else key] = float(off / size)
                module.add_module(key, made)
        own = dict(module.named_parameters(recurse=False)), dict(module.named_children())
        if "head" in vars(module).get("_modules", {}) and own[1].get("head") is None:
            word = module.get_submodule("embed.word")
            module.add_module("head", LowBit(word.get_parameter("weight"), None, bits))
    return Lowered(twin, (size_of(twin), size_of(net)), errors)


def size_of(net: nn.Module) -> int:
    """The bytes of parameters and buffers."""
    return sum(t.nbytes for t in (*net.parameters(), *net.buffers()))
