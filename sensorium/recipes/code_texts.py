"""Texts of code: read from folders, archives and tables, a part held out, tokenized."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer

from sensorium.corpus.document import Document
from sensorium.corpus.sources import read, units
from sensorium.corpus.vocabulary import train as learn
from sensorium.data.errors import DataError
from sensorium.data.packed import packed
from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.models.word_files import TOKENIZER, Found, hf

LARGEST = 1 << 20  # bytes of a file
HELD = 20  # one document of so many is never trained on
END, PAD = "<|endoftext|>", "<fim_pad>"
VOCABS = (4096, 1024, 320)  # ids of a tokenizer learnt here: as many as the texts are enough for
LEARNT_FROM = 20_000_000  # characters that it reads


class Corpus(NamedTuple):
    """Tokenized documents end to end: those to train on, and those held out."""

    words: ByteLevel
    train: Int[np.ndarray, " t"]
    held: Int[np.ndarray, " u"]
    documents: int


def corpus(data: str, words: ByteLevel | None, ending: str | None = None) -> Corpus:
    """The documents of a path.

    Args:
        data: a folder of source files, an archive, a Parquet or JSONL file, or a folder of those.
        words: the tokenizer; None: `tokenizer.json` in or beside the data, or, where there is none,
            one learnt from the first 20 million characters.
        ending: only files whose name ends so (".py").

    Raises:
        DataError: nothing is there to be read, or the tokenizer has no token that ends a document.
    """
    own = words or beside(Path(data)) or learnt(one.content for one in documents(data, ending))
    train = packed((one.content for one in documents(data, ending) if not held(one)), own)
    rest = [one.content for one in documents(data, ending) if held(one)]
    return Corpus(own, train, packed(rest, own), len(rest))


def documents(data: str, ending: str | None) -> Iterator[Document]:
    """The documents that can be read, in a fixed order."""
    for source in units([data]):
        for one in read(source, LARGEST):
            if isinstance(one, Document) and one.path.endswith(ending or ""):
                yield one


def held(one: Document) -> bool:
    """Whether a document is held out; equal texts always both are."""
    return hashlib.sha256(one.content.encode("utf-8", "replace")).digest()[0] % HELD == 0


def beside(data: Path) -> ByteLevel | None:
    """The tokenizer of a tokenizer.json in the folder, or beside it; None: there is none.

    Raises:
        DataError: it is no byte-level tokenizer that ours can be.
    """
    for folder in (data, data.parent):
        at = folder / TOKENIZER
        if folder.is_dir() and at.is_file():
            return of_file(at)
    return None


def of_file(at: Path) -> ByteLevel:
    """The tokenizer of a tokenizer.json.

    Raises:
        DataError: it is no byte-level tokenizer that ours can be.
    """
    try:
        found = hf(Found({TOKENIZER: json.loads(at.read_bytes())}))
    except (ValueError, RecursionError) as wrong:
        raise DataError(f"{at}: {wrong}") from wrong
    if not isinstance(found, ByteLevel):
        raise DataError(f"{at}: is no byte-level tokenizer")
    return ended(found)


def ended(words: ByteLevel) -> ByteLevel:
    """The tokenizer, whose texts end with StarCoder's token where it says nothing else."""
    table = words.table
    if table.eos is not None or END not in table.specials:
        return words
    pad = table.specials.get(PAD, table.specials[END])
    return ByteLevel(table._replace(eos=table.specials[END], pad=pad))


def learnt(texts: Iterator[str]) -> ByteLevel:
    """A tokenizer with StarCoder's special tokens, learnt from the first of some texts."""
    some, size = list[str](), 0
    for text in texts:
        some.append(text)
        size += len(text)
        if size > LEARNT_FROM:
            break
    for vocab in VOCABS[:-1]:
        try:
            return of_words(learn(some, vocab))
        except DataError:  # too few texts for so many ids
            continue
    return of_words(learn(some, VOCABS[-1]))


def of_words(made: Tokenizer) -> ByteLevel:
    """What was learnt, as a tokenizer of ours."""
    found = hf(Found({TOKENIZER: json.loads(made.to_str())}))
    assert isinstance(found, ByteLevel)
    return ended(found)


def loss_pieces(tokens: Int[np.ndarray, " t"], length: int, most: int) -> Sequence[list[int]]:
    """The first pieces of a held-out text that losses are measured on."""
    pieces = [tokens[at : at + length].tolist() for at in range(0, len(tokens) - 1, length)]
    return [one for one in pieces if len(one) > 1][:most]
