"""The tokenizers of language models, rebuilt from what a manifest says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import byte_level, pieces, unigram
from sensorium.data.tokenizers.words import FILE, Words, table

LANGUAGE = {one.KIND: one.read for one in (byte_level, pieces, unigram)}


def language(spec: Mapping[str, Any], place: str | Path | bytes | None) -> Words:
    """The tokenizer that a manifest describes, its table in the folder `place` (or its bytes).

    OSError: the table is missing. DataError: it is not the one described, or is not sound.
    """
    kind = spec.get("kind")
    if kind not in LANGUAGE:
        raise DataError(f"unknown kind of tokenizer {kind!r}; known: {', '.join(LANGUAGE)}")
    if place is None:
        raise DataError(f"a tokenizer {kind} needs the checkpoint's folder, where its table lies")
    made = LANGUAGE[kind](table(place if isinstance(place, bytes) else Path(place) / FILE, spec))
    if made.vocab != spec.get("vocab"):
        raise DataError(
            f"the tokenizer has {made.vocab} ids, the manifest says {spec.get('vocab')}"
        )
    return made
