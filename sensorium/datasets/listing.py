"""What `sensorium datasets` prints: every reader and what it reads."""

import ast
import pkgutil
from pathlib import Path

import sensorium.datasets

HELPERS = {
    "asked",
    "catalogue",
    "coding",
    "files",
    "listing",
    "parquet",
    "parts",
    "plain_pickle",
    "region_files",
    "shard_index",
    "svg",
    "tables",
    "tar",
}


def table() -> dict[str, str]:
    """Module to the first line of its text; nothing is imported, so nothing heavy is loaded."""
    out = {}
    for found in pkgutil.iter_modules(sensorium.datasets.__path__):
        if found.name not in HELPERS:
            file = Path(sensorium.datasets.__path__[0]) / f"{found.name}.py"
            text = ast.get_docstring(ast.parse(file.read_text())) or ""
            out[found.name] = text.splitlines()[0]
    return out
