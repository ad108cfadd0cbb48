"""Tokenizers: texts to framed lists of ids and back, and rebuilt from what a manifest says."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import clip_bpe
from sensorium.data.tokenizers.clip_bpe import ClipBPE


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


KINDS = (clip_bpe.KIND,)


def tokenizer(spec: Mapping[str, Any], folder: str | Path | None = None) -> Tokenizer:
    """Build the tokenizer that a manifest describes; what it cannot honour exactly, it refuses.

    `folder` is the checkpoint's: a trained tokenizer's table lies in it.
    DataError: an unknown kind, or an entry that is missing, unknown or of another value than
    this version of the tokenizer has.
    """
    kind = spec.get("kind")
    if kind not in KINDS:
        raise DataError(f"unknown kind of tokenizer {kind!r}; known: {', '.join(KINDS)}")
    made: Tokenizer = ClipBPE(spec.get("length", 77), spec.get("truncate", False))
    mine = made.spec()
    if wrong := sorted(k for k in {*mine, *spec} if k not in spec or mine.get(k) != spec[k]):
        said = "; ".join(f"{k}: {spec.get(k)!r} here, {mine.get(k)!r} expected" for k in wrong)
        raise DataError(f"the tokenizer {kind} cannot be built as described: {said}")
    return made
