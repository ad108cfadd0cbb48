"""Questions to learn from and to be scored on, their answers as a table, and what they come to."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.errors import DataError
from sensorium.data.joined import Subset
from sensorium.data.questions import Box, Question
from sensorium.data.ragged import lay
from sensorium.data.tokenizers import WordPiece
from sensorium.datasets.asked import Entry, Questions
from sensorium.datasets.easy_vqa import easy_vqa
from sensorium.datasets.nlvr import nlvr
from sensorium.datasets.parts import tested
from sensorium.datasets.vqa_v2 import vqa_v2
from sensorium.models.detector_regions import Choice
from sensorium.models.question_inputs import Features, Item, QuestionInputs
from sensorium.nn.answering import Told
from sensorium.objectives.answering import one_of, soft_bce
from sensorium.objectives.telling import Weighed
from sensorium.recipes.made import Made, made
from sensorium.tasks.answers import answers
from sensorium.tasks.asking import Answer
from sensorium.tasks.scores import Scores, to_json
from sensorium.tasks.vqa import agreement
from sensorium.tasks.vqa import vqa as agreed
from sensorium.tasks.vqa_words import normal, stripped
from sensorium.types import Answered, Scored
from sensorium.verbs.ask import Asker
from sensorium.verbs.detect import detect, look
from sensorium.verbs.load import load_folder
from sensorium.verbs.model import Model

MOST = 36  # regions of a picture
SURE = 0.5  # the score that a box must have, where a detector's boxes alone are taken
LEAST = 9  # questions that an answer of several people's must be given to, to be in the table
Say = Callable[[int, int], None]


class Cut(NamedTuple):
    """Questions to learn from and others to be scored on; `shape` is the pictures' shorter side,
    the side of a patch, and the longest side."""

    train: Questions | Made
    test: Questions | Made
    shape: tuple[int, int, int]

    @property
    def several(self) -> bool:
        """Whether questions have the answers of several people."""
        return any(len(one.answers) > 1 for one in self.train.entries)


def cut(data: str) -> Cut:
    """The parts of a set: easy_vqa, nlvr, nlvr_made, or a folder with the two files of VQA v2.

    Of your own folder every tenth picture's questions are the test part.
    """
    if data == "easy_vqa":
        return Cut(easy_vqa(part="train"), easy_vqa(part="test"), (64, 8, 64))
    if data in ("nlvr", "nlvr_made"):
        train = nlvr(part="train")
        more = train if data == "nlvr" else made(train, seed=0)
        return Cut(more, nlvr(part="test"), (100, 10, 400))
    whole = own(Path(data))
    kept = [one for one in whole.entries if one.answers]
    parts = [[one for one in kept if tested(one.cluster) == last] for last in (False, True)]
    if not parts[0]:
        raise DataError(f"{data}: holds no question with an answer to learn from")
    return Cut(Questions(whole.root, parts[0]), Questions(whole.root, parts[1]), (96, 8, 160))


def own(folder: Path) -> Questions:
    """The questions of a folder: `*questions.json`, `*annotations.json`, pictures beside them.

    DataError: it is no such folder, or holds several such files.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such set; there are easy_vqa, nlvr and nlvr_made, or give a folder"
        )
    found = [sorted(folder.glob(f"*{kind}.json")) for kind in ("questions", "annotations")]
    if [len(files) for files in found] != [1, 1]:
        counts = " and ".join(str(len(files)) for files in found)
        raise DataError(
            f"{folder}: holds {counts} files named *questions.json and *annotations.json; one of"
            " each is expected, as VQA v2 has them"
        )
    below = [d for d in sorted(folder.iterdir()) if d.is_dir() and not d.name.startswith(".")]
    return vqa_v2(found[0][0], found[1][0], below[0] if len(below) == 1 else folder)


def seen_by(detector: Model, parts: Cut) -> dict[str, list[Features]]:
    """What a detector sees in the pictures of all questions; each picture is looked at once.

    ValueError: the model is no detector.
    """
    looked: dict[tuple[str, ...], list[Features]] = {}
    out: dict[str, list[Features]] = {}
    for data in (parts.train, parts.test):
        for i, one in enumerate(data.entries):
            key = (data.root, *one.files)
            if key not in looked:
                looked[key] = [regions(detector, image, one.id) for image in data[i].images]
            out[one.id] = looked[key]
    return out


def detected_by(
    detector: str | None, found: Callable[[], Cut]
) -> Callable[[], Mapping[str, Sequence[Features]] | None]:
    """What a detector's checkpoint sees in the pictures of all questions; None: nobody looks."""

    @cache
    def features() -> Mapping[str, Sequence[Features]] | None:
        return None if detector is None else seen_by(load_folder(detector), found())

    return features


