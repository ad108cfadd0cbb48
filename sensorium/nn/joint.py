"""Two sequences to a sample laid end to end as one, and taken apart again."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.types import Layout, Ragged, Tokens


class Seam(NamedTuple):
    """Where the tokens of the two sequences stand in the joint one, and what their layouts were."""

    first: Int[Tensor, " t"]
    second: Int[Tensor, " r"]
    first_at: Ragged
    second_at: Ragged


def end_to_end(tokens: Tokens) -> Tokens:
    """The same tokens in one row, whatever they were: rows of equal length lie end to end.

    Raises:
        ValueError: who may see whom is said by a `Layout`, which this would forget.
    """
    if isinstance(tokens.at, Layout):
        raise ValueError("tokens with a Layout cannot be laid end to end: use a Ragged, or none")
    if tokens.at is not None:
        return tokens
    b, n, _ = tokens.x.shape
    place = torch.arange(b * n, device=tokens.x.device)
    lengths = torch.full((b,), n, device=tokens.x.device)
    return Tokens(tokens.x.flatten(0, 1)[None], Ragged(place.view(b, n), place, lengths, False))


def join(first: Tokens, second: Tokens) -> tuple[Tokens, Seam]:
    """Early fusion: each sample's tokens of the first sequence, then those of the second.

    Sample follows sample, without padding; each token sees all of its sample. Tokens that belong to
    no sample (see `data.ragged`) stand at the end.
    """
    first, second = end_to_end(first), end_to_end(second)
    a, z = first.at, second.at
    assert isinstance(a, Ragged) and isinstance(z, Ragged)
    at, order, seam = joined(a, z)
    return Tokens(torch.cat([first.x, second.x], dim=1)[:, order], at), seam


def joined(a: Ragged, z: Ragged) -> tuple[Ragged, Int[Tensor, " t"], Seam]:
    """The layout of two sequences as one, where each of its tokens comes from, and the way back."""
    lengths, device = a.lengths + z.lengths, a.lengths.device
    b, na, nz = len(lengths), a.rows.shape[1], z.rows.shape[1]
    n = na + nz if torch.compiler.is_compiling() else max(int(lengths.max()), 1)
    place_a = a.back // na * n + a.back % na
    sample = z.back // nz
    place_z = sample * n + a.lengths[sample] + z.back % nz
    t, r = a.back.shape[0], z.back.shape[0]
    beyond = b * n
    place_a = place_a.where(torch.arange(t, device=device) < a.lengths.sum(), beyond)
    place_z = place_z.where(torch.arange(r, device=device) < z.lengths.sum(), beyond)
    place = torch.cat([place_a, place_z])
    order = place.argsort(stable=True)
    where = torch.empty_like(order)
    where[order] = torch.arange(t + r, device=device)
    column = torch.arange(n, device=device)
    starts = lengths.cumsum(0) - lengths
    rows = starts[:, None] + torch.minimum(column[None, :], lengths[:, None] - 1)
    rows = rows.clamp(min=0)  # where both are empty
    back = place[order].clamp(max=beyond - 1)
    at = Ragged(rows, back, lengths, causal=False)
    return at, order, Seam(where[:t], where[t:], a, z)


def apart(x: Float[Tensor, "1 t d"], seam: Seam) -> tuple[Tokens, Tokens]:
    """The states of the first and of the second sequence, laid end to end as they came."""
    return Tokens(x[:, seam.first], seam.first_at), Tokens(x[:, seam.second], seam.second_at)
