"""flowers: 570 photographs of flowers in five classes, 420 to train on and 150 to test on.

From the flower_photos archive of the TensorFlow tutorials; CC BY 2.0, photographers in the list.
A colour histogram with logistic regression reaches 0.56 on the test list.
"""

from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.files import LabelledPictures

LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def flowers(root: str | Path | None = None, part: catalogue.Part = "train") -> LabelledPictures:
    """Flowers, labelled. `root` is the catalogue's folder (default: SENSORIUM_DATA)."""
    folder = catalogue.root(root) / "flowers"
    rows = catalogue.records(folder, "images", part)
    targets = [catalogue.number(where, row, "label_id", len(LABELS)) for where, row in rows]
    for target, (where, row) in zip(targets, rows, strict=True):
        if row.get("label") != LABELS[target]:
            raise DataError(f"{where}: label {target} is {LABELS[target]!r} here, not its 'label'")
    files = [catalogue.text(where, row, "image") for where, row in rows]
    ids = [catalogue.text(where, row, "id") for where, row in rows]
    return LabelledPictures(folder, files, targets, LABELS, ids)
