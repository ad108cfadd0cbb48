"""Makes golden/detection-ap.json: what pycocotools says of the answers in tests/tasks/drawn_boxes.

    python -m scripts.golden_detection    # with pycocotools installed

The tests hold our mean average precision against it.
"""

import json
from pathlib import Path

from pycocotools.coco import COCO  # type: ignore[import-not-found]
from pycocotools.cocoeval import COCOeval  # type: ignore[import-not-found]

from tests.tasks.drawn_boxes import CLASSES, drawn

GOLDEN = Path(__file__).parents[1] / "golden" / "detection-ap.json"


def main() -> None:
    samples, answers = drawn()
    truth, found = [], []
    for sample in samples:
        rows = zip(sample.boxes, sample.labels, sample.crowd, strict=True)
        for (x, y, right, bottom), label, crowd in rows:
            box = [x, y, right - x, bottom - y]
            own = dict(id=len(truth) + 1, image_id=int(sample.id), category_id=label + 1)
            truth.append(own | dict(bbox=box, area=box[2] * box[3], iscrowd=int(crowd)))
        said = answers[sample.id]
        for (x, y, right, bottom), score, label in zip(*said, strict=True):
            own = dict(image_id=int(sample.id), category_id=int(label) + 1, score=float(score))
            found.append(own | dict(bbox=[x, y, right - x, bottom - y]))
    data = COCO()
    data.dataset = {
        "images": [{"id": int(sample.id)} for sample in samples],
        "annotations": truth,
        "categories": [{"id": i + 1} for i in range(CLASSES)],
    }
    data.createIndex()
    judged = COCOeval(data, data.loadRes(found), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    each = judged.eval["precision"][0, :, :, 0, 2].mean(0).tolist()
    names = ("mAP", "mAP@0.5", "mAP@0.75")
    held = dict(zip(names, judged.stats[:3].tolist(), strict=True))
    GOLDEN.write_text(json.dumps({"scores": held, "AP@0.5 of each class": each}, indent=1) + "\n")


if __name__ == "__main__":
    main()
