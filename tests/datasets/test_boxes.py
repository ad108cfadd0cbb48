"""Pictures with boxes: COCO's files, and the sets of the catalogue."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.datasets.boxes import bccd, coco, coco_open, nlvr


def written(folder: Path, **changes) -> Path:
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    said = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 5, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 5, "bbox": [1, 2, 10, 20], "attribute": "brown"},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 5.5, 5], "iscrowd": 1},
        ],
    } | changes
    path = folder / "boxes.json"
    path.write_text(json.dumps(said))
    return path


def test_a_coco_file(tmp_path: Path) -> None:
    data = coco(written(tmp_path))
    assert data.labels == ("cat", "dog") and data.attributes == ("brown",) and len(data) == 1
    one = data[0]
    assert one.boxes == ((1.0, 2.0, 11.0, 22.0), (0.0, 0.0, 5.5, 5.0))
    assert one.labels == (1, 0) and one.attributes == (0, -1) and one.crowd == (False, True)
    assert one.image == (tmp_path / "a.png").read_bytes() and one.id == "a.png"


ODD = [
    (dict(images=[{"id": 7, "file_name": "../a.png"}]), "climbs out"),
    (dict(images=[{"id": 7, "file_name": "b.png"}]), "does not exist"),
    (dict(images=[]), "no list 'images'"),
    (dict(annotations=[{"image_id": 8, "category_id": 5, "bbox": [0, 0, 1, 1]}]), "image_id 8"),
    (dict(annotations=[{"image_id": 7, "category_id": 5, "bbox": [0, 0, 0, 1]}]), "has no area"),
    (dict(annotations=[{"image_id": 7, "category_id": 5, "bbox": [0, 0, 1]}]), "bbox must be"),
    (dict(annotations=None), "no list 'annotations'"),
    (dict(categories=[{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]), "needs an 'id' of its own"),
    (dict(categories=[{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]), "have one name"),
]


@pytest.mark.parametrize(("changes", "why"), ODD, ids=[why for _, why in ODD])
def test_odd_files_are_refused(changes: dict, why: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=why):
        coco(written(tmp_path, **changes))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text("no")
    with pytest.raises(DataError, match="no JSON"):
        coco(tmp_path / "boxes.json")


@pytest.mark.data
def test_the_sets_of_the_catalogue(catalogue: Path) -> None:
    for reader, many, kinds in ((nlvr, 1776, 9), (bccd, 180, 3), (coco_open, 81, 72)):
        train, test = reader(catalogue), reader(catalogue, part="test")
        assert len(train) == many and train.labels == test.labels
        assert reader is coco_open or len(train.labels) == kinds
        assert not set(train.ids) & set(test.ids)
        one = train[3]
        assert len(one.boxes) == len(one.labels) == len(one.crowd) and one.image
    assert nlvr(catalogue).attributes == ("black", "blue", "yellow")
