"""Who sees whom, worked out once a stack from the tokens' layout and handed to every block."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.types import Layout, Ragged


class Masked(NamedTuple):
    """A dense mask; True where the query may see the key."""

    mask: Bool[Tensor, "b 1 n k"]


class PerText(NamedTuple):
    """Tokens laid end to end, attended text by text (see `types.Ragged`).

    `mask` is None for causal texts: there the padding stands after every real token, and a causal
    kernel never looks at it.
    """

    at: Ragged
    mask: Bool[Tensor, "b 1 1 n"] | None


Sight = Masked | PerText | None


class View(NamedTuple):
    """What a block is given beside its tokens: their sight, and a memory to read, with its own."""

    see: Sight = None
    memory: Float[Tensor, "b k d"] | None = None
    see_memory: Sight = None


def sees(query: Layout, key: Layout) -> Bool[Tensor, "b 1 n k"]:
    """True where the segments are equal and the key's rank is at most the query's."""
    same = query.seg[:, :, None] == key.seg[:, None, :]
    return (same & (key.rank[:, None, :] <= query.rank[:, :, None]))[:, None]


def sight(at: Layout | Ragged | None) -> Sight:
    """The sight of tokens among themselves."""
    if at is None:
        return None
    if isinstance(at, Layout):
        return Masked(sees(at, at))
    if at.causal:
        return PerText(at, None)
    place = torch.arange(at.rows.shape[1], device=at.rows.device)
    return PerText(at, (place[None, :] < at.lengths[:, None])[:, None, None, :])


SHORT = 256  # keys up to which a processor is faster with plain products in bfloat16


def attend(
    q: Float[Tensor, "b n h w"],
    k: Float[Tensor, "b k h w"],
    v: Float[Tensor, "b k h w"],
    see: Sight,
) -> Float[Tensor, "b n d"]:
    """Softmax attention, heads joined again; `w` is the width of a head (d = h * w)."""
    if isinstance(see, PerText):
        rows, back = see.at.rows, see.at.back
        q, k, v = (z[0][rows].transpose(1, 2) for z in (q, k, v))  # b h n w
        out = soft(q, k, v, see.mask, causal=see.mask is None)
        return out.transpose(1, 2).flatten(2).flatten(0, 1)[back][None]
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    out = soft(q, k, v, None if see is None else see.mask, causal=False)
    return out.transpose(1, 2).flatten(2)


def soft(
    q: Float[Tensor, "b h n w"],
    k: Float[Tensor, "b h k w"],
    v: Float[Tensor, "b h k w"],
    mask: Bool[Tensor, "b _ _ k"] | None,
    causal: bool,
) -> Float[Tensor, "b h n w"]:
    """softmax(q k^T / sqrt(w)) v, by torch's kernel, or by plain products where those are faster.

    For processors torch's kernel takes longer than plain products over short sequences in bfloat16,
    and several times as long to go back through them (see benchmarks/attention.py).
    """
    slow = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if not slow or k.shape[2] > SHORT:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    b, h, n, w = q.shape
    q, k, v = (z.reshape(b * h, -1, w) for z in (q, k, v))
    hide = hidden(mask, causal, n, k)
    if hide is None:
        none = q.new_empty(1)  # beta 0: not read
        score = torch.baddbmm(none, q, k.transpose(1, 2), beta=0, alpha=w**-0.5)
    else:
        hide = hide.expand(b, h, n, -1).flatten(0, 1)
        score = torch.baddbmm(hide, q, k.transpose(1, 2), alpha=w**-0.5)
    return torch.bmm(score.softmax(dim=-1), v).view(b, h, n, w)


def hidden(
    mask: Bool[Tensor, "b _ _ k"] | None, causal: bool, queries: int, keys: Float[Tensor, "_ k w"]
) -> Float[Tensor, "_ _ _ k"] | None:
    """What is added to the scores: 0 where the key is seen, minus infinity where it is not."""
    after = None
    if causal:
        whole = torch.ones(queries, keys.shape[1], dtype=torch.bool, device=keys.device)
        after = whole.triu(1)[None, None]
    out = after if mask is None else ~mask if after is None else ~mask | after
    if out is None:
        return None
    return torch.zeros_like(out, dtype=keys.dtype).masked_fill_(out, float("-inf"))
