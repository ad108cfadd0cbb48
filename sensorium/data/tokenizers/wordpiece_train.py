"""Learning a WordPiece vocabulary: the pairs of pieces seen most often are joined, again and again.

BERT's own trainer was never released; as in the `tokenizers` library, pairs are ranked by count.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import pairwise

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.frame import check_text
from sensorium.data.tokenizers.wordpiece import SPECIAL, WordPiece, words

Pair = tuple[str, str]


def train_wordpiece(
    texts: Iterable[str], vocab: int, length: int, lower: bool = True, truncate: bool = False
) -> WordPiece:
    """Learn a vocabulary of at most `vocab` pieces from texts; always the same one.

    Only pairs seen twice or more are joined, so that few texts give fewer pieces than asked for:
    read `vocab` off the result. Characters that were not seen are unknown later.
    DataError: a text that is not str, no word in all the texts, no room for the characters.
    """
    counts: Counter[str] = Counter()
    for i, text in enumerate(texts):
        counts.update(words(check_text(text, f"text {i}"), lower))
    if not counts:
        raise DataError("no word in all the texts: there is nothing to learn a vocabulary from")
    seen = sorted({symbol for word in counts for symbol in _symbols(word)})
    room = vocab - len(SPECIAL) - len(seen)
    if room < 0:
        raise DataError(f"vocab is {vocab}; characters alone need {len(SPECIAL) + len(seen)}")
    known = dict.fromkeys([*SPECIAL, *seen])
    for piece in _joined([(_symbols(word), n) for word, n in sorted(counts.items())]):
        if len(known) >= vocab:
            break
        known.setdefault(piece)
    return WordPiece(list(known), length, lower, truncate)


def _symbols(word: str) -> list[str]:
    return [word[0], *(f"##{c}" for c in word[1:])]


def _joined(counted: list[tuple[list[str], int]]) -> Iterable[str]:
    """The joined pieces in the order they are learnt; ties go to the pair that sorts first."""
    totals: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for i, (symbols, n) in enumerate(counted):
        for pair in pairwise(symbols):
            totals[pair] += n
            where[pair].add(i)
    heap = [(-n, pair) for pair, n in totals.items()]
    heapify(heap)
    while heap:
        n, pair = heappop(heap)
        if totals[pair] != -n:
            continue  # an entry from before other pairs took some of its places
        if -n < 2:
            return
        whole = pair[0] + pair[1][2:]
        yield whole
        changed: set[Pair] = set()
        for i in sorted(where[pair]):
            symbols, count = counted[i]
            for old in pairwise(symbols):
                totals[old] -= count
                changed.add(old)
            at = 0
            while at < len(symbols) - 1:
                if (symbols[at], symbols[at + 1]) == pair:
                    symbols[at : at + 2] = [whole]
                at += 1
            for new in pairwise(symbols):
                totals[new] += count
                where[new].add(i)
                changed.add(new)
        for one in changed:
            if totals[one] > 0:
                heappush(heap, (-totals[one], one))
