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
        drop: chance that a share of attention is set to zero in training.
    """

    def __init__(self, width: int, heads: int, bias: bool = True, drop: float = 0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be shared by {heads} heads")
        self.heads, self.drop = heads, drop
        self.qkv = QKV(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b q d"]:
        parts = self.qkv.of(x, view.only)
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in parts)
        drop = self.drop if self.training else 0.0
        return self.out(attend(q, k, v, view.see, view.only, drop))


class CrossAttention(nn.Module):
    """Multi-head attention of tokens to a memory of another length.

    Args:
        memory_width: width of the memory's tokens (None: `width`).
        inner: width of all heads together (None: `width`); ViLBERT's text of 768 asks with 1024.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        memory_width: int | None = None,
        bias: bool = True,
        drop: float = 0.0,
        inner: int | None = None,
    ):
        super().__init__()
        inner = inner or width
        if inner % heads:
            raise ValueError(f"width {inner} cannot be shared by {heads} heads")
        self.heads, self.drop = heads, drop
        self.q = nn.Linear(width, inner, bias=bias)
        self.kv = nn.Linear(memory_width or width, 2 * inner, bias=bias)  # k, then v
        self.out = nn.Linear(inner, width, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b n d"]:
        if view.memory is None:
            raise ValueError("cross-attention was given no memory: pass `memory=` to the stack")
        q = self.q(x).unflatten(2, (self.heads, -1))
        k, v = self.kv(view.memory).unflatten(2, (2, self.heads, -1)).unbind(2)
        drop = self.drop if self.training else 0.0
        return self.out(attend(q, k, v, view.see_memory, None, drop))
