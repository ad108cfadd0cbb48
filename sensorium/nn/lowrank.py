"""Linear maps that learn a narrow addition to weights that stay as they are.

LoRA (Hu et al. 2021, arXiv 2106.09685, section 4.1): W x + (alpha / rank) B A x. A starts by chance
and B at zero, so that at first nothing changes. Merged, W + (alpha / rank) B A is a plain weight.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class LowRank(nn.Linear):
    """A linear map with its addition; `weight` and `bias` keep their names.

    Args:
        of: the map that it starts as, whose weight it takes over.
        alpha: the addition is multiplied by alpha / rank.
    """

    def __init__(self, of: nn.Linear, rank: int, alpha: float):
        with torch.device("meta"):
            super().__init__(of.in_features, of.out_features, of.bias is not None)
        self.weight, self.bias = of.weight, of.bias
        self.rank, self.scale = rank, alpha / rank
        like = of.weight
        self.down = nn.Parameter(like.new_empty((rank, of.in_features)))
        self.up = nn.Parameter(like.new_zeros((of.out_features, rank)))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n e"]:
        narrow = F.linear(F.linear(x, self.down), self.up)
        return F.linear(x, self.weight, self.bias) + self.scale * narrow

    @torch.no_grad()
    def merged(self) -> Float[Tensor, "e d"]:
        """The weight of a plain map that does the same, added up in double precision."""
        added = self.scale * (self.up.double() @ self.down.double())
        return (self.weight.double() + added).to(self.weight.dtype)


def widen(net: nn.Module, where: Sequence[str], rank: int, alpha: float) -> list[str]:
    """Gives an addition to maps whose names begin with `where[0]` and end in one of the rest.

    Raises:
        ValueError: no map has such a name, or the rank is none.
    """
    if rank < 1 or len(where) < 2:
        raise ValueError(f"an addition of rank {rank} to the maps {list(where)} is none")
    start, ends = where[0], tuple(f".{end}" for end in where[1:])
    found = [
        name
        for name, module in net.named_modules()
        if type(module) is nn.Linear and name.startswith(start) and f".{name}".endswith(ends)
    ]
    if not found:
        raise ValueError(f"no linear map below {start!r} has a name that ends in {where[1:]}")
    for name in found:
        of = net.get_submodule(name)
        assert isinstance(of, nn.Linear)
        net.set_submodule(name, LowRank(of, rank, alpha))
    return found


def merged(net: nn.Module) -> dict[str, Tensor]:
    """The state of the net without additions that does the same."""
    wide = {name: m for name, m in net.named_modules() if isinstance(m, LowRank)}
    out = {}
    for key, tensor in net.state_dict().items():
        name, _, last = key.rpartition(".")
        if name not in wide or last not in ("down", "up"):
            out[key] = wide[name].merged() if name in wide and last == "weight" else tensor
    return out
