"""SNLI-VE: does a photograph entail a sentence, contradict it, or neither; as JSON lines.

Xie et al., "Visual Entailment: A Novel Task for Fine-Grained Image Understanding" (2019).
"""

from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets.asked import Entry, Questions, field, there, unique
from sensorium.datasets.tables import jsonl, shown

LABELS = ("contradiction", "neutral", "entailment")
PICTURE = ("Flikr30kID", "Flickr30K_ID", "Flickr30kID")  # the first is how the files spell it


def snli_ve(path: str | Path, pictures: str | Path) -> Questions:
    """The hypotheses of one file (`sentence2`); answers are gold labels, clusters pictures.

    Lines without a gold label ("-": the annotators did not agree) are left out, as SNLI's rules
    ask; the premise sentence is not read.

    Raises:
        DataError: a line without picture, sentence or known label; a missing picture; no line left.
    """
    path, entries, named = Path(path), [], []
    for number, row in jsonl(path):
        where = f"{path}: row {number}"
        label = row.get("gold_label")
        if label == "-":
            continue
        if label not in LABELS:
            raise DataError(f"{where}: 'gold_label' is {shown(label)}, not one of {LABELS} or '-'")
        key = next((key for key in PICTURE if key in row), PICTURE[0])
        picture = field(where, row, key)
        file = picture if picture.lower().endswith(".jpg") else f"{picture}.jpg"
        named.append((where, file))
        own = field(where, row, "pairID")
        entries.append(
            Entry((file,), field(where, row, "sentence2"), (label,), own, picture, label)
        )
    if not entries:
        raise DataError(f"{path}: holds no pair with a gold label")
    unique(path, [one.id for one in entries])
    there(path, pictures, named)
    return Questions(pictures, entries)
