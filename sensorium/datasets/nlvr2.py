"""NLVR2: statements about two photographs side by side, true or false, as JSON lines.

Suhr et al., "A Corpus for Reasoning about Natural Language Grounded in Photographs" (2019). An
`identifier` is split-set-pair-sentence; its pictures are split-set-pair-img0.png and -img1.png
(PNG by name only), in training files inside a folder `directory`. Scores of consistency group
what differs in the pair alone (`cluster`).
"""

from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets.asked import Entry, Questions, field, there, unique
from sensorium.datasets.tables import jsonl, shown


def nlvr2(path: str | Path, pictures: str | Path) -> Questions:
    """The statements of one file; answers are "true" and "false", none where a line has no label.

    Args:
        path: `train.json`, `dev.json`, `test1.json` (JSON lines all of them).
        pictures: the folder of the pictures; those of a line with `directory` may lie in it.

    Raises:
        DataError: a line without sentence or identifier, a label that is neither, no picture.
    """
    path, entries, named = Path(path), [], []
    for number, row in jsonl(path):
        where = f"{path}: row {number}"
        own, text = field(where, row, "identifier"), field(where, row, "sentence")
        pieces = own.split("-")
        if len(pieces) != 4:
            raise DataError(f"{where}: identifier {own!r} is not split-set-pair-sentence")
        stem = "-".join(pieces[:3])
        folder = row.get("directory")
        if folder is not None and Path(pictures, str(folder)).is_dir():
            stem = f"{folder}/{stem}"
        files = (f"{stem}-img0.png", f"{stem}-img1.png")
        named += [(where, file) for file in files]
        label = row.get("label")
        answer = "" if label is None else str(label).lower()
        if answer not in ("", "true", "false"):
            raise DataError(f"{where}: 'label' must be True or False, not {shown(label)}")
        answers = (answer,) if answer else ()
        entries.append(Entry(files, text, answers, own, f"{pieces[0]}-{pieces[1]}--{pieces[3]}"))
    if not entries:
        raise DataError(f"{path}: holds no statements")
    unique(path, [one.id for one in entries])
    there(path, pictures, named)
    return Questions(pictures, entries)
