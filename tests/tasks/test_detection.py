"""Mean average precision is COCO's, is recomputed from its records, and refuses what is no answer.

golden/detection-ap.json holds what pycocotools said of the same answers
(scripts/golden_detection.py).
"""

import json
from pathlib import Path

import numpy as np
import pytest

from sensorium.tasks.detection import Answer, detection, greedy, score, shared
from sensorium.tasks.records import TaskError
from sensorium.types import Boxed
from tests.tasks.drawn_boxes import drawn

GOLDEN = Path(__file__).parents[2] / "golden" / "detection-ap.json"
NAMES = ["a", "b", "c", "none of these"]


def one(*boxes: tuple[float, float, float, float], label: int = 0) -> Boxed:
    n = len(boxes)
    return Boxed(b"", boxes, (label,) * n, (-1,) * n, (False,) * n, "one")


def said(*rows: tuple[float, ...]) -> Answer:
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Answer(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_the_scores_are_those_of_pycocotools(tmp_path: Path) -> None:
    samples, answers = drawn()
    path = tmp_path / "records.jsonl.gz"
    found = detection(lambda image, name: answers[name], samples, NAMES, path=path)
    golden = json.loads(GOLDEN.read_text())
    for name, value in golden["scores"].items():
        assert found["detection"][name].value == pytest.approx(value, abs=1e-9)
    each = [v for v in golden["AP@0.5 of each class"] if v >= 0]
    assert [s.value for s in found["per_class"].values()] == pytest.approx(each, abs=1e-9)
    assert "none of these" not in found["per_class"]
    assert score(path) == found


def test_the_order_of_the_data_does_not_matter() -> None:
    samples, answers = drawn()
    a = detection(lambda image, name: answers[name], samples, NAMES)
    assert a == detection(lambda image, name: answers[name], samples[::-1], NAMES)


def test_everything_found_is_one_and_nothing_is_zero() -> None:
    truth = [one((0, 0, 10, 10), (20, 0, 30, 10))]
    right = said((0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 0))
    assert detection(lambda *_: right, truth, ["x"])["detection"]["mAP"].value == pytest.approx(1)
    assert detection(lambda *_: said(), truth, ["x"])["detection"]["mAP"].value == 0


def test_a_second_answer_for_one_object_is_wrong() -> None:
    truth = [one((0, 0, 10, 10), (20, 0, 30, 10))]
    twice = said((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 10, 0.8, 0), (20, 0, 30, 10, 0.7, 0))
    found = detection(lambda *_: twice, truth, ["x"])["detection"]["mAP@0.5"].value
    assert found == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_crowd_takes_any_number_and_counts_for_nothing() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    crowd = np.array([False, True])
    found = np.array([[0.0, 0, 10, 10], [51, 51, 53, 53], [54, 54, 58, 58]])
    hit, counts = greedy(shared(found, boxes, crowd), crowd)
    assert hit[:, 0].tolist() == [True, False, False]
    assert counts[:, 0].tolist() == [True, False, False]


def test_odd_answers_and_sets_are_refused() -> None:
    truth = [one((0, 0, 10, 10))]
    with pytest.raises(TaskError, match="NaN or infinity"):
        detection(lambda *_: said((0, 0, float("nan"), 10, 0.9, 0)), truth, ["x"])
    with pytest.raises(TaskError, match="none of the 1"):
        detection(lambda *_: said((0, 0, 10, 10, 0.9, 1)), truth, ["x"])
    with pytest.raises(TaskError, match="no samples"):
        detection(lambda *_: said(), [], ["x"])
    with pytest.raises(TaskError, match="no picture has an object"):
        detection(lambda *_: said(), [one()], ["x"])
    with pytest.raises(TaskError, match="share the id"):
        detection(lambda *_: said(), truth * 2, ["x"])
