"""Who sees whom, worked out once a stack from the tokens' layout and handed to every block."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.types import Layout, Ragged, Tokens


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


class FirstOnly(NamedTuple):
    """Of each sample the first token alone (the samples have no layout)."""

    def of(self, x: Float[Tensor, "b n ..."]) -> Float[Tensor, "b 1 ..."]:
        """The wanted ones of all tokens' states."""
        return x[:, :1]

    def tokens(self, x: Float[Tensor, "b 1 d"]) -> Tokens:
        """The wanted tokens' states as tokens."""
        return Tokens(x)


class LastOnly(NamedTuple):
    """Of each of these texts, laid end to end, the last token alone."""

    at: Ragged

    def of(self, x: Float[Tensor, "1 t ..."]) -> Float[Tensor, "1 b ..."]:
        """The wanted ones of all tokens' states; `rows` repeat a text's last token to their end."""
        return x[:, self.at.rows[:, -1]]

    def tokens(self, x: Float[Tensor, "1 b d"]) -> Tokens:
        """The wanted tokens' states as texts of one token."""
        place, ones = torch.arange(x.shape[1], device=x.device), torch.ones_like(self.at.lengths)
        return Tokens(x, Ragged(place[:, None], place, ones, self.at.causal))


Only = FirstOnly | LastOnly | None


class View(NamedTuple):
    """What a block is given beside its tokens: their sight, and a memory to read, with its own.

    With `only` the block gives nothing but the states of those tokens.
    """

    see: Sight = None
    memory: Float[Tensor, "b k d"] | None = None
    see_memory: Sight = None
    only: Only = None


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
HIDDEN = -1e30  # a score that no softmax hears; finite, so that a row of them is not NaN


def attend(
    q: Float[Tensor, "b q h w"],
    k: Float[Tensor, "b k h w"],
    v: Float[Tensor, "b k h w"],
    see: Sight,
    only: Only = None,
) -> Float[Tensor, "b q d"]:
    """Softmax attention, heads joined again; `w` is the width of a head (d = h * w).

    With `only` the queries are those of the wanted tokens alone.
    """
    if isinstance(see, PerText):
        rows, back = see.at.rows, see.at.back
        k, v = k[0][rows].transpose(1, 2), v[0][rows].transpose(1, 2)  # b h n w
        if only is not None:  # the last token of a text sees all of it
            place = torch.arange(rows.shape[1], device=rows.device)
            mask = (place[None, :] < see.at.lengths[:, None])[:, None, None, :]
            return soft(q[0].unsqueeze(2), k, v, mask, causal=False).flatten(1)[None]
        out = soft(q[0][rows].transpose(1, 2), k, v, see.mask, causal=see.mask is None)
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
    if causal:
        assert mask is None, "a causal kernel reads no mask"
        mask = torch.ones(1, 1, n, k.shape[1], dtype=torch.bool, device=q.device).tril()
    if mask is None:
        none = q.new_empty(1)  # beta 0: not read
        score = torch.baddbmm(none, q, k.transpose(1, 2), beta=0, alpha=w**-0.5)
        return torch.bmm(score.softmax(dim=-1), v).view(b, h, n, w)
    hide = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, HIDDEN)
    hide = hide.expand(b, h, n, -1).flatten(0, 1)
    score = torch.baddbmm(hide, q, k.transpose(1, 2), alpha=w**-0.5)
    out = torch.bmm(score.softmax(dim=-1), v).view(b, h, n, w)
    return out if causal else out * mask.any(dim=-1, keepdim=True)  # who sees nothing gets zero
