"""HumanEval: 164 functions to write from signature and docstring, each with hidden tests.

Chen et al., "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374, 2021), section
2.2; the file is `HumanEval.jsonl.gz` of openai/human-eval. It is kept as it is, with its defects:
the test of 33 compares the program with itself, those of 38, 50 and 53 draw random inputs.
"""

import ast
import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.data.errors import DataError
from sensorium.datasets.coding import Coding

FILE = "HumanEval.jsonl.gz"
SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")  # section 2.3 of the paper
KEYS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")
MOST = 64 << 20  # bytes the file may unfold to


class CodingSet(NamedTuple):
    """Problems, and what identifies the file they are from."""

    problems: list[Coding]
    name: str
    sha256: str
    official: bool


def humaneval(path: str | Path) -> CodingSet:
    """The problems of a file, or of the file `HumanEval.jsonl.gz` in a folder.

    Raises:
        DataError: a line that is no problem; the file unfolds to too much, or is damaged.
        OSError: it cannot be read.
    """
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    raw = file.read_bytes()
    digest, problems = hashlib.sha256(raw).hexdigest(), []
    for number, line in enumerate(unfolded(file, raw).splitlines(), start=1):
        if line.strip():
            problems.append(_problem(f"{file}: line {number}", line))
    if not problems:
        raise DataError(f"{file}: holds no problem")
    return CodingSet(problems, "humaneval", digest, digest == SHA256)


def unfolded(file: Path, raw: bytes) -> bytes:
    """A file's bytes, unpacked when its name ends in .gz, within a budget."""
    if not file.name.endswith(".gz"):
        return raw
    try:
        with gzip.open(file) as packed:
            found = packed.read(MOST + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{file}: damaged or cut off ({error}); fetch it again") from error
    if len(found) > MOST:
        raise DataError(f"{file}: unfolds to more than {MOST} bytes")
    return found


def _problem(where: str, line: bytes) -> Coding:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no JSON ({error})") from error
    lacks = [k for k in KEYS if not isinstance(row, dict) or not isinstance(row.get(k), str)]
    if lacks:
        raise DataError(f"{where}: lacks the texts {', '.join(lacks)} of a HumanEval problem")
    prompt, entry = row["prompt"], row["entry_point"]
    head = before_function(prompt, entry)
    if head is None:
        raise DataError(f"{where}: the prompt does not begin the function {entry!r}")
    return Coding(
        id=row["task_id"],
        prompt=prompt,
        text=f"Complete this Python function:\n\n```python\n{prompt.rstrip()}\n```\n",
        entry=entry,
        before=head,
        head=head,
        tests=f"{row['test']}\ncheck({entry})\n",
        names=(entry,),
        reference=prompt + row["canonical_solution"],
        completes=True,
        together=False,
        cpu=0.0,
        stops=STOPS,
    )


def before_function(prompt: str, entry: str) -> str | None:
    """The imports and helpers of a prompt: all that stands before the function asked for."""
    try:
        body = ast.parse(f"{prompt}    pass\n").body
    except SyntaxError:
        return None
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == entry:
            return "".join(prompt.splitlines(keepends=True)[: node.lineno - 1])
    return None
