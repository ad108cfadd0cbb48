"""LLaVA's JSON files: good ones are read, and every bad conversation is named before training."""

import json
from pathlib import Path
from typing import Any

import pytest

from sensorium.data.conversations import MARK
from sensorium.data.errors import DataError
from sensorium.datasets.asked import Entry, Questions
from sensorium.datasets.llava import about, llava


def turns(*values: str) -> list[dict[str, str]]:
    """A human and the model in turn."""
    return [{"from": ("human", "gpt")[i % 2], "value": v} for i, v in enumerate(values)]


GOOD: list[dict[str, Any]] = [
    {"id": "a", "image": "1.png", "conversations": turns("What is it?\n<image>", "An <image>.")},
    {"id": 7, "conversations": turns("Hi", "Hello", "And?", "Bye")},
    {"id": "c", "image": ["1.png", "in/2.png"], "conversations": turns("<image> or <image>?", "2")},
]


def written(folder: Path, rows: Any, name: str = "data.json") -> Path:
    """The file, with two pictures beside it."""
    (folder / "in").mkdir(exist_ok=True)
    for picture in ("1.png", "in/2.png"):
        (folder / picture).write_bytes(picture.encode())
    at = folder / name
    lines = "\n".join(map(json.dumps, rows)) if name.endswith("l") else json.dumps(rows)
    at.write_text(lines)
    return at


@pytest.mark.parametrize("name", ["data.json", "data.jsonl"])
def test_conversations_are_read(name: str, tmp_path: Path) -> None:
    found = llava(written(tmp_path, GOOD, name))
    assert found.ids == ["a", "7", "c"] and len(found) == 3
    one = found[0]
    assert one.images == (b"1.png",)
    assert [m.text for m in one.messages] == [f"{MARK}\nWhat is it?", "An <image>."]
    assert [m.role for m in found[1].messages] == ["user", "assistant"] * 2 and not found[1].images
    assert found[2].messages[0].text == f"{MARK} or {MARK}?" and found[2].images[1] == b"in/2.png"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image": "3.png"}, r"0 \(a\): picture '3.png' does not exist"),
        ({"image": "../1.png"}, "climbs out"),
        ({"image": ["1.png", "in/2.png"]}, "2 pictures, and 1 times <image>"),
        ({"image": []}, "0 pictures, and 1 times"),
        ({"id": "c"}, "id is used twice"),
        ({"conversations": turns("<image>")}, "the last message is of the user"),
        ({"conversations": turns("<image>", " ")}, "turn 2: the answer is empty"),
        ({"conversations": turns("<image>", "a")[::-1]}, "it is the user's turn"),
        ({"conversations": [{"from": "gpt", "value": "a"}]}, "no user turn"),
        ({"conversations": [{"from": "bot", "value": "a"}]}, "turn 1 is of 'bot'"),
        ({"conversations": [{"from": "human", "value": 3}]}, "'value' must be a text"),
        ({"conversations": []}, "no turns"),
        ({"conversations": {}}, "a list 'conversations'"),
        ({"image": 3}, "a name or a list of names"),
    ],
)
def test_bad_conversations_are_named(change: dict[str, Any], word: str, tmp_path: Path) -> None:
    at = written(tmp_path, [GOOD[0] | change, *GOOD[1:]])
    with pytest.raises(DataError, match=word) as wrong:
        llava(at)
    assert "1 of 3 conversations cannot be used" in str(wrong.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    for rows in ({}, [], "x"):
        with pytest.raises(DataError, match="must be a list"):
            llava(written(tmp_path, rows))


def test_questions_of_a_picture_are_rounds_of_one_conversation(tmp_path: Path) -> None:
    entries = [Entry(("1.png",), f"q{i}?", (f"a{i}",), f"{i}", "1") for i in range(5)]
    written(tmp_path, [])
    found = about(Questions(tmp_path, entries), rounds=3)
    assert [len(one.messages) for one in found] == [6, 4]
    assert [m.text for m in found[0].messages[:3]] == [f"{MARK}\nq0?", "a0", "q1?"]
    assert found[1].messages[0].text == f"{MARK}\nq3?" and found[1].images == (b"1.png",)
