"""Attention of language models: grouped queries, rotation, position biases, and explicit slots."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.nn.slots import Kept, Source
from sensorium.nn.turn import Turn

BLOCK, LONG = 64, 128  # queries that are worked on together, and texts that are worth it


class Heads(NamedTuple):
    """How attention is shared out.

    Attributes:
        count: heads of queries.
        groups: heads of keys and values, a divisor of `count` (Ainslie et al. 2023); as many as
            `count` in plain attention.
        width: of a head.
        scale: of the scores; None stands for 1 / sqrt(width).
    """

    count: int
    groups: int
    width: int
    scale: float | None = None


class GroupedAttention(nn.Module):
    """Attention of tokens to those of their text, over slots where the turn has some.

    Args:
        width: d.
        bias: of queries, keys and values, and of the output.
        window: how many tokens back a query sees, itself included; None: all.
        clip: the largest size of queries, keys and values (MPT's clip_qkv); None: any.
        norms: of queries and keys before they are cut into heads.
    """

    def __init__(
        self,
        width: int,
        heads: Heads,
        bias: tuple[bool, bool] = (False, False),
        window: int | None = None,
        clip: float | None = None,
        norms: tuple[nn.Module, nn.Module] | None = None,
    ):
        super().__init__()
        if heads.groups < 1 or heads.count % heads.groups:
            raise ValueError(f"{heads.count} heads cannot share {heads.groups} of keys and values")
        self.heads, self.window, self.clip = heads, window, clip
        both = (heads.count + 2 * heads.groups) * heads.width
        self.qkv = nn.Linear(width, both, bias=bias[0])  # queries, then keys, then values
        self.out = nn.Linear(heads.count * heads.width, width, bias=bias[1])
        self.norms = nn.ModuleList(norms or ())

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        h, g, w, _ = self.heads
        mixed = self.qkv(x[0])
        if self.clip is not None:
            mixed = mixed.clamp(-self.clip, self.clip)
        if len(self.norms):
            q, k, v = mixed.split((h * w, g * w, g * w), dim=1)
            mixed = torch.cat([self.norms[0](q), self.norms[1](k), v], dim=1)
        both, v = mixed.view(-1, h + 2 * g, w).split((h + g, g), dim=1)
        if turn.turned is not None:
            both = turn.turned(both)
        q, k = both.split((h, g), dim=1)
        kept = turn.kept
        if kept is not None:
            turn.write(kept, k, v)
        if kept is None or turn.fresh:
            keys, values = turn.spread(k), turn.spread(v)
        else:
            keys, values = kept.k[:, :, : turn.keys], kept.v[:, :, : turn.keys]
        mask: Tensor | None = turn.mask if turn.bias is None else turn.bias
        if self.window is not None and turn.keys > self.window:
            mask = narrowed(mask, turn.near(self.window))
        return self.out(turn.gather(attend(turn.spread(q), keys, values, mask, self.heads)))


class MemoryAttention(nn.Module):
    """Attention of tokens to a memory: the states of an encoder, or what was kept of them."""

    def __init__(self, width: int, heads: Heads, memory_width: int, bias: tuple[bool, bool]):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, heads.count * heads.width, bias=bias[0])
        self.kv = nn.Linear(memory_width, 2 * heads.groups * heads.width, bias=bias[0])
        self.out = nn.Linear(heads.count * heads.width, width, bias=bias[1])

    def remember(self, memory: Source) -> Kept:
        """The memory's keys and values, to be worked out once for all tokens that read it.

        They are laid out head by head, as the kernel reads them with every token.
        """
        k, v = self.kv(memory.x[0]).view(memory.x.shape[1], 2, -1, self.heads.width).unbind(1)
        return Kept(*(part[memory.rows].transpose(1, 2).contiguous() for part in (k, v)))

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        if turn.cross is not None:
            kept, mask = turn.cross, turn.seen
        elif turn.source is not None:
            kept, mask = self.remember(turn.source), turn.source.mask
        else:
            raise ValueError("a layer that reads a memory was given none")
        q = turn.spread(self.q(x[0]).view(x.shape[1], -1, self.heads.width))
        if mask is None:
            mask = q.new_ones((1, 1, 1, kept.k.shape[2]), dtype=torch.bool)
        return self.out(turn.gather(attend(q, kept.k, kept.v, mask, self.heads)))


def narrowed(mask: Tensor | None, near: Bool[Tensor, "b 1 n k"]) -> Tensor:
    """A mask, or a bias with a mask worked in, that lets nothing be seen but what is near."""
    if mask is None:
        return near
    return mask & near if mask.dtype == torch.bool else mask.masked_fill(~near, float("-inf"))


def attend(
    q: Float[Tensor, "b h n w"],
    k: Float[Tensor, "b g k w"],
    v: Float[Tensor, "b g k w"],
    mask: Tensor | None,
    heads: Heads,
) -> Float[Tensor, "b h n w"]:
    """Softmax attention in which every h / g heads share keys and values; mask None: causal.

    A single query a text sees every key that its mask leaves, so that its heads are laid beside
    each other as if they were queries, and keys are read once a group.
    """
    b, h, n, w = q.shape
    g, scale = k.shape[1], heads.scale
    if mask is None and n > LONG and q.device.type == "cpu" and not taught(q, k, v):
        return in_blocks(q, k, v, scale)
    if n == 1 and mask is None:  # the first token: it sees itself
        mask = q.new_ones((1, 1, 1, k.shape[2]), dtype=torch.bool)
    if n == 1 and g < h and mask is not None:
        rows = mask.expand(-1, h, -1, -1).reshape(-1, g, h // g, k.shape[2])
        out = F.scaled_dot_product_attention(
            q.reshape(b, g, h // g, w), k, v, attn_mask=rows, scale=scale
        )
        return out.reshape(b, h, 1, w)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, enable_gqa=g < h
    )


def taught(*parts: Tensor) -> bool:
    """Whether gradients are wanted, or a graph is traced, in which blocks would be unrolled."""
    wanted = torch.is_grad_enabled() and any(one.requires_grad for one in parts)
    return wanted or torch.compiler.is_compiling()


def in_blocks(
    q: Float[Tensor, "b h n w"],
    k: Float[Tensor, "b g k w"],
    v: Float[Tensor, "b g k w"],
    scale: float | None,
) -> Float[Tensor, "b h n w"]:
    """Causal attention, `BLOCK` queries at a time: a processor's kernel computes what it masks.

    Query i sees the first i + 1 keys, however many there are.
    """
    out, n = torch.empty_like(q), q.shape[2]
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        mask = torch.ones((end - start, end), dtype=torch.bool).tril(start)
        keys, values = k[:, :, :end], v[:, :, :end]
        out[:, :, start:end] = F.scaled_dot_product_attention(
            q[:, :, start:end], keys, values, mask, scale=scale, enable_gqa=k.shape[1] < q.shape[1]
        )
    return out
