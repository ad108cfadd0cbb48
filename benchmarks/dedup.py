"""Near de-duplication beside datasketch: signatures and bands of the same files, on one core.

python benchmarks/dedup.py FOLDER [--files 300] [--rounds 3]

FOLDER holds shards, as `sensorium code data` leaves them. Both sides get the same texts and make
5-gram shingles in the published way, 256 permutations, 25 bands of 10 rows. Rounds alternate; the
least of the processor's seconds counts (the machine may be busy), and the ratio of the two.
"""

import argparse
import json
import resource
import time
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


def main() -> None:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    every = [t for t in texts(options.folder) if shingles(t, 5)]
    step = max(1, len(every) // options.files)
    some = every[::step][: options.files]
    size = sum(len(t.encode()) for t in some) / 1e6
    spent: dict[str, list[float]] = {"ours": [], "datasketch": []}
    for _ in range(options.rounds):
        for name, way in (("ours", ours), ("datasketch", theirs)):
            start = time.process_time()
            way(some)
            spent[name].append(time.process_time() - start)
    least = {name: min(times) for name, times in spent.items()}
    found = {
        "files": len(some),
        "MB": round(size, 2),
        "MB/s": {name: round(size / seconds, 2) for name, seconds in least.items()},
        "times datasketch": round(least["datasketch"] / least["ours"], 2),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(found | agreement(some, ours(some))))


if __name__ == "__main__":
    main()
