"""What the layers of a language model are given beside their tokens, worked out once a pass."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.nn.rope import Rope, Turned
from sensorium.nn.runs import Seen
from sensorium.nn.slots import Cache, Kept, Source
from sensorium.types import Ids


class Turn(NamedTuple):
    """Tokens of b texts, laid end to end (see `types.Ids`), and what they may see.

    Attributes:
        pos: each token's position in its text, those before it in the cache counted.
        rows, back: as in `types.Ids`; None where every text has one token: row i is token i.
        keys: how many slots a query may look at, the longest text's.
        fresh: nothing stands in the cache before these tokens.
        mask: True where a query may see a key; None: all before it and itself, by a causal kernel.
        bias: added to the scores, with the mask worked in, where positions are a bias.
        turned: the rotation of queries and keys, where positions are one.
        kept: the slots of this layer, to write to and read from.
        source: the memory that cross-attention reads; `cross` instead, where its keys and values
            were worked out before.
        media: the pictures that words look at; `cross` then are those of earlier tokens.
    """

    pos: Int[Tensor, " t"]
    rows: Int[Tensor, "b n"] | None
    back: Int[Tensor, " t"] | None
    keys: int
    fresh: bool
    mask: Bool[Tensor, "b 1 n k"] | None = None
    bias: Float[Tensor, "b h n k"] | None = None
    turned: Turned | None = None
    kept: Kept | None = None
    source: Source | None = None
    cross: Kept | None = None
    seen: Bool[Tensor, "b 1 1 m"] | None = None
    media: Seen | None = None

    def spread(self, x: Float[Tensor, "t h w"]) -> Float[Tensor, "b h n w"]:
        """Tokens end to end as rows, for attention."""
        return x[:, :, None] if self.rows is None else x[self.rows].transpose(1, 2)

    def gather(self, x: Float[Tensor, "b h n w"]) -> Float[Tensor, "1 t d"]:
        """Rows as tokens end to end again, heads joined."""
        if self.back is None:
            return x.flatten(1)[None]
        return x.transpose(1, 2).flatten(2).flatten(0, 1)[self.back][None]

    def write(self, kept: Kept, k: Float[Tensor, "t g w"], v: Float[Tensor, "t g w"]) -> None:
        """Puts keys and values into the slots of their positions."""
        if self.rows is None or self.back is None:
            text = torch.arange(len(self.pos), device=self.pos.device)
        else:
            text = self.back // self.rows.shape[1]
        kept.k[text, :, self.pos] = k
        kept.v[text, :, self.pos] = v

    def near(self, window: int) -> Bool[Tensor, "b 1 n k"]:
        """True where a key is the query's own, or one of the window - 1 before it."""
        place = torch.arange(self.keys, device=self.pos.device)
        q = self.queries()[:, None, :, None]
        return (place <= q) & (place > q - window)

    def queries(self) -> Int[Tensor, "b n"]:
        """The positions of the queries, row by row."""
        return self.pos[:, None] if self.rows is None else self.pos[self.rows]


def turn(
    text: Ids, cache: Cache | None, rope: Rope | None, bias: nn.Module | None, like: Tensor
) -> Turn:
    """What causal layers need for these tokens, behind what the cache holds.

    Args:
        like: a tensor of the type that the net works in.

    Raises:
        ValueError: the cache has no room.
    """
    pos, before = text.pos, [0] * len(text.lengths) if cache is None else cache.lengths
    lengths = text.lengths.tolist()
    if cache is not None:
        cache.grow(lengths)
    single = text.rows.shape[1] == 1 and len(text.ids) == len(lengths)
    rows, back = (None, None) if single else (text.rows, text.back)
    if any(before):
        start = torch.tensor(before, device=pos.device)
        pos = pos + (start if rows is None else start[text.back // text.rows.shape[1]])
    keys = max(a + b for a, b in zip(before, lengths, strict=True))
    turned = rope(pos, like.dtype) if rope is not None else None
    made = Turn(pos, rows, back, keys, not any(before), turned=turned)
    if bias is not None:
        added = bias(made.queries(), keys).to(like.dtype)
        made = made._replace(bias=added.masked_fill(~made.near(keys), float("-inf")))
    elif not made.fresh:
        made = made._replace(mask=made.near(keys))
    return made


def around(text: Ids, bias: nn.Module | None, like: Tensor) -> Turn:
    """What layers need in which all tokens of a text see each other."""
    n = text.rows.shape[1]
    real = torch.arange(n, device=text.ids.device)[None] < text.lengths[:, None]
    mask = real[:, None, None]
    made = Turn(text.pos, text.rows, text.back, n, True, mask=mask)
    if bias is None:
        return made
    added = bias(made.queries(), n).to(like.dtype).masked_fill(~mask, float("-inf"))
    return made._replace(bias=added)


def source(x: Float[Tensor, "1 s d"], text: Ids) -> Source:
    """The states of b texts as a memory."""
    n = text.rows.shape[1]
    real = torch.arange(n, device=text.ids.device)[None] < text.lengths[:, None]
    return Source(x, text.rows, real[:, None, None])
