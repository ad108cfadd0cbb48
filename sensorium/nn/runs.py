"""Texts cut into runs that look at one picture each: Flamingo's masking, as a layout.

A word looks at the latest picture before it and at no other (Alayrac et al. 2022, section 3.1.3).
So the words from a picture's place up to the next one's are a row of queries, that picture's states
their keys, and nothing is masked: what a mask of words by pictures would hide is not computed.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.types import Ids


class Runs(NamedTuple):
    """Tokens laid end to end as runs (see `types.Ids` for `rows` and `back`).

    `which[s]` is the picture that run s looks at, counted over the batch; p + b: the one that text
    b saw last before these tokens, or none.
    """

    rows: Int[Tensor, "s n"]
    back: Int[Tensor, " t"]
    which: Int[Tensor, " s"]


class Seen(NamedTuple):
    """The states of p pictures, and which tokens look at which."""

    x: Float[Tensor, "p m e"]
    runs: Runs


def runs(text: Ids, place: Int[Tensor, " p"]) -> Runs:
    """The runs of texts in which picture i stands at `place[i]`, in order.

    A picture's own token sees it already.
    """
    t, p = len(text.ids), len(place)
    starts = text.lengths.cumsum(0) - text.lengths
    first = torch.zeros(t, dtype=torch.bool, device=text.ids.device)
    first[starts] = True
    first[place] = True
    number = first.long().cumsum(0) - 1
    begin = first.nonzero()[:, 0]
    ends = torch.cat([begin[1:], begin.new_tensor([t])])
    owner = torch.bucketize(begin, starts, right=True) - 1
    which = begin.new_full((t,), -1).index_copy(0, place, torch.arange(p, device=place.device))
    which = which[begin]
    which = torch.where(which < 0, p + owner, which)
    n = int((ends - begin).max())
    column = torch.arange(n, device=begin.device)
    rows = begin[:, None] + torch.minimum(column[None], (ends - begin)[:, None] - 1)
    place_in = torch.arange(t, device=begin.device) - begin[number]
    return Runs(rows, number * n + place_in, which)


def latest(text: Ids, made: Runs) -> Int[Tensor, " b"]:
    """What the last token of each text looks at, numbered as `Runs.which` is."""
    ends = text.lengths.cumsum(0) - 1
    return made.which[made.back[ends] // made.rows.shape[1]]
