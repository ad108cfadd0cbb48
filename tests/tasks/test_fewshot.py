"""Few-shot: which demonstrations are shown, in which order, and how answers are counted."""

from pathlib import Path

import numpy as np
import pytest

from sensorium.tasks.fewshot import Namer, Plan, Shot, few_shot, nearest
from sensorium.tasks.records import TaskError
from sensorium.tasks.scores import score
from sensorium.types import Labelled

LABELS = ("cat", "dog", "owl")
TRAIN = [Labelled(bytes([i]), i % 3, f"train {i:02}") for i in range(30)]
TEST = [Labelled(bytes([i]), i % 3, f"test {i:02}") for i in range(100, 112)]
PLAN = Plan(shots=(0, 2, 4), seeds=(0, 1), pool=20, queries=6)


def vectors(images):
    """Pictures of like numbers are alike."""
    angle = np.array([image[0] % 100 for image in images]) / 100
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


class Watching:
    """Answers the last demonstration's class, and keeps what it was shown."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[Shot], bytes]] = []

    def __call__(self, shown, image):
        self.asked.append((list(shown), image))
        return shown[-1].label


def test_demonstrations_are_of_the_pool_and_more_shots_add_to_fewer() -> None:
    seen = Watching()
    found = few_shot(Namer(seen, vectors), TRAIN, TEST, LABELS, plan=PLAN)
    assert list(found) == [f"{how}, {n} shots" for how in ("random", "rices") for n in (0, 2, 4)]
    assert len(seen.asked) == 2 * 6 * 6
    for shown, image in seen.asked:
        assert image[0] >= 100  # never a picture that is shown
        assert len(shown) in (2, 4) and len({one.image for one in shown}) in (1, len(shown))
    blind = [shown for shown, _ in seen.asked if shown[0].image is None]
    assert len(blind) == 2 * 2 * 6 and all(len(shown) == 2 for shown in blind)
    random2, random4 = seen.asked[6:12], seen.asked[12:18]
    assert all(b[0][:2] == a[0] for a, b in zip(random2, random4, strict=True))


def test_retrieved_demonstrations_end_with_the_most_alike() -> None:
    seen = Watching()
    plan = PLAN._replace(how=("rices",), pool=30)
    few_shot(Namer(seen, vectors), TRAIN, TEST, LABELS, plan=plan)
    for shown, image in seen.asked:
        if shown[0].image is not None:
            far = [abs(one.image[0] - image[0] % 100) for one in shown if one.image]
            assert far == sorted(far, reverse=True) and far[-1] == 0
    a, b = np.eye(2)[[0]], np.eye(2)[[1, 0, 0]]
    assert nearest(a, b, 2).tolist() == [[1, 2]]  # of equals the first


def test_scores_are_those_of_the_records_and_the_spread_is_over_seeds(tmp_path: Path) -> None:
    at, told = tmp_path / "records.jsonl", []
    found = few_shot(
        Namer(Watching(), vectors),
        TRAIN,
        TEST,
        LABELS,
        plan=PLAN,
        path=at,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (72, 72)
    again = score(at)
    for part, named in found.items():
        seeds = [named["seed 0"].value, named["seed 1"].value]
        assert named["accuracy"].value == pytest.approx(np.mean(seeds))
        assert named["spread over seeds"].value == pytest.approx(np.std(seeds, ddof=1))
        assert again[part] == {k: v for k, v in named.items() if k != "spread over seeds"}
    same = few_shot(Namer(Watching(), vectors), TRAIN[::-1], TEST[::-1], LABELS, plan=PLAN)
    assert same == found  # whatever the order of the sets


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (PLAN._replace(shots=(40,)), "40 shots cannot be taken from 20"),
        (PLAN._replace(shots=()), "numbers of shots"),
        (PLAN._replace(seeds=(1, 1)), "no seed twice"),
        (PLAN._replace(shots=(-1,)), "none below 0"),
    ],
)
def test_a_plan_that_cannot_be_asked_is_refused(plan: Plan, says: str) -> None:
    with pytest.raises(TaskError, match=says):
        few_shot(Namer(Watching(), vectors), TRAIN, TEST, LABELS, plan=plan)
    with pytest.raises(TaskError, match="pictures to ask about"):
        few_shot(Namer(Watching(), vectors), TRAIN, [], LABELS, plan=PLAN)
