"""Attention of tokens to themselves and to a memory."""

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.sight import View, attend


class SelfAttention(nn.Module):
    """Multi-head attention of tokens to themselves, queries, keys and values in one product.

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
        self.qkv = nn.Linear(width, 3 * width, bias=bias)  # q, then k, then v
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b n d"]:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).unbind(2)
        return self.out(attend(q, k, v, view.see))


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
