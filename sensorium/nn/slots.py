"""What layers that generate remember: keys and values in slots that are laid out beforehand.

The token at position p of a row lies in slot p, so that rows of unequal length need no padding: a
query sees the slots up to its own position, and what lies behind them is never looked at. Going
back to a prefix is setting a length.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Kept(NamedTuple):
    """Keys and values of one layer; g heads, s slots."""

    k: Float[Tensor, "b g s w"]
    v: Float[Tensor, "b g s w"]


class Source(NamedTuple):
    """A memory that decoders read: the states of b texts (or sounds), end to end.

    `rows` places them as in `types.Ids`; `mask` is None where all are equally long.
    """

    x: Float[Tensor, "1 s d"]
    rows: Int[Tensor, "b m"]
    mask: Bool[Tensor, "b 1 1 m"] | None


class Cache:
    """The slots of all layers, of b rows.

    Args:
        layers: of each layer, its keys and values.
        lengths: how many tokens each row holds.
        cross: of each layer that reads a memory, the memory's keys and values; never reordered
            among themselves, but taken with their rows.
        seen: which places of the memory there are (None: all).
    """

    def __init__(
        self,
        layers: Sequence[Kept],
        lengths: Sequence[int],
        cross: Sequence[Kept] = (),
        seen: Bool[Tensor, "b 1 1 m"] | None = None,
    ):
        self.layers, self.lengths = list(layers), list(lengths)
        self.cross, self.seen = list(cross), seen

    @property
    def room(self) -> int:
        """How many slots each row has."""
        return self.layers[0].k.shape[2]

    def bytes(self) -> int:
        """The memory that keys and values take."""
        return sum(t.nbytes for kept in (*self.layers, *self.cross) for t in kept)

    def take(self, index: Sequence[int], room: int | None = None) -> "Cache":
        """A copy of these rows, in this order, possibly repeated: what beams and samples share.

        Args:
            room: slots of the copy; as many as now when None.

        Raises:
            ValueError: the rows hold more than `room`.
        """
        lengths = [self.lengths[i] for i in index]
        used, room = max(lengths, default=0), room or self.room
        if used > room:
            raise ValueError(f"rows of {used} tokens do not fit into {room} slots")
        at = torch.tensor(list(index), device=self.layers[0].k.device)

        def some(kept: Kept) -> Kept:
            return Kept(*(_taken(t, at, used, room) for t in kept))

        cross = [Kept(k.index_select(0, at), v.index_select(0, at)) for k, v in self.cross]
        seen = None if self.seen is None else self.seen.index_select(0, at)
        return Cache([some(one) for one in self.layers], lengths, cross, seen)

    def rewind(self, lengths: Sequence[int]) -> None:
        """Goes back, row by row, to the first so many tokens.

        Raises:
            ValueError: a row does not hold as many.
        """
        if len(lengths) != len(self.lengths) or any(
            not 0 <= new <= old for new, old in zip(lengths, self.lengths, strict=True)
        ):
            raise ValueError(f"rows of {self.lengths} tokens cannot go back to {list(lengths)}")
        self.lengths = list(lengths)

    def grow(self, by: Sequence[int]) -> None:
        """Makes sure that there are slots for so many more tokens in each row.

        Raises:
            ValueError: there are not. Nothing is ever pushed out to make room.
        """
        if len(by) != len(self.lengths):
            raise ValueError(f"{len(by)} texts for a cache of {len(self.lengths)} rows")
        full = max(old + new for old, new in zip(self.lengths, by, strict=True))
        if full > self.room:
            raise ValueError(
                f"a row would hold {full} tokens, and there is room for {self.room}: shorten it, or"
                " make a cache of more slots (old tokens are never dropped to make room)"
            )


def _taken(t: Tensor, at: Tensor, used: int, room: int) -> Tensor:
    out = t.new_zeros((len(at), t.shape[1], room, t.shape[3]))  # NaN times 0 would be NaN
    out[:, :, :used] = t[:, :, :used].index_select(0, at)
    return out
