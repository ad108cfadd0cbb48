"""Word and character error rates of transcripts, raw and normalised, from per-sample records.

WER: the fewest words to change, leave out or put in, over the words of the reference (all clips
together); CER: the same of characters. Intervals are of a bootstrap over clusters of clips.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium.datasets.speech import Spoken
from sensorium.tasks.normalise import named, normaliser
from sensorium.tasks.records import (
    READ,
    Progress,
    Records,
    TaskError,
    fingerprint,
    in_order,
    records,
    write,
)
from sensorium.tasks.scores import SEED, TIMES, Score, Scores, places

Transcribe = Callable[[Sequence[bytes]], Sequence[str]]
RAW = "raw/1"


class Edits(NamedTuple):
    """The fewest edits from a reference to a transcript.

    `steps` are (reference word or None, transcript word or None), in order.
    """

    changed: int
    left_out: int
    put_in: int
    steps: tuple[tuple[str | None, str | None], ...]

    @property
    def count(self) -> int:
        """All of them."""
        return self.changed + self.left_out + self.put_in


def edits(reference: Sequence[str], said: Sequence[str]) -> Edits:
    """An alignment of the fewest edits (Levenshtein 1966); changes before other edits on ties."""
    n, m = len(reference), len(said)
    of = {word: i for i, word in enumerate({*reference, *said})}
    own = np.array([of[word] for word in said], dtype=np.int64)
    place = np.arange(m + 1)
    table = np.empty((n + 1, m + 1), np.int32)
    table[0] = place
    for i, word in enumerate(reference, 1):
        row = table[i - 1] + 1
        row[1:] = np.minimum(row[1:], table[i - 1, :-1] + (own != of[word]))
        table[i] = np.minimum.accumulate(row - place) + place
    steps: list[tuple[str | None, str | None]] = []
    i, j = n, m
    while i or j:
        same = i and j and reference[i - 1] == said[j - 1]
        if i and j and table[i, j] == table[i - 1, j - 1] + (not same):
            steps.append((reference[i - 1], said[j - 1]))
            i, j = i - 1, j - 1
        elif i and table[i, j] == table[i - 1, j] + 1:
            steps.append((reference[i - 1], None))
            i -= 1
        else:
            steps.append((None, said[j - 1]))
            j -= 1
    changed = sum(a is not None and b is not None and a != b for a, b in steps)
    left = sum(b is None for _, b in steps)
    put = sum(a is None for a, _ in steps)
    return Edits(changed, left, put, tuple(steps[::-1]))


def shown(steps: Sequence[tuple[str | None, str | None]]) -> str:
    """An alignment for people: [reference -> transcript] where they differ."""
    parts = (a if a == b else f"[{a or ''} -> {b or ''}]" for a, b in steps)
    return " ".join(str(part) for part in parts)


def transcription(
    transcribe: Transcribe,
    samples: Sequence[Spoken],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores transcripts.

    Args:
        transcribe: undecoded sounds to texts.
        path: where the records file goes; None: nowhere.
        about: more facts for its header; give `split` and `model` (a fingerprint).

    Returns:
        {"raw", "normalised"}, each {"wer", "cer"}; shares of the reference's words, 0.05 is 5%.

    Raises:
        TaskError: no samples, an id twice, references without words.
    """
    order = in_order([sample.id for sample in samples])
    said: list[str] = []
    for start in range(0, len(order), READ):
        part = [samples[place] for place in order[start : start + READ]]
        said += transcribe([sample.sound for sample in part])
        if progress is not None:
            progress(min(start + READ, len(order)), len(order))
    if len(said) != len(order):
        raise TaskError(f"{len(said)} transcripts for {len(order)} recordings")
    rows = [
        row for place, text in zip(order, said, strict=True) for row in marked(samples[place], text)
    ]
    data = fingerprint((samples[place].id, samples[place].text) for place in order)
    names = sorted({row["normaliser"] for row in rows})
    facts = {"data": data, "split": None, "model": None, "normalisers": names}
    metrics = {
        part: {f"mean {name}": {"of": name, "summary": "mean"} for name in ("wer", "cer")}
        for part in ("raw", "normalised")
    }
    kept = records("transcription", metrics, facts | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return rates(kept)


def marked(sample: Spoken, text: str) -> list[dict[str, Any]]:
    """The records of one transcript: raw, and normalised as its language is."""
    rows = []
    for part, name in (("raw", RAW), ("normalised", normaliser(sample.language))):
        own, theirs = (named(name)(one) for one in (sample.text, text))
        words, letters = edits(own.split(), theirs.split()), edits([*own], [*theirs])
        total, long = len(own.split()), len(own)
        if not total:
            raise TaskError(f"{sample.id}: its reference has no words once it is normalised")
        rows.append(
            {
                "part": part,
                "id": sample.id,
                "cluster": sample.speaker or sample.id,
                "normaliser": name,
                "reference": sample.text,
                "said": text,
                "changed": words.changed,
                "left_out": words.left_out,
                "put_in": words.put_in,
                "words": total,
                "wer": words.count / total,
                "letter_edits": letters.count,
                "letters": long,
                "cer": letters.count / long,
                "alignment": shown(words.steps),
            }
        )
    return rows


def rates(kept: Records) -> Scores:
    """Error rates over all clips of a records file, without the model.

    Raises:
        TaskError: it holds no records of transcripts.
    """
    out: Scores = {}
    for part in ("raw", "normalised"):
        rows = [row for row in kept.rows if row["part"] == part]
        if not rows:
            raise TaskError(f"there are no {part} records of transcripts")
        clusters = places([row["cluster"] for row in rows])
        errors = np.array([r["changed"] + r["left_out"] + r["put_in"] for r in rows], np.float64)
        words = np.array([row["words"] for row in rows], np.float64)
        letter_edits = np.array([row["letter_edits"] for row in rows], np.float64)
        letters = np.array([row["letters"] for row in rows], np.float64)
        out[part] = {
            "wer": rate(errors, words, clusters),
            "cer": rate(letter_edits, letters, clusters),
        }
    return out


def rate(errors: np.ndarray, sizes: np.ndarray, clusters: np.ndarray) -> Score:
    """All errors over all sizes, with a bootstrap interval over clusters."""
    count = int(clusters.max()) + 1
    top, bottom = (np.bincount(clusters, weights=x, minlength=count) for x in (errors, sizes))
    drawn = np.random.default_rng(SEED).integers(count, size=(TIMES, count))
    shares = top[drawn].sum(axis=1) / bottom[drawn].sum(axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    return Score(float(top.sum() / bottom.sum()), float(low), float(high), len(errors))
