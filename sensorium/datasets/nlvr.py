"""NLVR: statements by people about small scenes of coloured shapes, true or false, with boxes.

A statement is asked of several scenes; scores cluster by it. The boxes are exact (they come from
the published structure of the scenes); see `boxes.nlvr` for the same scenes without statements.
"""

from pathlib import Path

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue
from sensorium.datasets.asked import Entry, Questions
from sensorium.datasets.boxes import corners
from sensorium.datasets.tables import shown

ANSWERS = ("false", "true")


def nlvr(root: str | Path | None = None, part: catalogue.Part = "train") -> Questions:
    """The statements of one part; answers are "true" and "false", names "yellow circle" and so on.

    Raises:
        DataError: the catalogue is not there, or a row lacks a sentence, a truth or an object's
            box.
    """
    folder = catalogue.root(root) / "nlvr"
    entries = []
    for where, row in catalogue.records(folder, "pairs", part):
        truth, objects = row.get("label"), row.get("objects")
        if not isinstance(truth, bool) or not isinstance(objects, list):
            raise DataError(
                f"{where}: 'label' must be true or false, not {shown(truth)}, and 'objects' a list"
            )
        boxes, names = [], []
        for number, one in enumerate(objects):
            at = f"{where}: object {number}"
            if not isinstance(one, dict):
                raise DataError(f"{at}: is {shown(one)}, an object is expected")
            boxes.append(corners(at, one.get("bbox")))
            colour = catalogue.text(at, one, "color")
            names.append(f"{colour} {catalogue.text(at, one, 'type')}")
        sentence = catalogue.text(where, row, "sentence")
        entries.append(
            Entry(
                files=(catalogue.text(where, row, "image"),),
                text=sentence,
                answers=(ANSWERS[truth],),
                id=catalogue.text(where, row, "id"),
                cluster=" ".join(sentence.lower().split()),
                boxes=(tuple(boxes),),
                names=(tuple(names),),
            )
        )
    return Questions(folder, entries)
