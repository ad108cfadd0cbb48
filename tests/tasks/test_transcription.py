"""Error rates of transcripts, and what makes transcripts alike before they are compared."""

import json
from pathlib import Path

import pytest

from sensorium.datasets.speech import Spoken
from sensorium.tasks.normalise import basic, english, letters, named
from sensorium.tasks.records import TaskError, read
from sensorium.tasks.spoken_numbers import numbers_to_digits
from sensorium.tasks.transcription import edits, rates, shown, transcription

SAID = {  # what Whisper's own normaliser gives
    "two and a half million dollars": "$2500000",
    "£5 and 20 cents": "£5.20",
    "Mr. Smith isn't going to the colour-theatre (laughs)": (
        "mister smith is not going to the color theater"
    ),
    "I'd been, um, there": "i had been there",
    "Let's [cough] go, y'all": "let us go you all",
    "10,000 people can't": "10000 people can not",
    "naïve Straße": "naive strasse",
}
NUMBERS = {
    "five twenty four": "524",
    "nineteen ninety nine": "1999",
    "four point two billions": "4200000000s",
    "two double o eight": "2008",
    "forty three thousand two hundred and sixty": "43260",
    "thirty three thousand and three hundred and thirty third": "33333rd",
    "july third twenty twenty": "july 3rd 2020",
    "3 point 14": "3.14",
    "two point two five dollars": "$2.25",
    "seventy six per cent": "76%",
    "one triple oh one": "10001",
    "thirty two thousandth": "32000th",
    "minus two degrees": "-2 degrees",
    "one of them": "one of them",
    "a pound of salt and a half": "a pound of salt and a half",
}


@pytest.mark.parametrize("text", SAID)
def test_english_is_normalised_as_the_original_does(text: str) -> None:
    assert english(text) == SAID[text]


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_are_written_in_digits(text: str) -> None:
    assert numbers_to_digits(text) == NUMBERS[text]


def test_other_languages_keep_their_marks_and_some_are_split() -> None:
    assert basic("Où est-il ? [bruit]") == "où est il"
    assert letters("今日は、") == "今 日 は"
    with pytest.raises(TaskError, match="no normaliser 'x'"):
        named("x")


def plain_distance(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def test_edits_are_the_fewest_and_the_alignment_spells_both_texts() -> None:
    texts = ["", "a", "a b c", "a c", "b c a d", "x a b b c", "c b a", "a b c d e f", "f e a b"]
    for one in texts:
        for two in texts:
            a, b = one.split(), two.split()
            found = edits(a, b)
            assert found.count == plain_distance(a, b)
            assert [x for x, _ in found.steps if x is not None] == a
            assert [y for _, y in found.steps if y is not None] == b
    steps = edits(["the", "cat", "sat"], ["the", "hat", "sat", "down"]).steps
    assert shown(steps) == "the [cat -> hat] sat [ -> down]"


SAMPLES = [
    Spoken(b"1", "Two cats.", "en", "ann", "a"),
    Spoken(b"2", "the colour of the sea", "en", "bob", "b"),
    Spoken(b"3", "good night", "en", "bob", "c"),
]
TEXTS = {b"1": "2 cats", b"2": "The color of a sea.", b"3": "good"}


def test_rates_are_of_all_words_and_are_recomputed_from_the_records(tmp_path: Path) -> None:
    at = tmp_path / "records.jsonl"
    found = transcription(lambda sounds: [TEXTS[s] for s in sounds], SAMPLES, path=at)
    assert found["normalised"]["wer"].value == pytest.approx(2 / 9)
    assert found["raw"]["wer"].value == pytest.approx(7 / 9)
    assert found["normalised"]["wer"].low <= 2 / 9 <= found["normalised"]["wer"].high
    assert rates(read(at)) == found
    rows = [json.loads(line) for line in at.read_text().splitlines()[1:-1]]
    assert rows[1]["alignment"] == "the color of [the -> a] sea"
    assert {row["normaliser"] for row in rows} == {"raw/1", "whisper-english/1"}


def test_a_reference_without_words_and_missing_transcripts_are_refused() -> None:
    with pytest.raises(TaskError, match="no words"):
        transcription(lambda s: ["x"] * len(s), [Spoken(b"", "(um)", "en", "", "a")])
    with pytest.raises(TaskError, match="0 transcripts for 3"):
        transcription(lambda s: [], SAMPLES)
