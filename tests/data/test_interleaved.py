"""Documents with pictures in them: what is read, what is learnt, and what is refused."""

import pytest

from sensorium.data.errors import DataError
from sensorium.data.interleaved import (
    CHUNK,
    MARK,
    PICTURE,
    Document,
    Marks,
    Part,
    encoded,
    learns,
    marks,
    sound,
    spread,
)
from sensorium.data.tokenizers.extended import extended
from tests.verbs.test_speak import model_of

WORDS = extended(model_of().words, (CHUNK, MARK))  # type: ignore[arg-type]


def document(*parts: Part, pictures: int | None = None) -> Document:
    count = sum(part == PICTURE for part in parts) if pictures is None else pictures
    return Document(tuple(parts), (b"",) * count, "a.jsonl: row 3")


def told(one: Document, longest: int = 200, most: int = 6) -> tuple[str, str]:
    """What is read, and of it what is learnt, marks written out."""
    made, names = encoded(one, WORDS, longest, most), {v: k for k, v in WORDS.specials.items()}
    pieces = [names.get(id, "") or WORDS.decode([id]) for id in made.ids]
    return "".join(pieces), "".join(
        p for p, learnt in zip(pieces, made.learnt, strict=True) if learnt
    )


def test_words_behind_a_picture_are_learnt_and_nothing_else() -> None:
    """OpenFlamingo's rule, by hand: 0 and 5 are words, 1 a picture, 2 the end of a chunk."""
    ids = [5, 0, 1, 5, 5, 2, 0, 1, 1, 5, 2, 9]
    assert learns(ids, Marks(1, 2, 9)) == [
        *(False, False, False, True, True, True),
        *(False, False, False, True, True, False),
    ]


def test_a_document_is_chunks_each_with_its_picture() -> None:
    end = {v: k for k, v in WORDS.specials.items()}.get(WORDS.eos or -1, "")
    read, learnt = told(document("Intro.", PICTURE, " a cat ", PICTURE, PICTURE, "two dogs"))
    assert read == f"Intro.{MARK}a cat{CHUNK}{MARK}{MARK}two dogs{CHUNK}{end}"
    assert learnt == f"a cat{CHUNK}two dogs{CHUNK}"
    assert spread(document(PICTURE, "a", "b")) == [0, "a b", 1]


def test_the_first_pictures_and_tokens_are_read_and_a_picture_with_nothing_behind_is_not() -> None:
    one = document(PICTURE, "abc", PICTURE, "def", PICTURE, "ghi")
    assert encoded(one, WORDS, 200, most=2).pictures == 2
    whole = encoded(one, WORDS, 200)
    assert whole.pictures == 3 and whole.ids.count(WORDS.specials[MARK]) == 3
    for longest in range(2, len(whole.ids)):
        made = encoded(one, WORDS, longest)
        assert made.ids == whole.ids[: len(made.ids)] and made.ids[-1] != WORDS.specials[MARK]
        assert made.pictures == made.ids.count(WORDS.specials[MARK]) and any(made.learnt)


def test_what_people_type_never_becomes_a_mark() -> None:
    made = encoded(document(PICTURE, f"a {MARK} b {CHUNK} <PAD>"), WORDS, 200)
    assert made.pictures == 1 and made.ids.count(WORDS.specials[MARK]) == 1
    assert made.ids.count(WORDS.specials[CHUNK]) == 1


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (document(PICTURE, "a", pictures=2), "2 pictures, and 1 places"),
        (document(PICTURE, "a", PICTURE, pictures=1), "1 pictures, and 2 places"),
        (document("a"), "shows no picture"),
        (document(PICTURE), "has no words"),
        (document(PICTURE, "  \n"), "has no words"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_by_name(one: Document, says: str) -> None:
    with pytest.raises(DataError, match=f"row 3: .*{says}"):
        sound(one)


def test_nothing_to_learn_and_a_tokenizer_without_marks_are_refused() -> None:
    with pytest.raises(DataError, match="no token of the first 3 is learnt"):
        encoded(document("a long beginning", PICTURE, "a"), WORDS, 3)
    with pytest.raises(DataError, match="no words follow"):
        encoded(document("a", PICTURE), WORDS, 30)
    plain = model_of().words
    assert plain is not None
    with pytest.raises(DataError, match="no token <image>"):
        marks(plain)


def test_more_special_tokens_leave_the_others_as_they_were() -> None:
    plain = model_of().words
    assert plain is not None and WORDS.vocab == plain.vocab + 2
    text = "Some words, 12 of them; ünïcode too."
    assert WORDS.encode(text) == plain.encode(text)
    assert WORDS.specials[CHUNK] == plain.vocab and WORDS.specials[MARK] == plain.vocab + 1
    assert extended(WORDS, (MARK,)).specials == WORDS.specials
