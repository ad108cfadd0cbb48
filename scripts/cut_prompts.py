"""Cut CLIP's zero-shot tables (class names and templates) out of a checkout of openai/CLIP.

    python scripts/cut_prompts.py path/to/CLIP

Reads notebooks/Prompt_Engineering_for_ImageNet.ipynb and data/prompts.md, runs nothing in them,
and writes one JSON file a data set, a SOURCE.md and the licence into sensorium/data/prompts/tables.
"""

import ast
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "sensorium" / "data" / "prompts" / "tables"
NOTEBOOK = "notebooks/Prompt_Engineering_for_ImageNet.ipynb"
MARKDOWN = "data/prompts.md"
COMMIT = "d05afc436d78f1c48dc0dbf8e5980a9d471f35f6"


def lists(code: str) -> dict[str, list]:
    """Every `name = [literals]` of a piece of Python."""
    return {
        target.id: ast.literal_eval(line.value)
        for line in ast.parse(code).body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.List)
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def imagenet(notebook: dict) -> dict[str, dict[str, list]]:
    """The 1,000 classes with the 80 templates, and with the 7 picked out of them in the text."""
    found: dict[str, list] = {}
    seven: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and source.startswith("imagenet_"):
            found |= lists(source)
        elif "sequential forward selection" in source:
            seven = re.findall(r"^\d+\. (.*\{\}.*)$", source, re.MULTILINE)
    classes, templates = found["imagenet_classes"], found["imagenet_templates"]
    if (len(classes), len(templates), len(seven)) != (1000, 80, 7) or set(seven) - set(templates):
        raise SystemExit(f"{NOTEBOOK} does not hold 1,000 classes, 80 templates and 7 of these")
    return {
        "imagenet": {"classes": classes, "templates": templates},
        "imagenet7": {"classes": classes, "templates": seven},
    }


def others(markdown: str) -> dict[str, dict[str, list]]:
    """The tables of prompts.md, by the name of their heading in lower case."""
    fenced = r"^## (\w+)\s*^```bash\n(.*?)^```"
    tables = {
        name.lower(): lists(code)
        for name, code in re.findall(fenced, markdown, re.MULTILINE | re.DOTALL)
    }
    headings = {name.lower() for name in re.findall(r"^## (\w+)", markdown, re.MULTILINE)}
    if headings != set(tables):
        raise SystemExit(f"no table below the headings {sorted(headings - set(tables))}")
    return tables


def main(checkout: Path) -> None:
    notebook, markdown = checkout / NOTEBOOK, checkout / MARKDOWN
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for source, tables in (
        (notebook, imagenet(json.loads(notebook.read_text("utf-8")))),
        (markdown, others(markdown.read_text("utf-8"))),
    ):
        for name, table in tables.items():
            if set(table) != {"classes", "templates"}:
                raise SystemExit(f"{name} has {sorted(table)}, not classes and templates")
            # A class of several names is a list of names; one name stays a string.
            body = json.dumps(table, ensure_ascii=False, indent=1) + "\n"
            (OUT / f"{name}.json").write_text(body, "utf-8")
            digest = hashlib.sha256(body.encode("utf-8")).hexdigest()
            cut_from = source.relative_to(checkout).as_posix()
            counts = f"{len(table['classes'])} | {len(table['templates'])}"
            rows.append(f"| {name}.json | {counts} | {cut_from} | {digest} |")
    shutil.copyfile(checkout / "LICENSE", OUT / "LICENSE")
    digests = "\n".join(
        f"* `{source.relative_to(checkout).as_posix()}`: sha256 "
        f"{hashlib.sha256(source.read_bytes()).hexdigest()}"
        for source in (notebook, markdown)
    )
    (OUT / "SOURCE.md").write_text(
        "# Where these tables come from\n\n"
        f"openai/CLIP at commit {COMMIT}, MIT (`LICENSE` beside them), "
        "cut by `scripts/cut_prompts.py` out of\n\n"
        f"{digests}\n\n"
        "| file | classes | templates | cut from | sha256 |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n",
        "utf-8",
    )
    print(f"{len(rows)} tables in {OUT}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
