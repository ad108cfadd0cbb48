"""MinHash signatures and LSH bands, with the published parameters.

As bigcode-dataset's `minhash_deduplication.py` computes them (The Stack v1.2; Kocetkov et al.,
2022): 5-grams of the pieces between characters that are no ASCII letter, digit or underscore
(empty pieces count), each hashed to the first four bytes of its SHA-1; 256 permutations
(h * a + b) mod (2^61 - 1), of which the low 32 bits count; 25 bands of 10 rows for a Jaccard index
of 0.7.

The published code multiplies in 64 bits, where h * a overflows, so that its permutations are not
what they are meant to be; `legacy` reproduces that bit for bit, `exact` is the arithmetic meant.

Of x = h * a + b only the low half and the top three bits matter: the low half of x mod (2^61 - 1)
is low(x) + (x >> 61), but for the few x that take one more subtraction. So the least of low(x) is
sought in 32 bits, and only what lies within 7 of it is looked at in 64. That no 32-bit hash meets
such an x is proven for the permutations in use (`never_subtracts`), not assumed.
"""

import hashlib
import re
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt, UInt32, UInt64

PRIME = np.uint64(2**61 - 1)
LOW = np.uint32(2**32 - 1)
SEED = 42
BLOCK = 512  # shingles that are permuted at once: what fits into a core's own cache
TOP = np.uint32(7)  # the most that the top three bits add
SEPARATORS = bytes(
    b if chr(b).isascii() and (chr(b).isalnum() or b == 95) else 32 for b in range(256)
)

Arithmetic = Literal["legacy", "exact"]


class Settings(NamedTuple):
    """What near duplicates are.

    Attributes:
        threshold: the Jaccard index at which two documents should be found.
        permutations: values of a signature.
        ngram: pieces in a shingle; documents with fewer pieces have none.
        arithmetic: see the module.
    """

    threshold: float = 0.7
    permutations: int = 256
    ngram: int = 5
    arithmetic: Arithmetic = "legacy"


def shingles(content: str, ngram: int) -> set[bytes]:
    """The n-grams of a text's pieces, joined by spaces; the empty set for a text of fewer.

    A character beyond ASCII separates like any other that is no letter, digit or underscore. With
    every separator a space, an n-gram is the text from one piece's start to another's end.
    """
    text = content.encode("ascii", "replace").translate(SEPARATORS)
    spaces = np.flatnonzero(np.frombuffer(text, np.uint8) == 32)
    if len(spaces) + 1 < ngram:
        return set()
    starts = np.append(0, spaces[: len(spaces) - ngram + 1] + 1)
    ends = np.append(spaces[ngram - 1 :], len(text))
    some = ends - starts >= ngram  # a third of all are of empty pieces alone: indentation
    each = map(slice, starts[some].tolist(), ends[some].tolist())
    made = set(map(text.__getitem__, each))
    return made if some.all() else made | {b" " * (ngram - 1)}


def hashes(some: set[bytes]) -> UInt32[np.ndarray, " n"]:
    """The first four bytes of the SHA-1 of each, as a little-endian number; in no order."""
    sha1 = hashlib.sha1
    digests = b"".join([sha1(one).digest() for one in some])
    return np.frombuffer(digests, "<u4").reshape(-1, 5)[:, 0].astype(np.uint32)


@cache
def _permutations(count: int) -> tuple[UInt64[np.ndarray, " p"], UInt64[np.ndarray, " p"]]:
    random = np.random.RandomState(SEED)
    drawn = [
        (
            random.randint(1, int(PRIME), dtype=np.uint64),
            random.randint(0, int(PRIME), dtype=np.uint64),
        )
        for _ in range(count)
    ]
    a, b = (np.array(side, np.uint64) for side in zip(*drawn, strict=True))
    return a, b


def signature(
    hashed: UInt32[np.ndarray, " n"], settings: Settings, used: int = 0
) -> UInt32[np.ndarray, " p"]:
    """The least value of each permutation over hashes; 2^32 - 1 where there are none.

    `used`: how many of the permutations are computed (0: all).
    """
    a, b = (side[: used or None] for side in _permutations(settings.permutations))
    if settings.arithmetic == "legacy" and _all_plain(settings.permutations):
        return by_halves(hashed, a, b)
    return by_formula(hashed, a, b, settings.arithmetic)


def by_formula(
    hashed: UInt32[np.ndarray, " n"],
    a: UInt64[np.ndarray, " p"],
    b: UInt64[np.ndarray, " p"],
    arithmetic: Arithmetic,
) -> UInt32[np.ndarray, " p"]:
    """A signature by the arithmetic as it is written, in 64 bits."""
    values = np.empty((min(BLOCK, len(hashed)), len(a)), np.uint64)
    upper = np.empty_like(values)
    least = np.full(len(a), LOW, np.uint64)
    for start in range(0, len(hashed), BLOCK):
        block = hashed[start : start + BLOCK, None].astype(np.uint64)
        value = values[: len(block)]
        if arithmetic == "legacy":
            np.multiply(block, a, out=value)  # overflows, as published
            value += b
        else:
            _exact(block, a, b, value)
        _reduce(value, upper[: len(block)])
        np.minimum(least, (value & LOW).min(axis=0), out=least)
    return least.astype(np.uint32)


