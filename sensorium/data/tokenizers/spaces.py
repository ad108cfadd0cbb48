"""Codex's words: GPT-2's with runs of spaces, so that indented code takes fewer tokens.

Chen et al. 2021 (arXiv 2107.03374), section 3.2: "we add an additional set of tokens for
representing whitespace runs of different lengths". In the released vocabulary (p50k_base) runs of 2
to 25 spaces are ids 50257 to 50280, ordinary pieces behind GPT-2's: the pattern cuts texts first,
so that the last space before a word stays with the word.
"""

from functools import lru_cache

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.bpe import BYTES
from sensorium.data.tokenizers.byte_level import ByteLevel, Table
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, published

LONGEST = 25
SPACE = BYTES[ord(" ")]


@lru_cache(maxsize=1)
def codex() -> ByteLevel:
    """Codex's tokenizer of 50281 ids: GPT-2's table, its end of text, and 24 runs of spaces."""
    table = published(ENGLISH_ONLY).table
    end = table.specials["<|endoftext|>"]
    names = list(table.names[: end + 1])
    return with_spaces(
        ByteLevel(Table(names, table.merges, "gpt2", {"<|endoftext|>": end}, eos=end, pad=end))
    )


def with_spaces(words: ByteLevel, longest: int = LONGEST) -> ByteLevel:
    """The tokenizer with a piece for every run of 2 to `longest` spaces it lacks, behind its ids.

    A run is merged of every two shorter ones, short runs first, so that one of at most `longest`
    spaces always becomes a single token. Runs that the vocabulary has already keep their ids.

    Raises:
        DataError: fewer than two spaces, or a vocabulary without a space.
    """
    if longest < 2:
        raise DataError(f"a run of {longest} spaces is none: 2 or more")
    table = words.table
    known = set(table.names)
    fresh = [SPACE * n for n in range(2, longest + 1) if SPACE * n not in known]
    runs = [
        f"{SPACE * left} {SPACE * (len(run) - left)}"
        for run in fresh
        for left in range(len(run) - 1, 0, -1)
    ]
    return ByteLevel(table._replace(names=[*table.names, *fresh], merges=[*table.merges, *runs]))
