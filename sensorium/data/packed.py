"""Documents packed end to end into samples of one length, as language models are trained on."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from sensorium.data.errors import DataError
from sensorium.data.fim import Fim, context
from sensorium.data.tokenizers.words import Words

MOST = 4 << 30  # tokens that are held


class Sample(NamedTuple):
    """A sample of a packed corpus: its ids, and how many of them are no padding."""

    ids: tuple[int, ...]
    real: int


class Packed(Sequence[Int[np.ndarray, " n"]]):
    """All tokens of a corpus, cut every `length` of them; what is left over is not read.

    Args:
        tokens: of all documents, each with the token that ends it behind it.

    Raises:
        DataError: there are not enough tokens for one sample.
    """

    def __init__(self, tokens: Int[np.ndarray, " t"], length: int):
        if length < 2 or len(tokens) < length:
            raise DataError(f"{len(tokens)} tokens do not make one sample of {length}: add texts")
        self.tokens, self.length = tokens, length

    def __len__(self) -> int:
        return len(self.tokens) // self.length

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.tokens[index * self.length : (index + 1) * self.length]


def packed(
    texts: Iterable[str],
    words: Words,
    progress: Callable[[int], None] | None = None,
) -> Int[np.ndarray, " t"]:
    """The tokens of all texts, each with the end token behind it; special ones come of no text.

    Args:
        progress: is told how many texts were read.

    Raises:
        DataError: no token ends documents; more tokens than are held here.
    """
    if words.eos is None:
        raise DataError("the tokenizer has no token that ends a document")
    pieces, total = [], 0
    for done, text in enumerate(texts, 1):
        pieces.append(np.array([*words.encode(text, f"text {done}"), words.eos], np.int32))
        total += len(pieces[-1])
        if total > MOST:
            raise DataError(f"more than {MOST} tokens: train on fewer files at a time")
        if progress is not None:
            progress(done)
    return np.concatenate(pieces) if pieces else np.zeros(0, np.int32)


class Rearranged:
    """A packed sample as it is trained on: with `fim`, its documents rearranged, drawn anew at
    every visit."""

    def __init__(self, words: Words, fim: Fim | None):
        self.words, self.fim = words, fim

    def __call__(self, ids: Int[np.ndarray, " n"], rng: np.random.Generator | None) -> Sample:
        found = ids.tolist()
        if self.fim is None or rng is None or self.fim.rate == 0:
            return Sample(tuple(found), len(found))
        made, real = context(found, self.words, self.fim, rng)
        return Sample(tuple(made), real)


def apart(sample: Sample, end: int) -> list[list[int]]:
    """The documents of a sample, each with its end: what document masks keep from each other."""
    out: list[list[int]] = [[]]
    for one in sample.ids[: sample.real]:
        out[-1].append(one)
        if one == end:
            out.append([])
    return [one for one in out if one]
