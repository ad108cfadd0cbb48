"""`sensorium train detect` from a COCO file to a checkpoint with scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.models.detector_inputs import anchors_for
from sensorium.recipes.execute import start
from sensorium.tasks import detection
from sensorium.verbs.verify import verify


def square(folder: Path, i: int) -> dict:
    rng = np.random.default_rng(i)
    x, y = (int(v) for v in rng.integers(0, 20, 2))
    pixels = np.full((36, 48, 3), 200, dtype=np.uint8)
    pixels[y : y + 14, x : x + 14] = (220, 30, 30) if i % 2 else (30, 30, 220)
    Image.fromarray(pixels).save(folder / f"{i}.png")
    return {"image_id": i, "category_id": 1 + i % 2, "bbox": [x, y, 14, 14]}


def test_a_file_of_boxes_becomes_a_detector_with_scores(tmp_path: Path) -> None:
    said = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(20)],
        "categories": [{"id": 1, "name": "blue"}, {"id": 2, "name": "red"}],
        "annotations": [square(tmp_path, i) for i in range(20)],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(said))
    run = tmp_path / "run"
    given = {"data": str(tmp_path / "boxes.json"), "steps": 3, "batch": 2}
    found = start("detect", given, run, lambda text: None)
    assert 0 <= found["scores"]["detection"]["mAP"] <= 1
    assert verify(run / "checkpoint")["holds"]
    manifest = json.loads((run / "checkpoint" / "manifest.json").read_text())
    assert manifest["labels"] == ["blue", "red"] and manifest["transform"]["resize"] == 36
    anchors = manifest["model"]["args"]["anchors"]
    assert anchors["sizes"] == [14.0] and anchors["stride"] == 4 and anchors["ratios"] == [1.0]
    again = detection.score(run / "records" / "detection.jsonl.gz")["detection"]["mAP"].value
    assert again == found["scores"]["detection"]["mAP"]


def test_anchors_follow_the_boxes() -> None:
    sides = np.geomspace(16, 130, 200, dtype=np.float32)
    boxes = np.stack([0 * sides, 0 * sides, 2 * sides, sides / 2], axis=1)
    found = anchors_for(boxes)
    assert found.stride == 8 and found.ratios == (0.5, 1.0, 2.0) and len(found.sizes) == 4
    assert found.sizes[0] == pytest.approx(float(np.quantile(sides, 0.05)), abs=0.1)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(("data", "least"), [("nlvr", 0.9), ("bccd", 0.6)])
def test_what_the_page_says_of_real_sets(data: str, least: float, tmp_path: Path) -> None:
    found = start("detect", {"data": data, "steps": 600}, tmp_path / "run", lambda text: None)
    assert found["scores"]["detection"]["mAP@0.5"] >= least
