"""Near de-duplication beside datasketch: signatures and bands of the same files, on one core.

python benchmarks/dedup.py FOLDER [--files 300] [--rounds 7]

FOLDER holds shards, as `sensorium code data` leaves them. Both sides get the same texts and make
the same 5-gram shingles, which this library cuts for both, 256 permutations, 25 bands of 10 rows.
Rounds alternate and change places, after one that does not count. Seconds are the processor's of
this process, not the clock's; the ratio is the median of the rounds' own.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from datasketch import MinHash, MinHashLSH

from sensorium.corpus.minhash import Settings, band_keys, jaccard, shingles
from sensorium.corpus.same import components
from sensorium.corpus.shards import texts


def ours(some: list[str]) -> np.ndarray:
    """The group of each text."""
    settings = Settings()
    keys = np.stack([k for k in (band_keys(text, settings) for text in some) if k is not None])
    return components(list(keys.T))


def theirs(some: list[str]) -> list[list[int]]:
    """What datasketch's index finds for each text."""
    index, made = MinHashLSH(num_perm=256, params=(25, 10)), []
    for number, text in enumerate(some):
        one = MinHash(num_perm=256)
        one.update_batch(list(shingles(text, 5)))
        index.insert(number, one)
        made.append(one)
    return [sorted(map(int, map(str, index.query(one)))) for one in made]


def agreement(some: list[str], groups: np.ndarray) -> dict[str, float]:
    """Pairs that are found of those above 0.7 by exact Jaccard, and how many found ones are."""
    sets = [shingles(text, 5) for text in some]
    real = right = found = 0
    for i in range(len(sets)):
        for j in range(i):
            small, large = sorted((len(sets[i]), len(sets[j])))
            near = small >= 0.7 * large and jaccard(sets[i], sets[j]) >= 0.7
            same = bool(groups[i] == groups[j])
            real, found, right = real + near, found + same, right + (near and same)
    return {"pairs": real, "recall": right / max(1, real), "precision": right / max(1, found)}


def seconds(way: Callable[[list[str]], object], some: list[str]) -> float:
    """The processor's seconds of this process that a way takes."""
    start = time.process_time()
    way(some)
    return time.process_time() - start


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    every = [t for t in texts(options.folder) if shingles(t, 5)]
    step = max(1, len(every) // options.files)
    some = every[::step][: options.files]
    size = sum(len(t.encode()) for t in some) / 1e6
    for way in (ours, theirs):
        way(some[:10])
    mine, other = [], []
    for number in range(options.rounds):
        for first in (number % 2 == 0, number % 2 == 1):
            (mine if first else other).append(seconds(ours if first else theirs, some))
    ratios = sorted(o / m for m, o in zip(mine, other, strict=True))
    found = {
        "files": len(some),
        "MB": round(size, 2),
        "MB/s": round(size / statistics.median(mine), 2),
        "datasketch MB/s": round(size / statistics.median(other), 2),
        "times datasketch": round(statistics.median(ratios), 2),
        "least and most": [round(ratios[0], 2), round(ratios[-1], 2)],
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(found | agreement(some, ours(some))))


if __name__ == "__main__":
    main()
