"""Attention of tokens to themselves and to a memory."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.sight import Only, View, attend


class QKV(nn.Linear):
    """Queries, then keys, then values of all tokens, in one product."""

    def of(
        self, x: Float[Tensor, "b n d"], only: Only
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """The three of them; with `only` the queries of those tokens alone."""
        if only is None:
            q, k, v = self(x).chunk(3, dim=2)
            return q, k, v
        d, bias = self.in_features, self.bias
        q = F.linear(only.of(x), self.weight[:d], None if bias is None else bias[:d])
        k, v = F.linear(x, self.weight[d:], None if bias is None else bias[d:]).chunk(2, dim=2)
        return q, k, v


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to themselves.

    With a view of some tokens `only`, those alone ask, and theirs is all that it gives.

    Args:
        width: d, a multiple of `heads`.
        heads: number of heads.
        bias: whether the four projections have a bias.
    """

    def __init__(self, width: int, heads: int, bias: bool = True):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be shared by {heads} heads")
        self.heads = heads
        self.qkv = QKV(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b q d"]:
        parts = self.qkv.of(x, view.only)
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in parts)
        return self.out(attend(q, k, v, view.see, view.only))


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to a memory of another length (and width, `memory_width`)."""

    def __init__(self, width: int, heads: int, memory_width: int | None = None, bias: bool = True):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be shared by {heads} heads")
        self.heads = heads
        self.q = nn.Linear(width, width, bias=bias)
        self.kv = nn.Linear(memory_width or width, 2 * width, bias=bias)  # k, then v
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b n d"]:
        if view.memory is None:
            raise ValueError("cross-attention was given no memory: pass `memory=` to the stack")
        b, n, d = x.shape
        q = self.q(x).view(b, n, self.heads, -1)
        k, v = self.kv(view.memory).view(b, -1, 2, self.heads, d // self.heads).unbind(2)
        return self.out(attend(q, k, v, view.see_memory))
