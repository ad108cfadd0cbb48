"""MBPP: 974 small Python tasks in a sentence with three tests, and the 427 looked through by hand.

Austin et al., "Program Synthesis with Large Language Models" (arXiv 2108.07732, 2021); the files
are `mbpp.jsonl` and `sanitized-mbpp.json` of google-research/google-research. By task number, 1-10
are for prompts, 11-510 the test, 511-600 for validation, 601-974 for training.
"""

import ast
import builtins
import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

from sensorium.data.errors import DataError
from sensorium.datasets.coding import Coding
from sensorium.datasets.humaneval import CodingSet

FULL, SANITIZED = "mbpp.jsonl", "sanitized-mbpp.json"
SHA256 = {
    FULL: "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    SANITIZED: "ca95deaa9a01ef0a6f439f88bcf0dd3db3563d22f22aad6cae04ebb9a8d8c8e9",
}
SPLITS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}
SHOWN = (2, 3, 4)  # the examples of the paper's prompt
STOPS = ("[DONE]",)
ASK = (
    "You are an expert Python programmer, and here is your task: {text} "
    "Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
)
# 533 hands the program a type, 596 uses what it imports, 367 and 927 set fields of its objects
TOGETHER = frozenset({367, 533, 596, 927})
SLOW = {123: 15.0}  # its reference takes about 3 s, the usual limit


def mbpp(path: str | Path, sanitized: bool = False, split: str = "test") -> CodingSet:
    """The problems of one part of MBPP, with the paper's prompt of three examples.

    Args:
        path: the file, or the folder that holds both.

    Raises:
        DataError: no such split; an entry that is no task; the examples are not in the file.
        OSError: it cannot be read.
    """
    if split not in (*SPLITS, "all"):
        raise DataError(f"MBPP has no split {split!r}; it has {', '.join(SPLITS)}, and all")
    path = Path(path)
    name = SANITIZED if sanitized else FULL
    file = path / name if path.is_dir() else path
    raw = file.read_bytes()
    rows = {row["task_id"]: row for row in _rows(file, raw)}
    low, high = SPLITS.get(split, (1, 974))
    shown = "".join(_shown(rows[number]) for number in SHOWN if number in rows)
    problems = [_problem(file, row, shown) for n, row in sorted(rows.items()) if low <= n <= high]
    if not problems:
        raise DataError(f"{file}: holds no task of the split {split!r}")
    digest = hashlib.sha256(raw).hexdigest()
    kind = f"mbpp{'-sanitized' if sanitized else ''}:{split}"
    return CodingSet(problems, kind, digest, digest == SHA256[name])


def _rows(file: Path, raw: bytes) -> list[dict[str, Any]]:
    try:
        if raw.lstrip()[:1] == b"[":
            rows = json.loads(raw)
        else:
            rows = [json.loads(line) for line in raw.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: no JSON of MBPP's ({error})") from error
    for place, row in enumerate(rows, start=1):
        _checked(f"{file}: task {place}", row)
    return rows


def _checked(where: str, row: Any) -> None:
    def refuse(why: str) -> NoReturn:
        raise DataError(f"{where}: {why}; is this MBPP's file?")

    if not isinstance(row, dict) or type(row.get("task_id")) is not int:
        refuse("no object with a whole number as task_id")
    if not all(
        isinstance(row.get(k), str) for k in ("code", "prompt" if "prompt" in row else "text")
    ):
        refuse("lacks its text or its code")
    tests = row.get("test_list")
    if not isinstance(tests, list) or not tests or not all(isinstance(t, str) for t in tests):
        refuse("lacks its tests")


def _problem(file: Path, row: dict[str, Any], shown: str) -> Coding:
    tests, number = "\n".join(row["test_list"]), row["task_id"]
    before = "\n".join([*row.get("test_imports", []), row.get("test_setup_code", "")]).strip()
    try:
        names = called(f"{before}\n{tests}", row["code"])
    except SyntaxError as error:
        raise DataError(f"{file}: the tests of task {number} are no Python ({error})") from error
    said = asked(row)
    return Coding(
        id=f"MBPP/{number}",
        prompt=shown + said,
        text=said.removesuffix("\n[BEGIN]\n"),
        entry=names[0] if names else "",
        before=before + "\n",
        head="",
        tests=tests + "\n",
        names=names,
        reference=row["code"].replace("\r\n", "\n"),
        completes=False,
        together=number in TOGETHER,
        cpu=SLOW.get(number, 0.0),
        stops=STOPS,
    )


def asked(row: dict[str, Any]) -> str:
    """A task as the paper puts it (section 3, figure 1)."""
    text = row.get("text", row.get("prompt"))
    return ASK.format(text=text, tests="\n".join(row["test_list"]))


def _shown(row: dict[str, Any]) -> str:
    code = row["code"].replace("\r\n", "\n").strip()
    return f"{asked(row)}{code}\n[DONE]\n\n"


def called(tests: str, code: str) -> tuple[str, ...]:
    """Names that tests use and do not define: those of the program, which may hide built-in ones.

    SyntaxError: they are no Python.
    """
    tree, known, used = ast.parse(tests), set(vars(builtins)), dict[str, None]()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.setdefault(node.id)
        elif isinstance(node, ast.Name):
            known.add(node.id)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
    own = {n.name for n in ast.parse(code).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    return tuple(name for name in used if name in own or name not in known)
