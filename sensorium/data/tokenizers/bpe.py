"""Byte-pair merging, exact and fast: the core that every byte-level tokenizer here shares.

Merging follows Sennrich et al. 2016 ("Neural Machine Translation of Rare Words with Subword
Units", section 3.2): again and again the pair that was learnt first is joined, from left to
right. A heap finds it, so that a word of n bytes costs n log n; the usual rescanning loop costs
n squared, which a text of one endless word turns into an attack.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import chain

# A pair of neighbouring ids -> when it was learnt, and the id it becomes.
Merges = Mapping[tuple[int, int], tuple[int, int]]


def _byte_alphabet() -> tuple[str, ...]:
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    odd = [b for b in range(256) if b not in set(plain)]
    letters = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(odd)}
    return tuple(letters[b] for b in range(256))


BYTES: tuple[str, ...] = _byte_alphabet()
"""The printable letter that stands for each byte in merge tables (GPT-2's convention)."""

PLACE: tuple[int, ...] = tuple(sorted(range(256), key=lambda b: ord(BYTES[b])))
"""The bytes in the order of their letters: CLIP numbers its first 256 ids so."""


def merge(ids: Iterable[int], merges: Merges) -> list[int]:
    """Join neighbours in the order the merges were learnt, until no pair is in the table."""
    seq = list(ids)
    n = len(seq)
    after, before = list(range(1, n + 1)), list(range(-1, n - 1))
    heap = [(*m, i) for i in range(n - 1) if (m := merges.get((seq[i], seq[i + 1])))]
    heapify(heap)
    while heap:
        rank, new, i = heappop(heap)
        j = after[i]
        # An entry goes stale when either neighbour has been joined to something else since.
        if seq[i] < 0 or j >= n or merges.get((seq[i], seq[j])) != (rank, new):
            continue
        seq[i], seq[j] = new, -1
        after[i] = after[j]
        if after[i] < n:
            before[after[i]] = i
            if m := merges.get((new, seq[after[i]])):
                heappush(heap, (*m, i))
        if before[i] >= 0 and (m := merges.get((seq[before[i]], new))):
            heappush(heap, (*m, before[i]))
    return [t for t in seq if t >= 0]


class Pieces(dict[str, tuple[int, ...]]):
    """Remembers the ids of short pieces of text; forgets all when full, so that it stays small."""

    def __init__(self, cut: Callable[[str], Iterable[int]], most: int = 65_536, longest: int = 48):
        super().__init__()
        self.cut, self.most, self.longest = cut, most, longest

    def __missing__(self, piece: str) -> tuple[int, ...]:
        ids = tuple(self.cut(piece))
        if len(piece) <= self.longest:
            if len(self) >= self.most:
                self.clear()
            self[piece] = ids
        return ids

    def ids(self, pieces: Iterable[str]) -> Iterable[int]:
        """The ids of all pieces, one after the other."""
        return chain.from_iterable(map(self.__getitem__, pieces))
