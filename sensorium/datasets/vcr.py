"""VCR: questions about film stills with four answers, and four reasons for the right one.

Zellers et al., "From Recognition to Cognition: Visual Commonsense Reasoning" (2019). Texts are
lists of words and of lists of numbers, the objects that are meant; those index `objects`, and the
boxes [x1, y1, x2, y2, score] of the picture's metadata file.
"""

from pathlib import Path
from typing import Any, Literal

from sensorium.data.errors import DataError
from sensorium.data.questions import Box, Choice
from sensorium.datasets.asked import Choosings, field, there, unique, whole
from sensorium.datasets.files import Inside
from sensorium.datasets.tables import check_text, jsonl, shown

Ask = Literal["answer", "rationale"]
MOST = 4  # candidates


def vcr(path: str | Path, pictures: str | Path, ask: Ask = "answer") -> Choosings:
    """The questions of one file.

    Args:
        path: `train.jsonl` or `val.jsonl`; also `test.jsonl`, whose labels are kept back (-1).
        pictures: the folder `vcr1images`, which holds the metadata files too.
        ask: "answer" (Q to A), or "rationale": the text is the question and its right answer (QA to
            R), and lines without `answer_label` are refused.

    Raises:
        DataError: a line is not of this form, an object's number is none of the picture's, a
            metadata file does not fit, a file is missing.
    """
    path, found, named = Path(path), [], []
    for number, row in jsonl(path):
        where = f"{path}: row {number}"
        image, meta = field(where, row, "img_fn"), field(where, row, "metadata_fn")
        named += [(where, image), (where, meta)]
        found.append((where, row, image, meta))
    if not found:
        raise DataError(f"{path}: holds no questions")
    there(path, pictures, named)
    boxes: dict[str, tuple[Box, ...]] = {}
    entries = []
    for where, row, image, meta in found:
        names = objects(where, row)
        if meta not in boxes:
            boxes[meta] = boxed(Path(pictures) / Inside(pictures).judge(meta)[0])
        if len(boxes[meta]) != len(names):
            raise DataError(
                f"{where}: names {len(names)} objects, {meta} has {len(boxes[meta])} boxes"
            )
        text = worded(where, row, "question", len(names))
        choices = listed(where, row, "answer_choices", len(names))
        label = labelled(where, row, "answer_label", len(choices))
        if ask == "rationale":
            if label < 0:
                raise DataError(
                    f"{where}: reasons are asked of the right answer, which is kept back"
                )
            text = (*text, *choices[label])
            choices = listed(where, row, "rationale_choices", len(names))
            label = labelled(where, row, "rationale_label", len(choices))
        own = field(where, row, "annot_id")
        rest = Choice(b"", text, choices, label, boxes[meta], names, own, image)
        entries.append((image, rest))
    unique(path, [one.id for _, one in entries])
    return Choosings(pictures, entries)


def objects(where: str, row: dict[str, Any]) -> tuple[str, ...]:
    """What the objects are. DataError: no list of texts."""
    found = row.get("objects")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise DataError(f"{where}: 'objects' must be a list of names, not {shown(found)}")
    return tuple(found)


def listed(
    where: str, row: dict[str, Any], key: str, count: int
) -> tuple[tuple[str | int, ...], ...]:
    """The four candidates."""
    found = row.get(key)
    if not isinstance(found, list) or len(found) != MOST:
        raise DataError(f"{where}: {key!r} must be a list of {MOST}, not {shown(found)}")
    return tuple(worded(f"{where}: {key}", {"": one}, "", count) for one in found)


def worded(where: str, row: dict[str, Any], key: str, count: int) -> tuple[str | int, ...]:
    """Words, and the numbers of objects that stand in lists between them.

    DataError: anything else, or a number that is no object's.
    """
    found, out = row.get(key), []
    if not isinstance(found, list) or not found:
        raise DataError(f"{where}: {key!r} must be a list of words, not {shown(found)}")
    for one in found:
        several = one if isinstance(one, list) else [one]
        for piece in several:
            number = isinstance(piece, int) and not isinstance(piece, bool)
            if isinstance(one, list) and not (number and 0 <= piece < count):
                raise DataError(f"{where}: {shown(piece)} is the number of none of {count} objects")
            if not isinstance(one, list):
                if not isinstance(piece, str):
                    raise DataError(f"{where}: {shown(piece)} is neither a word nor a list")
                check_text(where, piece)
            out.append(piece)
    return tuple(out)


def labelled(where: str, row: dict[str, Any], key: str, count: int) -> int:
    """Which candidate is right; -1 where it is not said."""
    found = row.get(key)
    if found is None:
        return -1
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < count:
        raise DataError(f"{where}: {key!r} must be a number from 0 to {count - 1}")
    return found


def boxed(path: Path) -> tuple[Box, ...]:
    """The boxes of a metadata file. DataError: one is no box."""
    said = whole(path)
    found = said.get("boxes") if isinstance(said, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{path}: has no list 'boxes'")
    out: list[Box] = []
    for number, one in enumerate(found):
        fine = isinstance(one, list) and len(one) >= 4
        if not fine or not all(type(v) in (int, float) for v in one[:4]):
            raise DataError(f"{path}: box {number} is {shown(one)}, not [x1, y1, x2, y2, score]")
        x1, y1, x2, y2 = map(float, one[:4])
        if not (x1 < x2 and y1 < y2):
            raise DataError(f"{path}: box {number} {one[:4]} has no area")
        out.append((x1, y1, x2, y2))
    return tuple(out)
