"""A model some of whose linear maps learn a narrow addition (LoRA, Hu et al. 2021)."""

from typing import Any

from torch import nn

from sensorium.models.declaration import declared
from sensorium.nn.lowrank import widen

MAPS = ("decoder.", "attn.f.qkv", "attn.f.out", "mlp.f.gate_up", "mlp.f.down")
"""Every linear map of a language model's layers, as LLaVA's own recipe has it."""


def lora(of: dict[str, Any], rank: int, alpha: float, where: tuple[str, ...] = MAPS) -> nn.Module:
    """The model declared by `of` with additions; merged it is that model again.

    Args:
        of: the other model's declaration, as a manifest has it.
        rank: of the additions; LLaVA 1.5's is 128, with alpha 256.
        where: how names of the maps begin, then how they may end. Queries, keys and values are one
            map here, with one addition.

    Raises:
        ValueError: the declaration is not valid, or no map has such a name.
    """
    net = declared(of).build()
    widen(net, where, rank, alpha)
    return net
