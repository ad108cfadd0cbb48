"""Writes sensorium/corpus/tables/languages.json from BigCode's inspection sheet (Apache-2.0).

python scripts/cut_languages.py CLONE-OF-bigcode-project/bigcode-dataset

Kept are the rows with Include = 1: language, extension, and the limits as the filter reads them.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

OUT = Path(__file__).parent.parent / "sensorium/corpus/tables/languages.json"
SHEET = "preprocessing/visual_inspection.csv"
NAMES = "language_selection/programming-languages-to-file-extensions.json"
COMMIT = "bebec929edd826f19b5fa3538f22d18d5b50da4b"


def limit(text: str) -> float | None:
    """A limit; None where the cell holds none, or says in words that it is removed."""
    try:
        return float(text)
    except ValueError:
        return None


def main(clone: Path) -> None:
    """Reads the sheet and the names of the languages, and writes the table."""
    raw = (clone / SHEET).read_bytes()
    names = {
        name.lower().replace(" ", "-"): name for name in json.loads((clone / NAMES).read_text())
    }
    names |= {"c-sharp": "C#", "f-sharp": "F#"}
    table: dict[str, dict[str, list[float | None]]] = {}
    for row in csv.DictReader(raw.decode().splitlines()):
        if row["Include"] != "1":
            continue
        line = limit(row["Long_line_threshold"])
        limits = [line, limit(row["Alphanum_threshold"]), limit(row["Alpha filter"])]
        table.setdefault(names[row["language"]], {})[row["extension"]] = limits
    source = {
        "from": f"github.com/bigcode-project/bigcode-dataset, {SHEET}, commit {COMMIT}",
        "licence": "Apache-2.0",
        "sha256": hashlib.sha256(raw).hexdigest(),
        "columns": "language, extension: longest line, least alphanumeric, least alphabetic share",
    }
    rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(table.items()))
    OUT.write_text(f'{{"source": {json.dumps(source)},\n "languages": {{\n{rows}\n}}}}\n')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
