"""Decontamination: files that hold a problem of HumanEval or MBPP, or its solution, are dropped.

StarCoder's rule (docstring or solution of HumanEval, text or solution of MBPP's test part, as
substrings without regard to case; Li et al., 2023, section 3), made robust: all white space is
taken out of both sides, so that line ends and indentation do not matter; every name of the asked
function matches any name; solutions count from their first line inside the function on. Pieces of
fewer than `LEAST` characters, such as `return x + y`, say nothing and are not searched.

All needles are found in one pass: eight bytes of each are looked up in a table at every place of a
text; only texts that hold such a piece are searched.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt64

from sensorium.corpus.document import Document, Dropped
from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import humaneval
from sensorium.datasets.mbpp import ASK, mbpp

LEAST = 32  # characters without white space
SPAN = 8  # bytes that are looked up
BITS = 16
BEFORE, AFTER = ASK.split("{tests}")[0].split("{text}")
QUOTED = re.compile(r"(\"{3}|'{3})(.*?)\1", re.S)
ESCAPES = ("\\r", "\\n", "\\t")  # as JSON writes line ends


class Needle(NamedTuple):
    """A piece to be searched: whose it is, its parts, between which any name may stand."""

    task: str
    parts: tuple[str, ...]


class Needles(NamedTuple):
    """All pieces, by eight bytes that each of them holds; `table` says which could be any."""

    by_anchor: dict[bytes, list[Needle]]
    table: Bool[np.ndarray, " t"]


def squeezed(text: str) -> str:
    """A text in lower case and without white space, whether plain or as JSON escapes it."""
    plain = "".join(text.split()).lower()
    if "\\" in plain:
        for escape in ESCAPES:
            plain = plain.replace(escape, "")
        plain = plain.replace('\\"', '"')
    return plain


def pieces(problem: Coding) -> Iterable[str]:
    """What must not be found: the task's words, and the solution's inside."""
    if problem.completes:
        yield from docstrings(problem.prompt)
        yield problem.reference[len(problem.prompt) :]
    else:
        yield problem.text.partition(BEFORE)[2].partition(AFTER)[0]
        yield problem.reference
        yield inside(problem.reference)


def docstrings(prompt: str) -> list[str]:
    """What a prompt asks for: the last of its texts in triple quotes."""
    return [text for _, text in QUOTED.findall(prompt)][-1:]


def inside(reference: str) -> str:
    """A solution from the first line inside its first function on."""
    try:
        body = ast.parse(reference).body
    except SyntaxError:
        return ""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            lines = reference.splitlines()
            return "\n".join(lines[node.body[0].lineno - 1 :])
    return ""


def needles(problems: Sequence[Coding]) -> Needles:
    """The needles of problems, each anchored at eight bytes that few other needles hold."""
    made: dict[Needle, None] = {}
    for problem in problems:
        for text in pieces(problem):
            if len(squeezed(text)) >= LEAST:
                made[Needle(problem.id, _parts(text, {*problem.names, problem.entry} - {""}))] = (
                    None
                )
    common: Counter[bytes] = Counter()
    for needle in made:
        common.update(set(_spans(needle)))
    by_anchor: dict[bytes, list[Needle]] = {}
    table = np.zeros(1 << BITS, bool)
    for needle in made:
        spans = _spans(needle)
        anchor = min(spans, key=lambda s: (common[s], s))
        by_anchor.setdefault(anchor, []).append(needle)
        table[_slots(np.frombuffer(anchor, "<u8"))] = True
    return Needles(by_anchor, table)


def _parts(text: str, names: set[str]) -> tuple[str, ...]:
    if names:
        either = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        text = re.sub(rf"(?<!\w)(?:{either})(?!\w)", "\0", text)
    return tuple(squeezed(text).split("\0"))


def _spans(needle: Needle) -> list[bytes]:
    found = []
    for part in needle.parts:
        data = part.encode()
        found += [data[i : i + SPAN] for i in range(len(data) - SPAN + 1)]
    return found


def _slots(values: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    return (values * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - BITS)


def search(content: str, among: Needles) -> str:
    """The task whose piece a text holds; "" where it holds none."""
    text = squeezed(content)
    data = text.encode()
    if len(data) < SPAN:
        return ""
    raw = np.frombuffer(data, np.uint8)
    count = len(raw) - SPAN + 1
    values = np.ndarray((count,), "<u8", raw.data, strides=(1,))
    for place in np.flatnonzero(among.table[_slots(values)]):
        for needle in among.by_anchor.get(data[place : place + SPAN], ()):
            if _holds(text, needle):
                return needle.task
    return ""


def _holds(text: str, needle: Needle) -> bool:
    if len(needle.parts) == 1:
        return needle.parts[0] in text
    return bool(_pattern(needle).search(text))


@cache
def _pattern(needle: Needle) -> re.Pattern[str]:
    return re.compile(r"[a-z_0-9]+".join(map(re.escape, needle.parts)))


@cache
def benchmarks(folder: Path) -> Needles:
    """The needles of HumanEval and of all parts of MBPP in a folder with their files."""
    return needles([*humaneval(folder).problems, *mbpp(folder, False, "all").problems])


def leaked(document: Document, folder: Path) -> Document | Dropped:
    """Drops a document that holds a problem or a solution."""
    task = search(document.content, benchmarks(folder))
    return Dropped("benchmark", task) if task else document
