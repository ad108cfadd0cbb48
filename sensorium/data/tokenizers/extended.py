"""A tokenizer with more special tokens, behind those it has: the ids of all others stay."""

import hashlib
import json
from collections.abc import Sequence

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.language import language
from sensorium.data.tokenizers.words import Words


def extended(words: Words, names: Sequence[str]) -> Words:
    """The tokenizer with these special tokens; those it has already stay as they are.

    DataError: a name is an ordinary token of it.
    """
    made = json.loads(words.data())
    kind, more = made["kind"], [name for name in names if name not in words.specials]
    taken = [name for name in more if name in made["names"]]
    if taken:
        raise DataError(f"{', '.join(taken)}: ordinary tokens of this tokenizer, not special ones")
    start = len(made["names"])
    made["specials"] = {**made["specials"], **{name: start + i for i, name in enumerate(more)}}
    made["names"] = [*made["names"], *more]
    if "scores" in made:
        made["scores"] = [*made["scores"], *[0.0] * len(more)]
    body = json.dumps(made, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    spec = {"kind": kind, "sha256": hashlib.sha256(body).hexdigest(), "vocab": len(made["names"])}
    return language(spec, body)
