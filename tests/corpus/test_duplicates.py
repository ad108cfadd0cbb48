"""Duplicates: signatures and groups against slow twins, planted pairs against theory."""

import numpy as np
import pytest

from sensorium.corpus.document import Document
from sensorium.corpus.minhash import (
    PRIME,
    Arithmetic,
    Settings,
    _permutations,
    band_keys,
    bands,
    by_formula,
    by_halves,
    found,
    hashes,
    jaccard,
    never_subtracts,
    shingles,
    signature,
    words,
)
from sensorium.corpus.near import keys
from sensorium.corpus.same import components

TEXT = "def f(x_1):\n    return x_1 + 2  # é 漢字 \U0001f600\n\nclass A:\n    pass\n" * 2


def test_shingles_are_those_of_the_published_pattern() -> None:
    pieces = words(TEXT)
    slow = {" ".join(pieces[i : i + 5]) for i in range(len(pieces) - 4)}
    assert {s.decode() for s in shingles(TEXT, 5)} == slow
    assert shingles("a b c d", 5) == set() and len(shingles("a b c d e", 5)) == 1


def test_the_hash_is_the_first_four_bytes_of_sha1() -> None:
    assert hashes({b"hello"}).tolist() == [499578026]


@pytest.mark.parametrize("arithmetic, wraps", [("legacy", 2**64), ("exact", 2**200)])
def test_signatures_equal_the_formula(arithmetic: Arithmetic, wraps: int) -> None:
    a, b = _permutations(16)
    hashed = np.random.default_rng(0).integers(0, 2**32, 300, dtype=np.uint32)
    slow = [
        min((int(h) * int(p) + int(q)) % wraps % int(PRIME) % 2**32 for h in hashed)
        for p, q in zip(a, b, strict=True)
    ]
    fast = signature(hashed, Settings(permutations=16, arithmetic=arithmetic))
    assert fast.tolist() == slow


def crafted(rng: np.random.Generator, low: int, top: int) -> tuple[int, int, int]:
    """h, a and b for which x = h * a + b has a given low half and top three bits."""
    h, a = int(rng.integers(1, 2**32)), int(rng.integers(1, 2**61))
    x = (top << 61) + (int(rng.integers(0, 2**29 - 1)) << 32) + low
    return h, a, (x - h * a) % 2**64


def test_halves_equal_the_formula_where_low_halves_wrap_around(rng: np.random.Generator) -> None:
    lows = [*range(12), *range(2**32 - 12, 2**32)]
    made = np.array([crafted(rng, low, top) for low in lows for top in range(8)], np.uint64)
    hashed = made[:, 0].astype(np.uint32)
    a, b = made[:, 1], made[:, 2]
    for some in (hashed, np.concatenate([hashed, rng.integers(0, 2**32, 900).astype(np.uint32)])):
        assert (by_halves(some, a, b) == by_formula(some, a, b, "legacy")).all()
        one_by_one = np.array([by_halves(h[None], a, b) for h in some[:200]])
        slow = np.array([by_formula(h[None], a, b, "legacy") for h in some[:200]])
        assert (one_by_one == slow).all()
    none = by_halves(np.empty(0, np.uint32), a, b)
    assert (none == 2**32 - 1).all()


def test_that_no_hash_needs_a_subtraction_is_proven() -> None:
    a, b = _permutations(256)
    assert all(map(never_subtracts, a.tolist(), b.tolist()))
    assert never_subtracts(3, 5)  # 3 * h + 5 stays below 2^34
    for a_one in (3, 2**60 + 2**9, 2**61 - 2, 2**40 * 5):
        for x in (2**61 - 1, 2**62 - 1, 2**64 - 1, 2**64 - 7, 2**64 - 8):
            assert not never_subtracts(a_one, (x - 123456 * a_one) % 2**64)


def test_bands_are_the_published_ones() -> None:
    assert bands(0.7, 256) == (25, 10) and bands(0.85, 256) == (13, 19)
    assert found(np.array([0.6, 0.7, 0.8]), 25, 10).round(2).tolist() == [0.14, 0.51, 0.94]


def pair(index: float, rng: np.random.Generator) -> tuple[str, str]:
    """Two texts of given Jaccard index: a shared run of pieces and one of each text's own."""
    shared = 400
    own = round(shared * (1 - index) / (2 * index))
    draw = [[f"w{n}" for n in rng.integers(0, 10**9, size)] for size in (shared, own, own)]
    return " ".join(draw[0] + draw[1]), " ".join(draw[0] + draw[2])


@pytest.mark.parametrize("index", [0.5, 0.7, 0.8, 0.9])
def test_planted_pairs_are_found_as_often_as_theory_says(
    index: float, rng: np.random.Generator
) -> None:
    pairs = [pair(index, rng) for _ in range(60)]
    real = np.array([jaccard(shingles(one, 5), shingles(other, 5)) for one, other in pairs])
    hits = 0
    for one, other in pairs:
        a, b = band_keys(one, Settings()), band_keys(other, Settings())
        assert a is not None and b is not None
        hits += bool((a == b).any())
    expected = found(real, 25, 10)
    error = np.sqrt((expected * (1 - expected)).sum())
    assert abs(hits - expected.sum()) <= 3 * error + 1


def test_groups_equal_a_walk_over_the_graph(rng: np.random.Generator) -> None:
    columns = [rng.integers(0, 150, 200) for _ in range(2)]
    slow = list(range(200))
    changed = True
    while changed:
        changed = False
        for i in range(200):
            for j in range(200):
                if any(c[i] == c[j] for c in columns) and slow[i] != slow[j]:
                    slow[i] = slow[j] = min(slow[i], slow[j])
                    changed = True
    assert components(columns).tolist() == slow


def test_languages_stay_apart_and_short_files_are_kept_or_joined() -> None:
    one = Document(TEXT, "a", "r", lang="Python")
    here, there = (keys(d, Settings(), "keep", True) for d in (one, one._replace(lang="C")))
    assert here is not None and there is not None and (here != there).all()
    short = one._replace(content="a")
    assert keys(short, Settings(), "keep", True) is None
    joined = keys(short, Settings(), "first", False)
    assert joined is not None and len(joined) == 25
