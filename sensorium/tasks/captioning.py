"""Captions against people's: BLEU, ROUGE-L and CIDEr-D, as COCO's evaluation defines them.

- BLEU-n (Papineni et al. 2002): clipped n-gram precisions of the whole set, geometric mean, brevity
  against the nearest reference length (of two the shorter).
- ROUGE-L (Lin 2004): F of the longest common subsequence, beta 1.2, best precision and best recall
  over the references.
- CIDEr-D (Vedantam et al. 2015): clipped tf-idf similarity of n-grams, n = 1 to 4, a Gaussian
  (sigma 6) on the difference in length, times 10; document frequencies are those of the references
  scored here, so it is not comparable between sets, and of a single picture it is 0.

The published evaluation splits words by a Java program (PTBTokenizer); `words` follows its rules
for plain English captions.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sensorium.tasks.records import Records, TaskError, fingerprint, in_order, read, records, write
from sensorium.tasks.scores import SEED, Score, Scores, bootstrap, mean, places, resamples

N = 4
BETA = 1.2
SIGMA = 6.0
TIMES = 1000
CLITICS = re.compile(r"(?<=\w)(n't|'s|'re|'ve|'ll|'d|'m)\b")
PIECE = re.compile(r"n't(?!\w)|'(?:s|re|ve|ll|d|m)(?!\w)|\w+(?:[-.,/]\w+)*|[^\w\s]")

Grams = Counter[tuple[str, ...]]


def words(text: str) -> list[str]:
    """Lower-case words, clitics on their own ("is n't"), punctuation left out."""
    apart = CLITICS.sub(r" \1", text.lower().replace("’", "'"))
    return [piece for piece in PIECE.findall(apart) if any(c.isalnum() for c in piece)]


def captioning(
    said: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Scores:
    """Scores one caption a picture.

    Args:
        said: the caption of each picture, by its id.
        references: people's captions of each.
        path, about: as in `vqa`.

    Returns:
        {"captioning": {"BLEU-1", ..., "BLEU-4", "ROUGE-L", "CIDEr-D"}}; intervals resample pictures
        (CIDEr-D's document frequencies stay those of the whole set).

    Raises:
        TaskError: no pictures, captions and references of different pictures, no reference.
    """
    if said.keys() != references.keys():
        odd = sorted(said.keys() ^ references.keys())
        raise TaskError(f"{len(odd)} pictures have no caption or no reference, such as {odd[0]!r}")
    ids = list(said)
    rows = []
    for place in in_order(ids):
        name = ids[place]
        theirs = list(references[name])
        if not theirs or not any(words(one) for one in theirs):
            raise TaskError(f"picture {name!r} has no reference with a word in it")
        row = {"part": "captioning", "id": name, "cluster": name}
        rows.append(row | {"said": said[name], "references": theirs})
    facts = {"data": fingerprint((r["id"], r["references"]) for r in rows)}
    kept = records(
        "captioning", {}, facts | {"split": None, "model": None} | dict(about or {}), rows
    )
    if path is not None:
        write(path, kept)
    return score(kept)


def score(source: str | os.PathLike[str] | Records) -> Scores:
    """The scores of a records file, from the file alone. TaskError: damaged, or of another task."""
    kept = source if isinstance(source, Records) else read(source)
    if kept.header["task"] != "captioning":
        raise TaskError(f"records of {kept.header['task']!r}: they hold no captions")
    mine = [words(row["said"]) for row in kept.rows]
    theirs = [[words(one) for one in row["references"]] for row in kept.rows]
    names = places([row["cluster"] for row in kept.rows])
    counts = np.array([counted(m, t) for m, t in zip(mine, theirs, strict=True)], dtype=np.float64)
    draws = [row for block in resamples(len(mine), TIMES, SEED) for row in block]
    spread = bleu(np.stack(draws).astype(np.float64) @ counts)
    value = bleu(counts.sum(axis=0)[None])[0]
    low, high = np.quantile(spread, (0.025, 0.975), axis=0)
    found = {
        f"BLEU-{n + 1}": Score(
            float(value[n]),
            min(float(low[n]), float(value[n])),
            max(float(high[n]), float(value[n])),
            len(mine),
        )
        for n in range(N)
    }
    pairs = list(zip(mine, theirs, strict=True))
    found["ROUGE-L"] = bootstrap(np.array([rouge(m, t) for m, t in pairs]), mean, names, TIMES)
    found["CIDEr-D"] = bootstrap(cider(mine, theirs), mean, names, TIMES)
    return {"captioning": found}


# --- the metrics ---------------------------------------------------------------------------------


def grams(said: Sequence[str], n: int) -> Grams:
    """How often each run of n words occurs."""
    return Counter(tuple(said[i : i + n]) for i in range(len(said) - n + 1))


def counted(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    """What BLEU adds up: right and all n-grams for each n, own length, nearest reference length."""
    right, every = [], []
    for n in range(1, N + 1):
        most: Grams = Counter()
        for one in references:
            most |= grams(one, n)
        own = grams(said, n)
        right.append(sum((own & most).values()))
        every.append(max(0, len(said) - n + 1))
    near = min((abs(len(one) - len(said)), len(one)) for one in references)[1]
    return [*right, *every, len(said), near]


def bleu(sums: Float[np.ndarray, "b s"]) -> Float[np.ndarray, "b n"]:
    """BLEU-1 to BLEU-4 of sums of `counted`; 0 where a precision is 0."""
    right, every, own, near = sums[:, :N], sums[:, N : 2 * N], sums[:, -2], sums[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(every > 0, right / np.maximum(every, 1), 0.0))
        brevity = np.where(own > 0, np.minimum(0.0, 1 - near / np.maximum(own, 1e-9)), -np.inf)
        steps = np.arange(1, N + 1)
        return np.exp(np.cumsum(logs, axis=1) / steps + brevity[:, None])


def rouge(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of one caption; 0 for one without words."""
    if not said:
        return 0.0
    shared = [(common(said, one), len(one)) for one in references if one]
    precision = max(n for n, _ in shared) / len(said)
    recall = max(n / length for n, length in shared)
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for j, theirs in enumerate(other, 1):
            here = row[j]
            row[j] = before + 1 if word == theirs else max(row[j], row[j - 1])
            before = here
    return row[-1]


def cider(
    said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> Float[np.ndarray, " b"]:
    """CIDEr-D of each caption, document frequencies over the references of all pictures."""
    seen: Counter[tuple[str, ...]] = Counter()
    for several in references:
        seen.update({g for one in several for n in range(1, N + 1) for g in grams(one, n)})
    total = math.log(len(said))

    def weighed(text: Sequence[str], n: int) -> dict[tuple[str, ...], float]:
        found = grams(text, n)
        return {g: count * (total - math.log(max(1, seen[g]))) for g, count in found.items()}

    out = np.zeros(len(said))
    for place, (own, several) in enumerate(zip(said, references, strict=True)):
        for n in range(1, N + 1):
            mine = weighed(own, n)
            size = math.sqrt(sum(v * v for v in mine.values()))
            for one in several:
                theirs = weighed(one, n)
                norm = size * math.sqrt(sum(v * v for v in theirs.values()))
                if norm == 0:
                    continue
                dot = sum(min(v, theirs[g]) * theirs[g] for g, v in mine.items() if g in theirs)
                gap = _pairs(own) - _pairs(one)
                out[place] += dot / norm * math.exp(-(gap**2) / (2 * SIGMA**2)) / len(several)
    return out * 10 / N


def _pairs(text: Sequence[str]) -> int:
    """The length as CIDEr-D takes it: the number of pairs of neighbours."""
    return max(0, len(text) - 1)
