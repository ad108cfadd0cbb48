"""VQA accuracy: an answer is as right as people agree with it (Antol et al. 2015).

Of ten answers each is left out in turn; an answer scores min(1, matches / 3) against the other
nine, and the mean of the ten is its accuracy. Answers are normalised first (`vqa_words`), but only
where the ten are not all the same, as the official evaluation does.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sensorium.data.questions import Question
from sensorium.tasks.asking import Answer, ask, data, kinds
from sensorium.tasks.records import Progress, TaskError, records, write
from sensorium.tasks.scores import Scores, score
from sensorium.tasks.vqa_words import normal, stripped

AGREE = 3  # people who must have said it


def vqa(
    answer: Callable[[Sequence[Question]], Sequence[Answer]],
    samples: Sequence[Question],
    *,
    path: str | os.PathLike[str] | None = None,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Scores answers to questions that several people answered.

    Args:
        answer: answers questions, each as a text and how sure it is.
        samples: at least two answers each.
        path: where the records file is written; None: nowhere.
        about: more facts for its header; give `split` and `model` (a fingerprint).
        progress: called with (questions asked so far, all questions).

    Returns:
        {"accuracy": {"all"}, "per_kind": {answer type: its accuracy}}; questions about one picture
        are not independent, so pictures are what intervals resample.

    Raises:
        TaskError: no samples, an id twice, a question with fewer than two answers.
    """
    rows, facts = [], []
    for one, said in ask(answer, samples, progress):
        if len(one.answers) < 2:
            raise TaskError(
                f"question {one.id}: has {len(one.answers)} answers; agreement needs at least two"
                " (where there is one truth, score with `answers`)"
            )
        row = {"part": "accuracy", "id": one.id, "cluster": one.cluster, "kind": one.kind}
        row |= {"said": said.text, "sure": round(said.share, 6), "answers": list(one.answers)}
        rows.append(row | {"score": agreement(said.text, one.answers)})
        facts.append((one.id, one.text, one.answers))
    overall = {"of": "score", "summary": "mean", "meaning": "mean accuracy of the answers"}
    header = data(facts) | dict(about or {})
    kept = records("vqa", kinds(overall, rows), header, rows)
    if path is not None:
        write(path, kept)
    return score(kept)


def agreement(said: str, answers: Sequence[str]) -> float:
    """The accuracy of one answer: the mean over the answers left out in turn."""
    said, theirs = stripped(said), [stripped(one) for one in answers]
    if len(set(theirs)) > 1:
        said, theirs = normal(said), [normal(one) for one in theirs]
    matches = theirs.count(said)
    without = [matches - (one == said) for one in theirs]
    return sum(min(1.0, count / AGREE) for count in without) / len(theirs)
