"""VQA v2: questions about COCO's photographs with ten answers each, in its published JSON files.

Goyal et al., "Making the V in VQA Matter" (2017). Of the two files, `questions` stands alone for
the splits whose answers are kept back.
"""

from pathlib import Path
from typing import Any

from sensorium.data.errors import DataError
from sensorium.datasets.asked import Entry, Questions, field, items, there, unique, whole
from sensorium.datasets.tables import check_text, shown


def vqa_v2(
    questions: str | Path,
    annotations: str | Path | None,
    pictures: str | Path,
    name: str | None = None,
) -> Questions:
    """Reads a split.

    Args:
        questions: `v2_OpenEnded_mscoco_val2014_questions.json`.
        annotations: `v2_mscoco_val2014_annotations.json`; None where the answers are kept back.
        pictures: the folder of the pictures.
        name: how a picture's file is called, with {id} or {id:012d} where its number stands; None:
            as the questions file says in `data_subtype`, `COCO_val2014_{id:012d}.jpg` (test-dev is
            of the pictures of test2015).

    Raises:
        DataError: a file is not of this form, a question has no annotation or an annotation no
            question, they name different pictures, or a picture is missing.
    """
    path = Path(questions)
    said = whole(path)
    pattern = name or naming(path, said)
    told = {} if annotations is None else answered(Path(annotations))
    entries, named = [], []
    for where, row in items(path, said, "questions"):
        own, picture = field(where, row, "question_id"), field(where, row, "image_id")
        text = row.get("question")
        if not isinstance(text, str):
            raise DataError(f"{where}: 'question' must be a text, not {shown(text)}")
        check_text(where, text)
        file = named_by(pattern, picture, where)
        named.append((where, file))
        found = told.pop(own, None)
        if annotations is not None and found is None:
            raise DataError(f"{where}: question {own} has no annotation in {annotations}")
        answers, kind, of = found or ((), "", picture)
        if of != picture:
            raise DataError(
                f"{where}: question {own} is about picture {picture}, its annotation about {of}:"
                " the two files are not of one split"
            )
        entries.append(Entry((file,), text, answers, own, picture, kind))
    if told:
        raise DataError(
            f"{annotations}: {len(told)} annotations belong to no question of {path} (the first:"
            f" {next(iter(told))}): the two files are not of one split"
        )
    unique(path, [one.id for one in entries])
    there(path, pictures, named)
    return Questions(pictures, entries)


def answered(path: Path) -> dict[str, tuple[tuple[str, ...], str, str]]:
    """(answers, answer type, picture) by question. DataError: a question twice, no answers."""
    out: dict[str, tuple[tuple[str, ...], str, str]] = {}
    for where, row in items(path, whole(path), "annotations"):
        own = field(where, row, "question_id")
        if own in out:
            raise DataError(f"{where}: question {own} is annotated twice")
        answers = []
        for at, one in items(path, row, "answers"):
            text = one.get("answer")
            if not isinstance(text, str):
                raise DataError(f"{where}: {at}: 'answer' must be a text, not {shown(text)}")
            check_text(where, text)
            answers.append(text)
        kind = str(row.get("answer_type", ""))
        out[own] = tuple(answers), kind, field(where, row, "image_id")
    return out


def naming(path: Path, said: Any) -> str:
    """The pattern of the pictures' names that a questions file implies."""
    subset = said.get("data_subtype") if isinstance(said, dict) else None
    if not isinstance(subset, str) or not subset.isascii() or not subset.isalnum():
        if subset != "test-dev2015":
            raise DataError(
                f"{path}: 'data_subtype' is {shown(subset)}, from which the pictures' names cannot"
                " be told; give `name`, such as COCO_val2014_{id:012d}.jpg"
            )
        subset = "test2015"
    return f"COCO_{subset}_{{id:012d}}.jpg"


def named_by(pattern: str, picture: str, where: str) -> str:
    """A picture's file. Only {id} and {id:0Nd} are understood: a pattern is no program."""
    if "{id}" in pattern:
        return pattern.replace("{id}", picture)
    before, _, rest = pattern.partition("{id:0")
    digits, _, after = rest.partition("d}")
    if not digits.isdecimal() or int(digits) > 32:
        raise DataError(f"name {pattern!r}: must hold {{id}} or such as {{id:012d}}")
    if not picture.isdecimal():
        raise DataError(f"{where}: picture {picture!r} is no number; use a name with {{id}}")
    return before + picture.zfill(int(digits)) + after
