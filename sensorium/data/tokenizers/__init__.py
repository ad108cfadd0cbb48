"""Tokenizers: texts to framed lists of ids and back, and rebuilt from what a manifest says."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import clip_bpe, trained, wordpiece
from sensorium.data.tokenizers.clip_bpe import ClipBPE
from sensorium.data.tokenizers.trained import TrainedBPE, train_bpe
from sensorium.data.tokenizers.wordpiece import WordPiece, read_vocab
from sensorium.data.tokenizers.wordpiece_train import train_wordpiece

__all__ = [
    "KINDS",
    "ClipBPE",
    "Tokenizer",
    "TrainedBPE",
    "WordPiece",
    "read_vocab",
    "tokenizer",
    "train_bpe",
    "train_wordpiece",
]


@runtime_checkable
class Tokenizer(Protocol):
    """Texts to ids: [start, ..., end], at most `length` of them."""

    length: int
    truncate: bool

    @property
    def vocab(self) -> int: ...
    @property
    def sot(self) -> int: ...
    @property
    def eot(self) -> int: ...
    @property
    def pad(self) -> int: ...

    def encode(self, text: str, where: str = "the text") -> list[int]: ...
    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...
    def decode(self, ids: Iterable[int]) -> str: ...
    def spec(self) -> dict[str, str | int | bool]: ...


NEEDS = {  # what a description must have, to build one by
    clip_bpe.KIND: {"length", "truncate"},
    trained.KIND: {"length", "truncate", "lower", "sha256"},
    wordpiece.KIND: {"length", "truncate", "lower", "sha256", "longest_word", "end"},
}
KINDS = tuple(NEEDS)


def tokenizer(spec: Mapping[str, Any], folder: str | Path | None = None) -> Tokenizer:
    """Build the tokenizer that a manifest describes; what it cannot honour exactly, it refuses.

    `folder` is the checkpoint's: a trained tokenizer's table lies in it.
    OSError: that table is missing. DataError: an unknown kind; a table that is not the one
    described; an entry that is missing, unknown, or of another value than it would have here.
    """
    kind = spec.get("kind")
    if kind not in KINDS:
        raise DataError(f"unknown kind of tokenizer {kind!r}; known: {', '.join(KINDS)}")
    needed = NEEDS[kind]
    if missing := sorted(needed - set(spec)):
        raise DataError(f"the description of the tokenizer {kind} lacks {', '.join(missing)}")
    made: Tokenizer
    if kind == clip_bpe.KIND:
        made = ClipBPE(spec["length"], spec["truncate"])
    elif folder is None:
        raise DataError(f"a tokenizer {kind} needs the checkpoint's folder, where its table lies")
    else:
        read = trained.read if kind == trained.KIND else wordpiece.read
        made = read(folder, **{k: spec[k] for k in sorted(needed)})
    mine = made.spec()
    if wrong := sorted(k for k in {*mine, *spec} if k not in spec or mine.get(k) != spec[k]):
        said = "; ".join(f"{k} is {spec.get(k)!r}, but here {mine.get(k)!r}" for k in wrong)
        raise DataError(f"the tokenizer {kind} cannot be built as described: {said}")
    return made