def boxed_by(detector: Model, data: Questions | Made) -> Questions | Made:
    """The same questions with the boxes that a detector finds, in whole pixels.

    ValueError: the model is no detector.
    """
    looked: dict[tuple[str, ...], tuple[tuple[Box, ...], ...]] = {}
    entries = []
    for i, one in enumerate(data.entries):
        if one.files not in looked:
            looked[one.files] = tuple(found_by(detector, image) for image in data[i].images)
        entries.append(one._replace(boxes=looked[one.files], names=()))
    if isinstance(data, Made):
        return Made(data.root, entries, data.pictures, {})
    return Questions(data.root, entries)


def found_by(detector: Model, image: bytes) -> tuple[Box, ...]:
    """The boxes of one picture that a detector is sure of, in whole pixels."""
    return tuple(map(tuple, detect(detector, image, least=SURE).boxes.round().tolist()))


def regions(detector: Model, image: bytes, name: str) -> Features:
    """A detector's regions of one picture, at most MOST and at least one."""
    found = look(detector, image, Choice(least=1, most=MOST, refined=True), name=name)
    sides = np.array([*found.size, *found.size], dtype=np.float32)
    return Features(found.features, (found.boxes / sides).clip(0, 1).astype(np.float32))


# --- what is asked ------------------------------------------------------------------------------


Respond = Callable[[Sequence[Question]], Sequence[Answer]]


class Problem(NamedTuple):
    """What a net is trained to answer; all but this is the same for every kind of question.

    Attributes:
        name: of the records.
        head: that answers, by system.
        labels: the answers; None: those that the data have.
        score: the scores of answers to the test part; the last argument goes on to the task.
        places: whether answers are the places of boxes, of which each picture has its own.
    """

    name: str
    head: Callable[[str], str]
    labels: tuple[str, ...] | None
    score: Callable[[Cut, Respond, dict[str, Any]], Scores]
    places: bool = False

    def table(self, entries: Sequence[Entry]) -> dict[str, int]:
        """The answers that are learnt, by name."""
        if self.places:
            most = max((len(boxes) for one in entries for boxes in one.boxes), default=0)
            return {str(i): i for i in range(max(most, MOST))}
        if self.labels is None:
            return table_of(entries)
        return {name: i for i, name in enumerate(self.labels)}


# --- answers --------------------------------------------------------------------------------------


def table_of(entries: Sequence[Entry]) -> dict[str, int]:
    """The answers that are learnt, most frequent first: all of them where there is one truth.

    Of several people's answers (read as the official evaluation reads them) those that at least
    LEAST questions have, or all, where that leaves fewer than two.
    """
    several = any(len(one.answers) > 1 for one in entries)
    read = normal if several else stripped
    counts = Counter(answer for one in entries for answer in {read(a) for a in one.answers})
    counts.pop("", None)
    common = {a: n for a, n in counts.items() if n >= LEAST} if several else counts
    kept = common if len(common) > 1 else counts
    if len(kept) < 2:
        raise DataError(f"the questions have {len(kept)} different answers: nothing to learn")
    return {a: i for i, (a, _) in enumerate(sorted(kept.items(), key=lambda p: (-p[1], p[0])))}


def shares(given: Sequence[str], table: dict[str, int]) -> list[float]:
    """How right each answer of the table is: its agreement with what people said."""
    out = [0.0] * len(table)
    several = len(given) > 1
    read = [normal(one) if several else stripped(one) for one in given]
    for one in set(read) & table.keys():
        out[table[one]] = agreement(one, read) if several else 1.0
    return out


def learnable(data: Questions | Made, table: dict[str, int], words: WordPiece, room: int) -> Subset:
    """The questions of which an answer is in the table; a warning counts what is left out and cut.

    `room` is what a question's tokens may take of `words.length`.
    """
    kept = [i for i, one in enumerate(data.entries) if any(shares(one.answers, table))]
    out = len(data) - len(kept)
    if out:
        warnings.warn(
            f"{out} of {len(data)} questions are left out of training: none of their answers is"
            f" among the {len(table)} that are learnt",
            stacklevel=2,
        )
    if not kept:
        raise DataError("no question has an answer that can be learnt")
    warn_cut(data.entries, words, room, "training")
    return Subset(data, kept)


def warn_cut(entries: Sequence[Entry], words: WordPiece, room: int, part: str) -> None:
    """A warning that counts the questions whose end is not read."""
    long = sum(len(words.ids(one.text, one.id)) > room for one in entries)
    if long:
        warnings.warn(
            f"{long} of {len(entries)} questions of the {part} part are longer than {room} tokens:"
            " what is beyond is not read",
            stacklevel=2,
        )


