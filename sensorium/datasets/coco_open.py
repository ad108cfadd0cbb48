"""coco_open: the COCO photographs found under open licences, five captions each.

102 to train on, 18 to test on. Photographs CC BY 2.0 or CC BY-SA 2.0 (said in each row of the
list), captions CC BY 4.0 (Lin et al., 2014; Chen et al., 2015). Too small to train on alone.
"""

from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.files import Pictures


def coco_open(root: str | Path | None = None, part: catalogue.Part = "train") -> Pictures:
    """Photographs with five captions. `root` is the catalogue's folder (default:
    SENSORIUM_DATA)."""
    folder = catalogue.root(root) / "coco_open"
    rows = catalogue.records(folder, "images", part)
    said: list[tuple[str, ...]] = []
    for where, row in rows:
        texts = catalogue.several(where, row, "captions")
        if not all(isinstance(t, str) and t.strip() for t in texts):
            raise DataError(f"{where}: 'captions' must be texts that are not empty")
        said.append(tuple(texts))
    files = [catalogue.text(where, row, "image") for where, row in rows]
    return Pictures(folder, files, said, [catalogue.text(where, row, "id") for where, row in rows])
