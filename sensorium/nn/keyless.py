"""Projections whose keys have no bias: Whisper's, where it would change no share of attention."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import QKV
from sensorium.nn.sight import Only


class KeylessQKV(QKV):
    """Queries, keys and values in one product; `bias` is that of queries, then of values."""

    def __init__(self, width: int):
        super().__init__(width, 3 * width, bias=False)
        self.bias = nn.Parameter(torch.zeros(2 * width))

    def whole(self) -> Float[Tensor, " three_d"]:
        """The bias of all three, nothing for keys."""
        q, v = self.bias.chunk(2)
        return torch.cat([q, torch.zeros_like(q), v])

    def forward(self, x: Float[Tensor, "*t d"]) -> Float[Tensor, "*t three_d"]:
        return F.linear(x, self.weight, self.whole())

    def of(
        self, x: Float[Tensor, "b n d"], only: Only
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """As `QKV.of`."""
        if only is None:
            q, k, v = self(x).chunk(3, dim=2)
            return q, k, v
        d, whole = self.in_features, self.whole()
        q = F.linear(only.of(x), self.weight[:d], whole[:d])
        k, v = F.linear(x, self.weight[d:], whole[d:]).chunk(2, dim=2)
        return q, k, v


class KeylessKV(nn.Linear):
    """Keys and values of a memory in one product; `bias` is that of the values."""

    def __init__(self, width: int):
        super().__init__(width, 2 * width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))

    def whole(self) -> Float[Tensor, " two_d"]:
        """The bias of both, nothing for keys."""
        return torch.cat([torch.zeros_like(self.bias), self.bias])

    def forward(self, input: Float[Tensor, "*t d"]) -> Float[Tensor, "*t two_d"]:
        return F.linear(input, self.weight, self.whole())
