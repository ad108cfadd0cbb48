"""Decontamination: every planted problem is found, however it is spaced; clean files stay."""

import itertools
import re
import sysconfig
from pathlib import Path

import pytest

from sensorium.corpus.document import Document, Dropped
from sensorium.corpus.leaks import LEAST, benchmarks, docstrings, leaked, needles, search, squeezed
from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import humaneval
from sensorium.datasets.mbpp import ASK, mbpp

OWN = Coding(
    id="own/1",
    prompt='def twice(numbers):\n    """Give back every number of a list two times over."""\n',
    text="",
    entry="twice",
    before="",
    head="",
    tests="",
    names=("twice",),
    reference='def twice(numbers):\n    """Give back every number of a list two times over."""\n'
    "    out = []\n    for one in numbers:\n        out.append(one)\n        out.append(one)\n"
    "    return out or twice([1])\n",
    completes=True,
    together=False,
    cpu=0.0,
    stops=(),
)
BODY = OWN.reference[len(OWN.prompt) :]


@pytest.mark.parametrize(
    "text",
    [
        OWN.reference,
        BODY,
        BODY.replace("\n", "\r\n"),
        BODY.replace("    ", "\t"),
        BODY.replace("    ", "  ").replace("one", "one  "),
        BODY.replace("twice", "doubled"),
        BODY.upper(),
        'x = {"prompt": "' + OWN.prompt.replace('"', '\\"').replace("\n", "\\n") + '"}',
        "import os\n\n" + OWN.reference + "\nprint(1)\n",
    ],
)
def test_a_copy_is_found_however_it_is_written(text: str) -> None:
    assert search(text, needles([OWN])) == "own/1"


def test_what_is_like_it_is_not() -> None:
    for text in ("", "twice", BODY.replace("append", "extend"), OWN.prompt.splitlines()[0]):
        assert search(text, needles([OWN])) == ""


def test_short_pieces_are_not_searched() -> None:
    tiny = OWN._replace(reference=OWN.prompt + "    return x + y\n")
    assert search("def f(x, y):\n    return x + y\n", needles([tiny])) == ""


def windows(text: str) -> str:
    return text.replace("\n", "\r\n")


def wide(text: str) -> str:
    return re.sub(r"[ \t]+", "  ", text)


def tabs(text: str) -> str:
    return text.replace("  ", "\t")


@pytest.mark.data
def test_every_planted_problem_is_found_and_no_clean_file(catalogue: Path) -> None:
    folder = catalogue / "code"
    among = benchmarks(folder)
    ways = itertools.cycle((str, windows, wide, tabs))
    for problem in humaneval(folder).problems:
        asked = docstrings(problem.prompt)[0]
        solution = problem.reference[len(problem.prompt) :]
        renamed = re.sub(rf"\b{problem.entry}\b", "other", problem.reference)
        for text in (asked, problem.reference, renamed):
            assert search("x = 1\n" + next(ways)(text), among), problem.id
        if len(squeezed(solution)) >= LEAST:
            assert search(solution.replace("    ", "\t"), among), problem.id
    before, after = ASK.split("{tests}")[0].split("{text}")
    for problem in mbpp(folder, False, "all").problems:
        text = problem.text.partition(before)[2].partition(after)[0]
        solution = problem.reference
        assert search(f'"""{text}"""\r\n{solution}', among), problem.id
        if len(squeezed(solution)) >= LEAST + 8:
            assert search(next(ways)(solution), among), problem.id
    library = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-n]*.py"))[:40]
    for file in library:
        kept = leaked(Document(file.read_text(errors="replace"), file.name, "python"), folder)
        assert not isinstance(kept, Dropped), (file, kept)
