"""The arrows of the architecture: who may import whom. Imports inside functions count as well."""

import ast
from pathlib import Path

import pytest

import sensorium

ROOT = Path(sensorium.__file__).parent
ALL = {p.name for p in ROOT.iterdir() if p.is_dir() and (p / "__init__.py").exists()} | {"types"}
ALLOWED = {
    "types": set(),
    "nn": {"types"},
    "forms": {"nn", "types"},
    "weights": set(),
    "media": set(),
    "sandbox": set(),
    "data": {"types", "media"},
    "datasets": {"types", "data", "media"},
    "corpus": {"types", "data", "datasets"},
    "objectives": {"types", "nn"},
    "models": {"types", "nn", "forms", "weights", "media", "data"},
    "tasks": {"types", "datasets", "data", "sandbox"},
    "train": {"types", "nn", "data", "weights"},
    "verbs": {"types", "nn", "forms", "models", "weights", "media", "data"},
    "report": ALL,
    "recipes": ALL,
    "claims": ALL,
}
LAZY = {"cli.py", "__init__.py"}  # these alone import inside functions, so that --help is quick


def imported(tree: ast.AST) -> set[str]:
    """The packages of ours that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            module = node.module or ""
            names |= (
                {f"sensorium.{a.name}" for a in node.names} if module == "sensorium" else {module}
            )
    return {name.split(".")[1] for name in names if name.startswith("sensorium.")}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_stands_below_it(package: str) -> None:
    place = ROOT / package
    files = sorted(place.rglob("*.py")) if place.is_dir() else [ROOT / f"{package}.py"]
    assert files
    for file in files:
        found = imported(ast.parse(file.read_text())) & ALL
        wrong = found - ALLOWED[package] - {package}
        assert not wrong, f"{file.relative_to(ROOT)} imports {sorted(wrong)}"


def test_every_package_has_a_row() -> None:
    assert set(ALLOWED) == ALL


def test_train_knows_the_block_and_nothing_else_of_nn() -> None:
    for file in (ROOT / "train").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sensorium.nn"):
                assert (node.module, [a.name for a in node.names]) == (
                    "sensorium.nn.block",
                    ["Block"],
                )


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT)))
def test_our_own_modules_are_imported_at_the_top(file: Path) -> None:
    if file.name in LAZY and file.parent == ROOT:
        return
    for function in ast.walk(ast.parse(file.read_text())):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert not imported(function), f"{file}:{function.lineno} hides an import"
