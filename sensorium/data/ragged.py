"""Texts laid end to end without padding (`types.Ids`), and the ways there and back.

**Rounding.** A compiled net is compiled anew for every shape, so `lay` can round both sizes up:

* `round_length` widens `rows`. Its extra columns repeat the text's last token, which `rows` does
  past a text's end anyway; `lengths` is unchanged.
* `round_tokens` lengthens `ids`. The extra tokens stand behind the last text and belong to none:
  no row names them, so that no text sees them and no gradient comes from them; their id and
  position are 0, and their `back` is the last place of `rows`, so that they read a finite value.
  The batch keeps its b texts. What runs over all t tokens (a loss over words, say) must leave
  them out: the real tokens are the first `lengths.sum()`.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.data.errors import DataError
from sensorium.types import Ids


def lay(
    texts: Sequence[Sequence[int]],
    *,
    round_tokens: int | None = None,
    round_length: int | None = None,
    longest: int | None = None,
    kinds: Sequence[Sequence[int]] | None = None,
) -> Ids:
    """Lay b lists of ids end to end; `kinds` are their segments, id for id (None: all 0).

    `round_tokens` and `round_length` round the number of tokens and the width of `rows` up to a
    multiple, see above; the width is never rounded beyond `longest` (the positions of the net).
    DataError: no texts, a text without ids, one longer than `longest`, or kinds of another length.
    """
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int64)
    if kinds is not None and [len(kind) for kind in kinds] != lengths.tolist():
        raise DataError("kinds must have one number for every id of every text")
    widest = _check(lengths)
    if longest is not None and widest > longest:
        at = int(lengths.argmax())
        raise DataError(f"text {at} has {widest} tokens, the limit is {longest}: encode it shorter")
    n = _up(widest, round_length, "round_length")
    n = n if longest is None else min(n, longest)
    ids = torch.tensor(list(chain.from_iterable(texts)), dtype=torch.int64)
    t = _up(len(ids), round_tokens, "round_tokens")
    kind = None if kinds is None else torch.tensor(list(chain.from_iterable(kinds)))
    return _laid(ids, lengths, n, t, kind)


def unlay(ids: Ids) -> list[list[int]]:
    """The lists of ids that `lay` was given."""
    flat, ends = ids.ids.tolist(), ids.lengths.cumsum(0).tolist()
    return [flat[a:z] for a, z in zip([0, *ends[:-1]], ends, strict=True)]


def padded(ids: Ids, pad: int, length: int | None = None) -> Int[Tensor, "b n"]:
    """The texts one a row, filled up with `pad` to `length` (None: the longest text's)."""
    widest = int(ids.lengths.max())
    length = widest if length is None else length
    if widest > length:
        at = int(ids.lengths.argmax())
        raise DataError(f"text {at} has {widest} tokens and does not fit into rows of {length}")
    out = ids.ids.new_full((len(ids.lengths), length), pad)
    out[_mask(ids.lengths, length)] = ids.ids[: int(ids.lengths.sum())]
    return out


def ragged(rows: Int[Tensor, "b n"], lengths: Int[Tensor, " b"]) -> Ids:
    """Lay a padded batch end to end: the first `lengths[i]` ids of row i.

    DataError: no rows, a length below 1 or beyond the rows' width, or not one a row.
    """
    if rows.ndim != 2 or lengths.shape != rows.shape[:1]:
        raise DataError(
            f"rows {tuple(rows.shape)} and lengths {tuple(lengths.shape)} must be (b, n) and (b)"
        )
    lengths = lengths.long()
    widest = _check(lengths)
    if widest > rows.shape[1]:
        at = int(lengths.argmax())
        raise DataError(f"row {at} is said to hold {widest} tokens, but has {rows.shape[1]}")
    ids = rows[_mask(lengths, rows.shape[1])].long()
    return _laid(ids, lengths, widest, len(ids))


def cat(parts: Iterable[Ids]) -> Ids:
    """All texts of all parts, in order, as one batch without rounding."""
    parts = list(parts)
    if not parts:
        raise DataError("no batches of texts to put together")
    ids = torch.cat([part.ids[: int(part.lengths.sum())] for part in parts])
    lengths = torch.cat([part.lengths for part in parts])
    kind = None
    if any(part.kind is not None for part in parts):
        each = [p.ids.new_zeros(len(p.ids)) if p.kind is None else p.kind for p in parts]
        kind = torch.cat([k[: int(p.lengths.sum())] for k, p in zip(each, parts, strict=True)])
    return _laid(ids, lengths, int(lengths.max()), len(ids), kind)


def take(ids: Ids, index: Int[Tensor, " k"]) -> Ids:
    """The texts at these places, in this order, possibly repeated, without rounding.

    DataError: an empty index, or a place outside the batch (places count from 0).
    """
    b = len(ids.lengths)
    index = index.to(ids.lengths.device)
    if len(index) == 0 or int(index.min()) < 0 or int(index.max()) >= b:
        raise DataError(f"index {index.tolist()[:8]} must name texts 0 to {b - 1}, at least one")
    lengths = ids.lengths[index]
    starts = (ids.lengths.cumsum(0) - ids.lengths)[index]
    t = int(lengths.sum())
    place = torch.arange(t, device=lengths.device)
    shift = starts - (lengths.cumsum(0) - lengths)
    place = place + shift.repeat_interleave(lengths, output_size=t)
    kind = None if ids.kind is None else ids.kind[place]
    return _laid(ids.ids[place], lengths, int(lengths.max()), t, kind)


def _laid(
    ids: Int[Tensor, " r"],
    lengths: Int[Tensor, " b"],
    n: int,
    t: int,
    kind: Int[Tensor, " r"] | None = None,
) -> Ids:
    """`Ids` of the real tokens, rows of width n, and t - r tokens that belong to no text."""
    rows, back, pos = places(lengths, n, t)
    if t > len(ids):
        ids = torch.cat([ids, ids.new_zeros(t - len(ids))])
        kind = None if kind is None else torch.cat([kind, kind.new_zeros(t - len(kind))])
    return Ids(ids, pos, rows, back, lengths, kind)


def places(
    lengths: Int[Tensor, " b"], n: int, t: int
) -> tuple[Int[Tensor, "b n"], Int[Tensor, " t"], Int[Tensor, " t"]]:
    """`rows`, `back` and the position of each token, of b sequences (some of which may be empty)
    laid end to end in t places, seen as rows of width n. Places behind the last token belong to no
    sequence; an empty sequence's row repeats whatever stands before it.
    """
    b, real = len(lengths), int(lengths.sum())
    starts = lengths.cumsum(0) - lengths
    column = torch.arange(n, device=lengths.device)
    rows = starts[:, None] + torch.minimum(column[None, :], lengths[:, None] - 1)
    sample = torch.arange(b, device=lengths.device).repeat_interleave(lengths, output_size=real)
    pos = torch.arange(real, device=lengths.device) - starts[sample]
    back = sample * n + pos
    if t > real:
        pos = torch.cat([pos, pos.new_zeros(t - real)])
        back = torch.cat([back, back.new_full((t - real,), b * n - 1)])
    return rows.clamp(min=0), back, pos


def _mask(lengths: Tensor, n: int) -> Tensor:
    return torch.arange(n, device=lengths.device)[None, :] < lengths[:, None]


def _check(lengths: Tensor) -> int:
    """The longest length, after refusing an empty batch and empty texts."""
    if len(lengths) == 0:
        raise DataError("no texts: a batch needs at least one")
    if int(lengths.min()) < 1:
        raise DataError(
            f"text {int(lengths.argmin())} has no ids: give every text at least its end token"
        )
    return int(lengths.max())


def _up(size: int, step: int | None, name: str) -> int:
    if step is None:
        return size
    if step < 1:
        raise DataError(f"{name} is {step}: a multiple to round up to, 1 or more")
    return -(-size // step) * step
