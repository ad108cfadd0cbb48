"""The tokens of a window of speech, and which of them are learnt."""

import pytest

from sensorium.data.clips import Piece, script
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, Spoken, published

ENGLISH, MANY = Spoken(published(ENGLISH_ONLY)), Spoken(published(ENGLISH_ONLY + 1))
PIECES = [Piece(0.0, 1.5, "Good morning."), Piece(2.0, 3.24, " How are you?")]


def spelt(spoken: Spoken, ids: list[int]) -> str:
    names = {i: name for name, i in spoken.words.specials.items()}
    return "".join(names.get(i) or spoken.words.decode([i]) for i in ids)


def test_one_vocabulary_holds_language_task_times_and_text() -> None:
    made = script(MANY, PIECES, MANY.start("de", "translate"), True, [], 448)
    assert spelt(MANY, made.ids) == (
        "<|startoftranscript|><|de|><|translate|><|0.00|> Good morning.<|1.50|><|2.00|>"
        " How are you?<|3.24|><|endoftext|>"
    )
    assert made.learnt == [False] + [True] * (len(made.ids) - 1)
    made = script(ENGLISH, PIECES, ENGLISH.start("en"), False, [], 448)
    assert spelt(ENGLISH, made.ids) == (
        "<|startoftranscript|><|notimestamps|> Good morning. How are you?<|endoftext|>"
    )


def test_a_piece_that_is_cut_off_has_its_start_told_or_is_left_out() -> None:
    cut = [PIECES[0], Piece(29.0, None, "This is cut")]
    timed = script(ENGLISH, cut, ENGLISH.start("en"), True, [], 448)
    assert spelt(ENGLISH, timed.ids).endswith(" Good morning.<|1.50|><|29.00|><|endoftext|>")
    plain = script(ENGLISH, cut, ENGLISH.start("en"), False, [], 448)
    assert spelt(ENGLISH, plain.ids).endswith("<|notimestamps|> Good morning.<|endoftext|>")


def test_silence_is_told_behind_the_start() -> None:
    made = script(MANY, [], MANY.start("en"), True, [], 448)
    assert made.ids == [MANY.sot, MANY.no_speech, MANY.eot]


def test_the_text_before_is_read_and_not_learnt_and_its_last_words_are_kept() -> None:
    before = list(range(1000, 1300))
    made = script(ENGLISH, PIECES, ENGLISH.start("en"), False, before, 448)
    at = made.ids.index(ENGLISH.sot)
    assert made.ids[:at] == [ENGLISH.start_of_prev, *before[-223:]]
    assert made.learnt == [False] * (at + 1) + [True] * (len(made.ids) - at - 1)
    short = script(ENGLISH, PIECES, ENGLISH.start("en"), False, before, 16)
    assert len(short.ids) == 16 and short.ids[0] == ENGLISH.start_of_prev


def test_languages_without_spaces_begin_without_one() -> None:
    made = script(MANY, [Piece(0.0, 1.0, "你好")], MANY.start("zh"), False, [], 448)
    assert MANY.text(made.ids) == "你好"
    made = script(MANY, [Piece(0.0, 1.0, "Hello")], MANY.start("zh", "translate"), False, [], 448)
    assert MANY.text(made.ids) == " Hello"


def test_what_does_not_fit_is_refused() -> None:
    start = ENGLISH.start("en")
    with pytest.raises(DataError, match="cut it into pieces"):
        script(ENGLISH, [Piece(0.0, 9.0, "word " * 60)], start, False, [], 48)
    with pytest.raises(DataError, match=r"a time of 31\.00 s"):
        script(ENGLISH, [Piece(0.0, 31.0, "word")], start, True, [], 48)
