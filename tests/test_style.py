"""Ratchets: what keeps the library readable. See "How our code reads" in CONTRIBUTING.md."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sensorium

ROOT = Path(sensorium.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def ids(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_files_are_short_and_functions_take_few_arguments(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            count = len([x for x in (*a.posonlyargs, *a.args, *a.kwonlyargs) if x.arg != "self"])
            assert count <= 8, f"{file.name}:{node.lineno} {node.name} takes {count} arguments"


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_no_sniffing_no_pickle_no_swallowed_errors(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        where = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("hasattr", "eval", "exec", "print") or (
                node.func.id == "print" and file.name == "cli.py"
            ), where
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called = f"{node.value.id}.{node.attr}"
            assert called not in ("pickle.load", "pickle.loads", "torch.load", "torch.jit"), where
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            raises = any(isinstance(n, ast.Raise) for n in ast.walk(node))
            assert not broad or raises, f"{where} swallows every error"
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", where


@pytest.mark.parametrize("file", FILES, ids=ids)
def test_what_is_public_is_documented(file: Path) -> None:
    tree = ast.parse(file.read_text())
    if file.name != "__init__.py":
        assert ast.get_docstring(tree), f"{file} has no docstring"
    for node in tree.body:
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        if public and file.name != "cli.py":
            assert ast.get_docstring(node), f"{file}:{node.lineno} {node.name} has no docstring"


def test_help_does_not_import_torch() -> None:
    code = "import sys; from sensorium import cli; cli.main([]); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_the_core_set_of_dependencies_does_not_grow() -> None:
    listed = (ROOT.parent / "pyproject.toml").read_text()
    core = listed.split("dependencies = [")[1].split("]")[0]
    names = {line.split(">=")[0].strip(' ",') for line in core.strip().splitlines()}
    assert names <= {
        *("torch", "numpy", "pillow", "simplejpeg", "safetensors", "tokenizers", "ftfy", "regex"),
        *("jaxtyping", "matplotlib"),
    }
