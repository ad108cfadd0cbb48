"""Accuracy of answers where there is one truth: statements, entailment, made questions; NLVR2."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sensorium.data.questions import Question
from sensorium.datasets.snli_ve import LABELS
from sensorium.tasks.asking import Answer, ask, data, kinds
from sensorium.tasks.records import Progress, TaskError, records, write
from sensorium.tasks.scores import Scores, score

HIT = {"of": "wrong", "at_most": 0, "summary": "mean"}

Answers = Callable[[Sequence[Question]], Sequence[Answer]]


def answers(
    answer: Answers,
    samples: Sequence[Question],
    *,
    task: str = "answers",
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores answers: right is what is word for word the one answer that a question has.

    Args:
        answer: answers questions, each as a text and how sure it is.
        task: what the records call it.
        path, about, progress: as in `vqa`.

    Returns:
        {"accuracy": {"all"}, "per_kind": {kind: accuracy}}; intervals by `Question.cluster`.

    Raises:
        TaskError: no samples, an id twice, a question without its one answer.
    """
    rows, facts = _rows(answer, samples, progress)
    metric = HIT | {"meaning": "share of questions that were answered right"}
    kept = records(task, kinds(metric, rows), data(facts) | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def entailment(answer: Answers, samples: Sequence[Question], **said: Any) -> Scores:
    """Scores visual entailment in three classes; `said` as in `answers`.

    TaskError: as there; an answer that is no class.
    """

    def checked(some: Sequence[Question]) -> Sequence[Answer]:
        out = answer(some)
        odd = sorted({one.text for one in out} - set(LABELS))
        if odd:
            raise TaskError(f"answers {odd[:3]} are none of {', '.join(LABELS)}")
        return out

    return answers(checked, samples, task="entailment", **said)


def nlvr2(
    answer: Answers,
    samples: Sequence[Question],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores statements about two pictures: accuracy, and consistency.

    A sentence is judged consistently when all its pairs of pictures are answered right (Suhr et al.
    2019, section 5). Sentences are what intervals resample.

    Returns:
        {"accuracy": {"all"}, "consistency": {"all"}}.
    """
    rows, facts = _rows(answer, samples, progress)
    wrong: dict[str, int] = {}
    for row in rows:
        wrong[row["cluster"]] = wrong.get(row["cluster"], 0) + row["wrong"]
    rows += [
        {"part": "consistency", "id": name, "cluster": name, "wrong": count}
        for name, count in wrong.items()
    ]
    metrics = {
        "accuracy": {"all": HIT | {"meaning": "share of statements judged right"}},
        "consistency": {"all": HIT | {"meaning": "share of sentences right for all their pairs"}},
    }
    kept = records("nlvr2", metrics, data(facts) | dict(about or {}), rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def _rows(
    answer: Answers, samples: Sequence[Question], progress: Progress | None
) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    rows, facts = [], []
    for one, said in ask(answer, samples, progress):
        if len(one.answers) != 1:
            raise TaskError(
                f"question {one.id}: has {len(one.answers)} answers where one truth is needed"
                " (several people's answers are scored with `vqa`)"
            )
        truth = one.answers[0]
        row = {"part": "accuracy", "id": one.id, "cluster": one.cluster, "kind": one.kind}
        row |= {"said": said.text, "sure": round(said.share, 6), "truth": truth}
        rows.append(row | {"wrong": int(said.text != truth)})
        facts.append((one.id, one.text, one.answers))
    return rows, facts