def by_halves(
    hashed: UInt32[np.ndarray, " n"], a: UInt64[np.ndarray, " p"], b: UInt64[np.ndarray, " p"]
) -> UInt32[np.ndarray, " p"]:
    """The same as `by_formula` with `legacy`, where no hash needs a subtraction (see the module).

    Low halves are raised by 7 first, so that none but those below 7 wrap around when the top bits
    are added; in a permutation that has met such a one, every value is looked at.
    """
    factor, term = a.astype(np.uint32), (b + np.uint64(TOP)).astype(np.uint32)
    values = np.empty((min(BLOCK, len(hashed)), len(a)), np.uint32)
    close = np.empty(values.shape, bool)
    lowest = np.full(len(a), LOW, np.uint32)
    least = lowest.copy()
    for start in range(0, len(hashed), BLOCK):
        block = hashed[start : start + BLOCK]
        value, near = values[: len(block)], close[: len(block)]
        np.multiply(block[:, None], factor, out=value)
        value += term
        np.minimum(lowest, value.min(axis=0), out=lowest)
        whole = (lowest < TOP) | (lowest > LOW - TOP)
        np.less_equal(value, np.where(whole, LOW, lowest + TOP), out=near)
        rows, columns = np.divmod(np.flatnonzero(near), len(a))
        x = block[rows].astype(np.uint64) * a[columns] + b[columns]
        np.minimum.at(least, columns, (x + (x >> np.uint64(61))).astype(np.uint32))
    return least


def never_subtracts(a: int, b: int) -> bool:
    """Whether x = (h * a + b) mod 2^64 has (x mod 2^61) + (x >> 61) < 2^61 - 1 for every 32-bit h.

    There are 36 values of x that have not; each is solved for h. `a` is not zero.
    """
    twos = (a & -a).bit_length() - 1
    turn = 2 ** (64 - twos)
    inverse = pow(a >> twos, -1, turn) if turn > 1 else 0
    for top in range(8):
        for low in range(2**61 - 1 - top, 2**61):
            product = ((top << 61 | low) - b) % 2**64
            if product % 2**twos == 0 and (product >> twos) * inverse % turn < 2**32:
                return False
    return True


@cache
def _all_plain(count: int) -> bool:
    a, b = _permutations(count)
    return all(map(never_subtracts, a.tolist(), b.tolist()))


def _exact(
    h: UInt64[np.ndarray, "n 1"],
    a: UInt64[np.ndarray, " p"],
    b: UInt64[np.ndarray, " p"],
    out: UInt64[np.ndarray, "n p"],
) -> None:
    """h * a + b modulo 2^61 - 1, up to a few times that, where the product needs 93 bits."""
    high = h * (a >> np.uint64(32))  # below 2^61: times 2^32 is a turn by 32 of 61 bits
    turned = ((high & np.uint64(2**29 - 1)) << np.uint64(32)) | (high >> np.uint64(29))
    low = h * (a & LOW)
    np.add(turned, (low & PRIME) + (low >> np.uint64(61)), out=out)
    out += b


def _reduce(value: UInt64[np.ndarray, "n p"], upper: UInt64[np.ndarray, "n p"]) -> None:
    """value mod (2^61 - 1) in place, without a division; `upper` is room to work in."""
    np.right_shift(value, np.uint64(61), out=upper)
    value &= PRIME
    value += upper
    if value.max(initial=0) >= PRIME:  # about once in 10^17 values
        value[value >= PRIME] -= PRIME


def bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows that least often miss above and find below a threshold, equally weighed.

    Errors are areas under the probability 1 - (1 - s^r)^b that LSH finds a pair of index s.
    """
    low = np.linspace(0, threshold, 2001)
    high = np.linspace(threshold, 1, 2001)
    best = (np.inf, 1, 1)
    for b in range(1, permutations + 1):
        for r in range(1, permutations // b + 1):
            false = np.trapezoid(found(low, b, r), low)
            missed = np.trapezoid(1 - found(high, b, r), high)
            best = min(best, (float(false + missed) / 2, b, r))
    return best[1], best[2]


def found(index: np.ndarray, b: int, r: int) -> np.ndarray:
    """The probability that pairs of a Jaccard index share a band."""
    return 1 - (1 - index**r) ** b


_cached_bands = cache(bands)


def band_keys(content: str, settings: Settings) -> UInt64[np.ndarray, " b"] | None:
    """A key for each band; documents that share one are candidates. None: no shingles."""
    some = shingles(content, settings.ngram)
    if not some:
        return None
    b, r = _cached_bands(settings.threshold, settings.permutations)
    rows = signature(hashes(some), settings, b * r).reshape(b, r)
    return mixed(rows)


def mixed(rows: UInt[np.ndarray, "b r"]) -> UInt64[np.ndarray, " b"]:
    """One 64-bit number for each row of numbers; equal rows have equal numbers."""
    value = np.full(len(rows), 0x9E3779B97F4A7C15, np.uint64)
    for column in rows.T.astype(np.uint64):
        value ^= column
        value *= np.uint64(0xBF58476D1CE4E5B9)
        value ^= value >> np.uint64(29)
        value *= np.uint64(0x94D049BB133111EB)
        value ^= value >> np.uint64(32)
    return value


def jaccard(one: set[bytes], other: set[bytes]) -> float:
    """The share of all shingles of two documents that both have."""
    either = len(one | other)
    return len(one & other) / either if either else 0.0


def words(content: str) -> list[str]:
    """The pieces as the published code cuts them; the slow twin of what `shingles` does."""
    return re.split("[^A-Za-z_0-9]", content)
