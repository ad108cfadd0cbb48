"""Few-shot classification by a Flamingo: `sensorium evaluate CHECKPOINT few-shot --data FOLDER`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sensorium.data.interleaved import marks
from sensorium.datasets.files import LabelledPictures
from sensorium.tasks.fewshot import USUAL, Namer, Plan, Shot, few_shot
from sensorium.tasks.scores import Scores
from sensorium.verbs.model import Model
from sensorium.verbs.shots import NAMED


def classified(
    model: Model,
    train: LabelledPictures,
    test: LabelledPictures,
    template: str = NAMED,
    *,
    plan: Plan = USUAL,
    path: Path | None = None,
    about: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Accuracy with 0, 4, 8, 16 and 32 shots, random and retrieved, over seeds.

    A class is as likely as its name and the end of the chunk behind it, added up.

    Raises:
        ValueError: the model is no Flamingo with a tokenizer, or has no room for so many shots.
    """
    teller = model.teller()
    if teller.words is None:
        raise ValueError("this model has no tokenizer: it cannot be asked for names")
    chunk = marks(teller.words).chunk
    rest = template.partition("{}")[2]
    options = [[*teller.words.encode(f"{name}{rest}"), chunk] for name in train.labels]
    if tuple(train.labels) != tuple(test.labels):
        raise ValueError("demonstrations and questions have other classes")
    fitting(teller.words, template, train.labels, plan, model.net)

    def choose(shown: Sequence[Shot], image: bytes) -> int:
        demos = [(one.image, train.labels[one.label]) for one in shown]
        found = teller.likely(teller.shown(demos, image, template), options)
        return max(range(len(found)), key=lambda i: found[i].total)

    return few_shot(
        Namer(choose, teller.vectors),
        train,
        test,
        train.labels,
        plan=plan,
        path=path,
        about=about,
        progress=progress,
    )


def fitting(words: Any, template: str, labels: Sequence[str], plan: Plan, net: Any) -> None:
    """Raises ValueError where a prompt could be longer than the context."""
    longest = max(len(words.encode(template.replace("{}", name))) for name in labels) + 2
    need = (max(plan.shots) + 1) * longest + 1
    if need > net.length:
        raise ValueError(
            f"{max(plan.shots)} shots may take {need} tokens, and the context is {net.length}:"
            " shorten the names, or show fewer"
        )
