"""What all tokenizers here do alike: check the input, frame the ids, refuse or cut, be saved."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from sensorium.data.errors import DataError


def check_text(text: str, where: str) -> str:
    """The text, if it is one."""
    if not isinstance(text, str):
        raise DataError(f"{where} is of type {type(text).__name__}; a tokenizer takes str")
    return text


def check_texts(texts: Sequence[str]) -> Sequence[str]:
    """The texts, if they are not one text in place of a list."""
    if isinstance(texts, str):
        raise DataError("encode_batch got a single str: put it in a list, or call encode")
    return texts


def check_length(length: int) -> int:
    """The longest length allowed, if it has room for the frame."""
    if isinstance(length, bool) or not isinstance(length, int) or length < 2:
        raise DataError(f"length is {length!r}; a text needs room for its start and end: 2 or more")
    return length


def fit(ids: list[int], length: int, truncate: bool, text: str, where: str) -> list[int]:
    """Framed ids of at most `length`; cut, the end token takes the last place."""
    if len(ids) <= length:
        return ids
    if not truncate:
        shown = f"{text[:40]!r}" + ("..." if len(text) > 40 else "")
        raise DataError(
            f"{where} is too long: {len(ids)} tokens with start and end, the limit is {length}; "
            f"it has {len(text)} characters and starts {shown}. Shorten it, or build the "
            f"tokenizer with truncate=True to keep the first {length - 2} tokens"
        )
    return [*ids[: length - 1], ids[-1]]


def inside(ids: Iterable[int], sot: int, eot: int, vocab: int) -> list[int]:
    """The ids between the start token, if there is one, and the first end token."""
    out: list[int] = []
    for place, token in enumerate(map(int, ids)):
        if not 0 <= token < vocab:
            raise DataError(f"id {token} at place {place} is outside the vocabulary of {vocab}")
        if token == eot:
            break
        if token != sot or place:
            out.append(token)
    return out


def write(path: Path, data: bytes) -> Path:
    """A tokenizer's file: written aside first, then renamed."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path
