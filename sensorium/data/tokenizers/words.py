"""What language models ask of a tokenizer, and how one is kept in a checkpoint's folder.

Unlike the framed texts of dual encoders (`tokenizers.Tokenizer`), prompts are built of parts: text,
which never becomes a special token whatever it says, and special tokens, which are named.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.frame import check_text

FILE = "words.json"
MOST_BYTES = 256 << 20
MOST_CHARACTERS = 4_000_000


@runtime_checkable
class Words(Protocol):
    """Texts to ids and back, without frame.

    Attributes:
        specials: the special tokens by name ("<|im_end|>"); no text ever becomes one.
        bos, eos, pad: the ids of start, end and filling, where the model has them.
        begins: whether every prompt starts with `bos`.
    """

    specials: dict[str, int]
    bos: int | None
    eos: int | None
    pad: int | None
    begins: bool

    @property
    def vocab(self) -> int: ...
    def encode(self, text: str, where: str = "the text", follows: bool = False) -> list[int]: ...
    def decode(self, ids: Iterable[int]) -> str: ...
    def spelt(self, id: int) -> bytes: ...
    def data(self) -> bytes: ...
    def spec(self) -> dict[str, Any]: ...


def readable(text: str, where: str) -> str:
    """The text without lone surrogates (they become U+FFFD).

    DataError: no text, or one of more than four million characters.
    """
    if len(check_text(text, where)) > MOST_CHARACTERS:
        raise DataError(f"{where} has {len(text)} characters, the most is {MOST_CHARACTERS}")
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def spec(words: Words, kind: str) -> dict[str, Any]:
    """What a manifest says of a tokenizer whose table lies in the folder's words.json."""
    return {
        "kind": kind,
        "file": FILE,
        "sha256": hashlib.sha256(words.data()).hexdigest(),
        "vocab": words.vocab,
    }


def table(path: Path | bytes, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The table that a manifest speaks of, from the folder's file or from its bytes.

    OSError: no such file. DataError: too large, another sha256, or not a table of that kind.
    """
    if isinstance(path, bytes):
        body, name = path, FILE
    else:
        name = str(path)
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise DataError(f"{name} has more than {MOST_BYTES} bytes: no vocabulary is so large")
    if (found := hashlib.sha256(body).hexdigest()) != spec.get("sha256"):
        raise DataError(
            f"{name} is not the file of this checkpoint: its sha256 is {found}, the manifest says "
            f"{spec.get('sha256')}; copy the folder again"
        )
    try:
        made = json.loads(body)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as wrong:
        raise DataError(f"{name} is not JSON: {wrong}") from wrong
    if not isinstance(made, dict) or made.pop("kind", None) != spec.get("kind"):
        raise DataError(f"{name} is no table of a tokenizer {spec.get('kind')}")
    return made


def texts(value: Any, what: str) -> list[str]:
    """A list of texts, none twice."""
    if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
        raise DataError(f"the tokenizer's {what} are not a list of texts")
    return value


def scored(made: Mapping[str, Any], fields: Sequence[str], kind: str) -> dict[str, Any]:
    """The values of a table of pieces with scores.

    DataError: a value is missing, unknown, or of another type.
    """
    if set(made) != set(fields):
        raise DataError(f"a table of {kind} has the values {list(fields)}, not {list(made)}")
    texts(made["names"], "names")
    scores = made["scores"]
    numbers = isinstance(scores, list) and all(type(x) in (int, float) for x in scores)
    if not numbers or not all(map(math.isfinite, scores)):
        raise DataError("the tokenizer's scores are not a list of numbers")
    if not isinstance(made["specials"], dict):
        raise DataError("the tokenizer's specials are not an object")
    return dict(made)


def unique(names: Sequence[str]) -> dict[str, int]:
    """The place of each name. DataError: one occurs twice."""
    of = {name: i for i, name in enumerate(names)}
    if len(of) != len(names):
        twice = next(n for i, n in enumerate(names) if of[n] != i)
        raise DataError(f"the vocabulary has {twice!r} twice")
    return of


def named(specials: Mapping[str, int], vocab: int) -> dict[str, int]:
    """Special tokens, each an id of the vocabulary."""
    for name, id in specials.items():
        if not isinstance(name, str) or type(id) is not int or not 0 <= id < vocab or not name:
            raise DataError(f"special token {name!r} is id {id!r}, outside 0 to {vocab - 1}")
    return dict(specials)
