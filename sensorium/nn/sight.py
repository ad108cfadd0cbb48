"""Who sees whom, worked out once a stack from the tokens' layout and handed to every block."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.nn.dropout import dropped
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


class Even(NamedTuple):
    """Samples of one length laid end to end, all of whose tokens see each other: no mask."""

    count: int


class Across(NamedTuple):
    """Tokens that read those of another sequence, sample by sample.

    A side that is laid end to end has its `Ragged`; None: one row a sample. `mask` None: a sample's
    token reads every one of the other side's.
    """

    asks: Ragged | None
    told: Ragged | None
    mask: Bool[Tensor, "b 1 _ k"] | None


Sight = Masked | PerText | Even | Across | None


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

    With `only` the block gives nothing but the states of those tokens. `blind` tokens have nothing
    to read in the memory; None: there are none.
    """

    see: Sight = None
    memory: Float[Tensor, "b k d"] | None = None
    see_memory: Sight = None
    only: Only = None
    blind: Bool[Tensor, "b n 1"] | None = None


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
    if even(at):
        return Even(len(at.lengths))
    return PerText(at, real(at))


def across(asks: Tokens, told: Tokens) -> tuple[Sight, Bool[Tensor, "b n 1"] | None]:
    """The sight of tokens into a memory, and which of them see nothing there (None: all see).

    Raises:
        ValueError: one side says who may see whom by a `Layout`, and the other does not.
    """
    if isinstance(asks.at, Layout) and isinstance(told.at, Layout):
        mask = sees(asks.at, told.at)
        return Masked(mask), ~mask.any(dim=-1).transpose(1, 2)
    if isinstance(asks.at, Layout) or isinstance(told.at, Layout):
        raise ValueError("a memory is read by a Layout on both sides, or by none: lay them alike")
    if told.at is None:
        return (None if asks.at is None else Across(asks.at, None, None)), None
    lengths = told.at.lengths
    mask = None if uniform(told.at) else real(told.at)
    if not torch.compiler.is_compiling() and bool((lengths > 0).all()):
        return Across(asks.at, told.at, mask), None
    blind = lengths == 0
    if asks.at is None:
        return Across(None, told.at, mask), blind[:, None, None].expand(-1, asks.x.shape[1], -1)
    sample = (asks.at.back // asks.at.rows.shape[1]).clamp(max=len(lengths) - 1)
    return Across(asks.at, told.at, mask), blind[sample][None, :, None]


def real(at: Ragged) -> Bool[Tensor, "b 1 1 n"]:
    """True where a place of `rows` is a token and not the repetition that fills it up."""
    place = torch.arange(at.rows.shape[1], device=at.rows.device)
    return (place[None, :] < at.lengths[:, None])[:, None, None, :]


def even(at: Ragged) -> bool:
    """Whether tokens laid end to end are also rows of one length, end to end (not when traced)."""
    return at.back.shape[0] == at.rows.numel() and uniform(at)


def uniform(at: Ragged) -> bool:
    """Whether no row is filled up (not when traced: that would ask for the values)."""
    if torch.compiler.is_compiling():
        return False
    return bool((at.lengths == at.rows.shape[1]).all())


SHORT = 256  # keys up to which a processor is faster with plain products in bfloat16
HIDDEN = -1e30  # a score that no softmax hears; finite, so that a row of them is not NaN


def attend(
    q: Float[Tensor, "b q h w"],
    k: Float[Tensor, "c k h w"],
    v: Float[Tensor, "c k h w"],
    see: Sight,
    only: Only = None,
    drop: float = 0.0,
) -> Float[Tensor, "b q d"]:
    """Softmax attention, heads joined again; `w` is the width of a head (d = h * w).

    Keys have as many rows as queries (c = b) unless one side alone is laid end to end.

    With `only` the queries are those of the wanted tokens alone. `drop` is the chance that a share
    of attention is set to zero (the caller says 0 outside training).
    """
    if isinstance(see, PerText):
        rows, back = see.at.rows, see.at.back
        k, v = k[0][rows].transpose(1, 2), v[0][rows].transpose(1, 2)  # b h n w
        if only is not None:  # the last token of a text sees all of it
            return soft(q[0].unsqueeze(2), k, v, real(see.at), False, drop).flatten(1)[None]
        out = soft(q[0][rows].transpose(1, 2), k, v, see.mask, see.mask is None, drop)
        return out.transpose(1, 2).flatten(2).flatten(0, 1)[back][None]
    if isinstance(see, Even):
        q, k, v = (z.view(see.count, -1, *z.shape[2:]).transpose(1, 2) for z in (q, k, v))
        return soft(q, k, v, None, False, drop).transpose(1, 2).flatten(2).flatten(0, 1)[None]
    if isinstance(see, Across):
        q = (q if see.asks is None else q[0][see.asks.rows]).transpose(1, 2)
        k, v = (z if see.told is None else z[0][see.told.rows] for z in (k, v))
        out = soft(q, k.transpose(1, 2), v.transpose(1, 2), see.mask, False, drop)
        out = out.transpose(1, 2).flatten(2)
        return out if see.asks is None else out.flatten(0, 1)[see.asks.back][None]
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    out = soft(q, k, v, None if see is None else see.mask, False, drop)
    return out.transpose(1, 2).flatten(2)


def soft(
    q: Float[Tensor, "b h n w"],
    k: Float[Tensor, "b h k w"],
    v: Float[Tensor, "b h k w"],
    mask: Bool[Tensor, "b _ _ k"] | None,
    causal: bool,
    drop: float = 0.0,
) -> Float[Tensor, "b h n w"]:
    """softmax(q k^T / sqrt(w)) v, by torch's kernel, or by plain products where those are faster.

    For processors torch's kernel takes longer than plain products over short sequences in bfloat16,
    and several times as long to go back through them (see benchmarks/attention.py).
    """
    slow = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if not slow or k.shape[2] > SHORT:
        return F.scaled_dot_product_attention(q, k, v, mask, drop, causal)
    b, h, n, w = q.shape
    q, k, v = (z.reshape(b * h, -1, w) for z in (q, k, v))
    if causal:
        assert mask is None, "a causal kernel reads no mask"
        mask = torch.ones(1, 1, n, k.shape[1], dtype=torch.bool, device=q.device).tril()
    if mask is None:
        none = q.new_empty(1)  # beta 0: not read
        score = torch.baddbmm(none, q, k.transpose(1, 2), beta=0, alpha=w**-0.5)
        return torch.bmm(dropped(score.softmax(dim=-1), drop, True), v).view(b, h, n, w)
    hide = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, HIDDEN)
    hide = hide.expand(b, h, n, -1).flatten(0, 1)
    score = torch.baddbmm(hide, q, k.transpose(1, 2), alpha=w**-0.5)
    out = torch.bmm(dropped(score.softmax(dim=-1), drop, True), v).view(b, h, n, w)
    return out if causal else out * mask.any(dim=-1, keepdim=True)  # who sees nothing gets zero