class Marked:
    """Questions and what is right of them, as the objective needs it.

    Args:
        table: the answers by their names.
        told: the answers as words, for a decoder that reads them; None: a class each.
    """

    def __init__(
        self,
        inputs: QuestionInputs,
        table: dict[str, int],
        several: bool,
        told: Sequence[list[int]] | None,
    ):
        self.inputs, self.table, self.several, self.told = inputs, table, several, told

    def __call__(self, one: Question, rng: np.random.Generator | None) -> tuple[Item, list[float]]:
        return self.inputs(one, rng), shares(one.answers, self.table)

    def batch(self, items: list[tuple[Item, list[float]]]) -> Answered | Scored | Weighed:
        """Questions with a class, with shares, or with weighed answers in words."""
        joint = self.inputs.joint([item for item, _ in items])
        score = torch.tensor([right for _, right in items])
        if self.told is not None:
            row, answer = (score > 0).nonzero(as_tuple=True)
            weight = score / score.sum(dim=1, keepdim=True)
            said = lay([self.told[int(i)] for i in answer])
            return Weighed(Told(joint, said, row), weight[row, answer])  # type: ignore[arg-type]
        return Scored(joint, score) if self.several else Answered(joint, score.argmax(dim=1))


def either(logits: Float[Tensor, "b v"], right: Tensor) -> Float[Tensor, ""]:
    """One right answer, or each by itself with its share: which, the batch says."""
    return soft_bce(logits, right) if right.is_floating_point() else one_of(logits, right)


# --- scores ---------------------------------------------------------------------------------------


class QuestionScores(NamedTuple):
    """Accuracy on the test part, and what an answer without the picture comes to."""

    found: Callable[[], Cut]
    features: Callable[[], Mapping[str, Sequence[Features]] | None]
    problem: "Problem"

    def samples(self) -> Sequence[Question]:
        return ()

    def scores(self, model: Model, records: Path, say: Say) -> dict[str, Any]:
        test = self.found().test
        if len(test) == 0:
            return {"scores": {}, "note": "too few pictures: none was kept for the scores"}
        asker = Asker(model.net, model.tokenizer, model.manifest, self.features())
        table = {answer: i for i, answer in enumerate(asker.answers)}
        if self.problem.places:
            table = self.problem.table(test.entries)
        names = list(table)
        odd = sum(not any(shares(one.answers, table)) for one in test.entries)
        if odd:
            warnings.warn(
                f"{odd} of {len(test)} questions of the test part have no answer among the"
                f" {len(table)} that the model knows: they count as wrong",
                stacklevel=2,
            )

        def answer(some: Sequence[Question]) -> list[Answer]:
            found = asker.shares(some)
            best = found.argmax(axis=1)
            return [Answer(names[k], float(row[k])) for k, row in zip(best, found, strict=True)]

        about = {"split": "test", "model": model.fingerprint()}
        said: dict[str, Any] = {"path": records / f"{self.problem.name}.jsonl.gz", "about": about}
        found = self.problem.score(self.found(), answer, {**said, "progress": say})
        blind = self.problem.score(self.found(), without_picture(self.found().train.entries), {})
        plain = to_json(blind)["scores"]
        return {**to_json(found), "without the picture": plain.get("accuracy", plain)}


def scored(parts: Cut, answer: Callable[[Sequence[Question]], Any], said: dict[str, Any]) -> Scores:
    """The scores of answers to the test part."""
    task = agreed if parts.several else answers
    return task(answer, parts.test, **said)


VQA = Problem("vqa", lambda system: "vqa", None, scored)


def without_picture(entries: Sequence[Entry]) -> Callable[[Sequence[Question]], list[Answer]]:
    """Answers a question with what was most often right for the same words, else over all."""
    whole: Counter[str] = Counter()
    by: dict[str, Counter[str]] = {}
    for one in (one for one in entries if one.answers):
        said = [normal(a) for a in one.answers] if len(one.answers) > 1 else list(one.answers)
        whole.update(said)
        by.setdefault(worded(one.text), Counter()).update(said)

    def answer(some: Sequence[Question]) -> list[Answer]:
        counts = [by.get(worded(one.text), whole) for one in some]
        best = [min(c, key=lambda a: (-c[a], a)) for c in counts]
        return [Answer(a, c[a] / c.total()) for a, c in zip(best, counts, strict=True)]

    return answer


def worded(text: str) -> str:
    """A question as others may have asked it: lower case, single blanks."""
    return " ".join(text.lower().split())
