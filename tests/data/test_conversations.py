"""Conversations with pictures: what is typed stays text, and what is learnt is what was meant."""

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.data.chat import TEMPLATES, Message, Part, Template
from sensorium.data.conversations import (
    HOLE,
    MARK,
    Conversation,
    audit,
    encode_pictured,
    encoded,
    fitted,
    joined,
    pictured,
    runs,
    template_of,
)
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.byte_level import ByteLevel
from sensorium.data.tokenizers.words import Words
from tests.data.test_words import PAIRS, sentence

NAMES = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
PATCHES = 5


def words_with(*names: str) -> ByteLevel:
    """A tokenizer that has these special tokens."""
    table = PAIRS["gpt2"][1].table
    more = [name for name in names if name not in table.specials]
    size = len(table.names)
    ids = {name: size + i for i, name in enumerate(more)}
    return ByteLevel(
        table._replace(names=[*table.names, *more], specials={**table.specials, **ids})
    )


BYTES, PIECES = words_with(*NAMES), sentence()
KNOWN: dict[str, Words] = {
    "vicuna": PIECES, "llama-2": PIECES, "plain": PIECES, "chatml": BYTES, "smollm2": BYTES
}  # fmt: skip
ANSWERS = ("a red cat.", "yes")


def talk(*answers: str, name: str = "one") -> Conversation:
    """A picture, and a question for each answer."""
    turns = []
    for number, answer in enumerate(answers):
        turns += [Message("user", f"{MARK}\nwhat?" if not number else "and?")]
        turns += [Message("assistant", answer)]
    return Conversation(tuple(turns), (b"picture",), name)


@pytest.mark.parametrize("name", KNOWN)
def test_answers_and_their_ends_are_learnt_and_nothing_else(name: str) -> None:
    words, how = KNOWN[name], template_of(name)
    said = ANSWERS[:1] if name == "plain" else ANSWERS
    made = encoded(talk(*said), words, how, PATCHES, 500)
    found = [made.ids[a:b] for a, b in runs(made)]
    assert [words.decode(ids).strip() for ids in found] == list(said)
    ends = {words.specials[end] for end in how.ends}
    assert all(ids[-1] in ends for ids in found) or name == "plain"
    assert made.ids[made.holes[0] :][:PATCHES] == [HOLE] * PATCHES
    assert not any(made.learnt[made.holes[0] :][:PATCHES]) and len(made.holes) == 1


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=12), place=st.integers(0, 3), name=st.sampled_from(sorted(KNOWN)))
def test_what_is_typed_never_becomes_a_picture_or_a_special_token(
    text: str, place: int, name: str
) -> None:
    """Whatever letters: every special string, "<image>", and the mark itself."""
    typed = f"{text}{('<image>', '<|im_end|>', '</s>', MARK)[place]}{text}"
    messages, images = pictured([{"role": "user", "content": typed}])
    made = encode_pictured(template_of(name).parts(messages, True), KNOWN[name], PATCHES)
    empty, _ = pictured([{"role": "user", "content": "x"}])
    bare = encode_pictured(template_of(name).parts(empty, True), KNOWN[name], PATCHES)
    special = set(KNOWN[name].specials.values())
    assert not made.holes and not images
    assert [i for i in made.ids if i in special] == [i for i in bare.ids if i in special]


def test_pictures_come_in_parts_and_nothing_is_fetched(tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"png").decode()
    parts = [
        {"type": "text", "text": "what is <image>?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    messages, images = pictured([{"role": "user", "content": parts}])
    assert images == [b"png"] and messages[0].text == f"{MARK}\nwhat is <image>?"
    two = [*parts, {"type": "image", "image": tmp_path / "b.png"}]
    messages, images = pictured([{"role": "user", "content": two}])
    assert (
        messages[0].text == f"what is <image>?\n{MARK}\n{MARK}" and images[1] == tmp_path / "b.png"
    )
    for part, word in (
        ({"type": "image_url", "image_url": {"url": "http://x/a.png"}}, "nothing is fetched"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "no file is opened"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,§"}}, "base64"),
        ({"type": "image", "image": "/etc/passwd"}, "path object"),
        ({"type": "audio"}, "'audio'"),
    ):
        with pytest.raises(DataError, match=word):
            pictured([{"role": "user", "content": [part]}])
    with pytest.raises(DataError, match="assistant holds a picture"):
        pictured([{"role": "user", "content": "x"}, {"role": "assistant", "content": parts}])


def _wrong(*learnt: bool) -> Template:
    """A template that learns questions, answers, and the ends of answers, as said."""

    def parts(messages, reply):
        out = []
        for one in messages:
            asked = one.role == "user"
            out.append(Part(one.text + " ", learnt=learnt[0] if asked else learnt[1]))
            out.append(Part("<|im_end|>", True, learnt=not asked and learnt[2]))
        return out

    return Template(parts, ("<|im_end|>",))


@pytest.mark.parametrize(
    ("learnt", "word"),
    [
        ((False, False, False), "one: no token is learnt"),
        ((True, False, False), "disagree: answer 1 is 'a red cat.', what is learnt is 'what"),
        ((False, True, False), "the token that ends answer 1 is not learnt"),
        ((True, True, True), "2 answers, and 3 stretches"),
    ],
)
def test_a_template_whose_mask_is_wrong_is_refused(learnt: tuple[bool, ...], word: str) -> None:
    one = talk(*ANSWERS)
    if learnt[0] and not learnt[1]:
        one = one._replace(
            messages=tuple(Message(m.role, m.text.replace(MARK, "")) for m in one[0])
        )
    with pytest.raises(DataError, match=word):
        encoded(one, BYTES, _wrong(*learnt), PATCHES, 500)
    encoded(one, BYTES, _wrong(False, True, True), PATCHES, 500)


def test_a_cut_that_eats_an_answer_is_refused_and_says_which() -> None:
    how = TEMPLATES["chatml"]
    one = talk(*ANSWERS)
    made = encoded(one, BYTES, how, PATCHES, 500)
    last = runs(made)[-1][1]
    assert len(made.ids) > last  # a new line stands behind the last answer, and is not learnt
    assert encoded(one, BYTES, how, PATCHES, last).ids == made.ids[:last]
    with pytest.raises(DataError, match=r"one: .* answer 2 of 2 would be cut"):
        encoded(one, BYTES, how, PATCHES, last - 1)
    with pytest.raises(DataError, match="answer 1 of 2"):
        fitted(one, made, 8)
    audit(one, made, BYTES, how)


def test_rounds_about_one_picture_are_joined() -> None:
    one, two = talk("a"), talk("b", name="two")
    both = joined([one, two])
    assert both.images == one.images and [m.text for m in both.messages] == [
        f"{MARK}\nwhat?", "a", "what?", "b"
    ]  # fmt: skip
    with pytest.raises(DataError, match="two shows other pictures than one"):
        joined([one, two._replace(images=(b"other",))])


def test_unknown_templates_are_named() -> None:
    with pytest.raises(DataError, match=r"'alpaca'.*plain"):
        template_of("alpaca")
