"""Caption metrics by hand, and against the definitions written out slowly."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest

from sensorium.tasks.captioning import bleu, captioning, cider, common, counted, rouge, score, words
from sensorium.tasks.records import TaskError

CAT = ["the", "cat", "sat", "on", "the", "mat"]


def test_words_as_captions_are_split():
    assert words("A man's dog isn't here, is it?") == [
        "a",
        "man",
        "'s",
        "dog",
        "is",
        "n't",
        "here",
        "is",
        "it",
    ]
    assert words("Two-tone T-shirt; 3.5 (nice!)") == ["two-tone", "t-shirt", "3.5", "nice"]
    assert words(" ... ") == []


def set_bleu(pairs):
    return bleu(np.array([counted(s, r) for s, r in pairs], dtype=np.float64).sum(axis=0)[None])[0]


def test_bleu_by_hand():
    assert set_bleu([(CAT, [CAT])]) == pytest.approx([1, 1, 1, 1])
    said = ["the", "cat", "the", "cat", "on", "the", "mat"]  # 7 words against 6: no brevity
    # 1-grams: the 2 of 3, cat 1 of 2, on, mat -> 5/7; 2-grams: the cat, on the, the mat -> 3/6
    assert set_bleu([(said, [CAT])])[:2] == pytest.approx([5 / 7, math.sqrt(5 / 7 * 3 / 6)])
    short = ["the", "cat"]  # all right, but 2 words against the nearest 4
    near = [CAT, ["the", "cat", "was", "here"]]
    assert set_bleu([(short, near)])[:2] == pytest.approx([math.exp(1 - 4 / 2)] * 2)
    assert set_bleu([(short, near)])[2] == 0  # no run of three words
    assert set_bleu([([], [CAT])]) == pytest.approx([0, 0, 0, 0])


def test_brevity_takes_the_nearest_length_and_of_two_the_shorter():
    assert counted(["a"] * 5, [["b"] * 4, ["c"] * 6, ["d"] * 9])[-2:] == [5, 4]


def slow_common(one, other):
    """The longest subsequence, by trying them all."""
    for size in range(min(len(one), len(other)), 0, -1):
        mine = set(itertools.combinations(one, size))
        if mine & set(itertools.combinations(other, size)):
            return size
    return 0


def test_rouge():
    rng = random.Random(0)
    for _ in range(30):
        one, other = ([rng.choice("abc") for _ in range(rng.randint(0, 7))] for _ in "xy")
        assert common(one, other) == slow_common(one, other)
    said = ["the", "cat", "was", "on", "the", "mat"]  # 5 in common of 6 and 6
    assert rouge(said, [CAT]) == pytest.approx(5 / 6)
    p, r = 2 / 2, 2 / 6
    assert rouge(["the", "cat"], [CAT]) == pytest.approx(2.44 * p * r / (r + 1.44 * p))
    assert rouge([], [CAT]) == rouge(["dog"], [CAT]) == 0


def test_cider_by_hand():
    """Two pictures, words of one letter: only 1-grams and the pair are shared."""
    said, references = [["a", "b"], ["c"]], [[["a", "b"]], [["d"]]]
    # every n-gram is of one picture: idf log 2; cosine 1 for n = 1 and 2, none for 3 and 4
    assert cider(said, references) == pytest.approx([10 * (1 + 1) / 4, 0])
    longer = [["a", "b", "b"], ["c"]]
    # 1-grams: (1, 2) clipped to (1, 1) against (1, 1): 2 / (sqrt 5 sqrt 2)
    # 2-grams: ab, bb against ab: 1 / sqrt 2; the length differs by one pair
    wanted = 10 / 4 * (2 / math.sqrt(10) + 1 / math.sqrt(2)) * math.exp(-1 / 72)
    assert cider(longer, references)[0] == pytest.approx(wanted)


def test_what_every_picture_has_weighs_nothing():
    said, references = [["a"], ["a"]], [[["a"]], [["a"]]]
    assert cider(said, references) == pytest.approx([0, 0])


def test_scores_from_records(tmp_path: Path):
    rng = random.Random(0)
    references = {
        f"p{i}": [" ".join(rng.choices("abcdefgh", k=8)) for _ in range(3)] for i in range(40)
    }
    said = {name: several[0] + " z" for name, several in references.items()}
    found = captioning(said, references, path=tmp_path / "r.gz")["captioning"]
    assert score(tmp_path / "r.gz")["captioning"] == found
    for one in found.values():
        assert one.low <= one.value <= one.high and one.n == 40
    assert 0.8 < found["BLEU-4"].value < 1 and 2 < found["CIDEr-D"].value < 10
    pairs = [(words(said[k]), [words(r) for r in references[k]]) for k in said]
    assert found["BLEU-4"].value == pytest.approx(set_bleu(pairs)[3])


def test_what_cannot_be_scored():
    with pytest.raises(TaskError, match="no caption or no reference, such as 'b'"):
        captioning({"a": "x"}, {"a": ["x"], "b": ["x"]})
    with pytest.raises(TaskError, match="no reference with a word"):
        captioning({"a": "x"}, {"a": ["..."]})
    silent = captioning({"a": "", "b": "x y"}, {"a": ["x y"], "b": ["x y"]})["captioning"]
    assert all(math.isfinite(v) for one in silent.values() for v in one)
