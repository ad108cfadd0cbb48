"""Questions about pictures, read from each published format: 200 scenes written in it."""

import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.datasets.easy_vqa import box_of, easy_vqa, easy_vqa_shapes
from sensorium.datasets.nlvr import nlvr
from sensorium.datasets.nlvr2 import nlvr2
from sensorium.datasets.plain_pickle import plain_pickle
from sensorium.datasets.refcoco import refcoco
from sensorium.datasets.snli_ve import snli_ve
from sensorium.datasets.vcr import vcr
from sensorium.datasets.vqa_v2 import named_by, vqa_v2
from tests.datasets import nlvr_scenes as write

COUNT = 200


@pytest.fixture(scope="module", params=["drawn", pytest.param("real", marks=pytest.mark.data)])
def scenes(request) -> list[write.Scene]:
    """As many scenes as each format is proved on."""
    if request.param == "real":
        return write.from_catalogue(Path(os.environ["SENSORIUM_DATA"]), COUNT)
    return write.drawn(COUNT)


def test_vqa_v2(scenes, tmp_path: Path):
    questions, annotations = write.as_vqa_v2(scenes, tmp_path)
    data = vqa_v2(questions, annotations, tmp_path / "val2014")
    assert len(data) == COUNT
    for i, (one, scene) in enumerate(zip(data, scenes, strict=True)):
        text, there = write.said(scene)
        assert one.images == (scene.png,) and one.text == text
        assert one.answers == (write.TEN[i % 3] if there else ("no",) * 10)
        assert (one.id, one.cluster, one.kind) == (str(1000 + i), str(i), "yes/no")
    kept_back = vqa_v2(questions, None, tmp_path / "val2014")
    assert {one.answers for one in kept_back} == {()}


def test_vqa_v2_files_that_do_not_belong_together(tmp_path: Path):
    questions, annotations = write.as_vqa_v2(write.drawn(4), tmp_path)
    said = json.loads(annotations.read_text())
    for change, error in (
        (lambda a: a.pop(), "question 1003 has no annotation"),
        (lambda a: a.append(a[0] | {"question_id": 5}), "1 annotations belong to no question"),
        (lambda a: a.append(a[0]), "question 1000 is annotated twice"),
        (lambda a: a[1].update(image_id=3), "is about picture 1, its annotation about 3"),
        (lambda a: a[1].update(answers=[]), "has no list 'answers' with something in it"),
    ):
        rows = json.loads(json.dumps(said["annotations"]))
        change(rows)
        annotations.write_text(json.dumps({**said, "annotations": rows}))
        with pytest.raises(DataError, match=error):
            vqa_v2(questions, annotations, tmp_path / "val2014")
    (tmp_path / "val2014" / "COCO_val2014_000000000002.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 4 entries name pictures .*000000000002.jpg"):
        vqa_v2(questions, None, tmp_path / "val2014")


def test_names_of_pictures_are_patterns_and_no_programs():
    assert named_by("COCO_{id:012d}.jpg", "42", "w") == "COCO_000000000042.jpg"
    assert named_by("{id}.png", "a7", "w") == "a7.png"
    for pattern in ("plain.jpg", "{id.__class__}", "{id:0999999999d}"):
        with pytest.raises(DataError, match="must hold"):
            named_by(pattern, "42", "w")


def test_nlvr2(scenes, tmp_path: Path):
    data = nlvr2(write.as_nlvr2(scenes, tmp_path), tmp_path / "dev")
    assert len(data) == COUNT // 2
    for i, one in enumerate(data):
        left, right = scenes[2 * i], scenes[2 * i + 1]
        assert one.images == (left.png, right.png)
        assert one.answers == (str(len(left.objects) > len(right.objects)).lower(),)
        assert (one.id, one.cluster) == (f"dev-{i // 2}-{i % 2}-0", f"dev-{i // 2}--0")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_refcoco(scenes, tmp_path: Path, protocol: int):
    refs, instances = write.as_refcoco(scenes, tmp_path, write.pickled(protocol))
    data = refcoco(refs, instances, tmp_path / "train2014", "val")
    mine = [scene for i, scene in enumerate(scenes) if i % 4]
    assert len(data) == 2 * len(mine)
    for i, one in enumerate(data):
        scene = mine[i // 2]
        boxes = [(x, y, x + w, y + h) for _, _, (x, y, w, h) in scene.objects]
        assert one.image == scene.png and list(one.boxes) == boxes and one.truth == boxes[0]
        colour, shape, _ = scene.objects[0]
        assert one.text == [f"the {colour} {shape}", f"{colour} one"][i % 2]


def test_refcoco_refuses_what_is_not_there(tmp_path: Path):
    refs, instances = write.as_refcoco(write.drawn(4), tmp_path, write.pickled(2))
    with pytest.raises(DataError, match=r"no reference is of the split 'test'; there are"):
        refcoco(refs, instances, tmp_path / "train2014", "test")
    said = json.loads(instances.read_text())
    instances.write_text(json.dumps(said | {"annotations": said["annotations"][1:]}))
    with pytest.raises(DataError, match="box 0 of picture 0 is not in"):
        refcoco(refs, instances, tmp_path / "train2014", "testA")


def test_snli_ve(scenes, tmp_path: Path):
    data = snli_ve(write.as_snli_ve(scenes, tmp_path), tmp_path / "flickr30k")
    kept = [(i, scene) for i, scene in enumerate(scenes) if i % 50 != 7]  # "-" has no gold label
    assert len(data) == len(kept) == COUNT - 4
    for one, (i, scene) in zip(data, kept, strict=True):
        there = write.said(scene)[1]
        assert one.images == (scene.png,) and one.text.startswith("There is a ")
        assert one.answers == ("entailment" if there else "contradiction",)
        assert one.cluster == str(100 + i)


@pytest.mark.parametrize("ask", ["answer", "rationale"])
def test_vcr(scenes, tmp_path: Path, ask):
    data = vcr(write.as_vcr(scenes, tmp_path), tmp_path / "vcr1images", ask)
    assert len(data) == COUNT
    for one, scene in zip(data, scenes, strict=True):
        colour = scene.objects[0][0]
        question = ("What", "colour", "is", 0, "?")
        extra = (0, "is", colour, ".") if ask == "rationale" else ()
        assert one.text == question + extra and one.image == scene.png
        assert colour in one.choices[one.label] and len(one.choices) == 4
        assert one.boxes == tuple((x, y, x + w, y + h) for _, _, (x, y, w, h) in scene.objects)


def test_vcr_refuses_objects_that_are_not_there(tmp_path: Path):
    path = write.as_vcr(write.drawn(2), tmp_path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for change, error in (
        ({"question": ["Who", "is", [99], "?"]}, "99 is the number of none"),
        ({"question": []}, "must be a list of words"),
        ({"objects": ["square"] * 50}, "names 50 objects"),
        ({"answer_label": 4}, "must be a number from 0 to 3"),
        ({"metadata_fn": "../val.jsonl"}, "climbs out"),
    ):
        path.write_text("".join(json.dumps(row | change) + "\n" for row in rows))
        with pytest.raises(DataError, match=error):
            vcr(path, tmp_path / "vcr1images")


# --- pickles ------------------------------------------------------------------------------------


def test_a_pickle_that_would_do_anything_is_not_read(tmp_path: Path):
    class Bad:
        def __reduce__(self):
            return (Path(tmp_path / "made").touch, ())

    path = tmp_path / "refs.p"
    for protocol in (0, 2, 4):
        path.write_bytes(pickle.dumps([{"split": "val", "x": Bad()}], protocol=protocol))
        with pytest.raises(DataError, match="would do more than spell plain values"):
            plain_pickle(path)
    assert not (tmp_path / "made").exists()


def test_plain_values_come_back_and_damage_is_an_error(tmp_path: Path):
    value = [{"a": 1, "b": [2.5, None, True, "é", -(10**30)], "c": (1, 2, 3, 4), "d": ((), {})}] * 3
    for protocol in range(5):
        data = pickle.dumps(value, protocol=protocol)
        (tmp_path / "p").write_bytes(data)
        assert plain_pickle(tmp_path / "p") == value
        for cut in range(0, len(data), 7):
            (tmp_path / "p").write_bytes(data[:cut])
            with pytest.raises(DataError):
                plain_pickle(tmp_path / "p")


# --- easy-VQA and nlvr --------------------------------------------------------------------------


def shape(at: tuple[int, int, int, int], colour: tuple[int, int, int]) -> bytes:
    pixels = np.full((64, 64, 3), (250, 240, 230), dtype=np.uint8)
    x1, y1, x2, y2 = at
    pixels[y1:y2, x1:x2] = colour
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_the_box_of_a_shape_is_read_off_the_pixels():
    assert box_of(shape((3, 5, 40, 21), (0, 0, 200)), "p") == (3.0, 5.0, 40.0, 21.0)
    assert box_of(shape((63, 63, 64, 64), (250, 240, 180)), "p") == (63.0, 63.0, 64.0, 64.0)
    with pytest.raises(DataError, match="p: shows nothing but its ground"):
        box_of(shape((3, 5, 3, 5), (0, 0, 0)), "p")


def test_easy_vqa_from_a_folder(tmp_path: Path):
    (tmp_path / "test" / "images").mkdir(parents=True)
    (tmp_path / "test" / "images" / "7.png").write_bytes(shape((3, 5, 40, 21), (0, 0, 200)))
    rows = [["what color is the shape?", "blue", 7], ["is there a circle?", "no", 7]]
    (tmp_path / "test" / "questions.json").write_text(json.dumps(rows))
    data = easy_vqa(tmp_path, "test")
    assert [(one.text, one.answers, one.cluster, one.kind) for one in data] == [
        ("what color is the shape?", ("blue",), "test-7", "other"),
        ("is there a circle?", ("no",), "test-7", "yes/no"),
    ]
    assert data[0].boxes == (((3.0, 5.0, 40.0, 21.0),),)
    (tmp_path / "test" / "questions.json").write_text(json.dumps([*rows, ["no picture", "no"]]))
    with pytest.raises(DataError, match="entry 2: must be"):
        easy_vqa(tmp_path, "test")


def test_shapes_and_colours_are_told_by_the_questions(tmp_path: Path):
    (tmp_path / "test" / "images").mkdir(parents=True)
    asked = {
        "is there a circle?": ("yes", "circle", None),
        "is there not a circle?": ("no", "circle", None),
        "is no red shape there?": ("no", None, "red"),
        "what color is the triangle?": ("teal", "triangle", "teal"),
        "is there a rectangle?": ("no", None, None),
        "what shape is it?": ("circle", "circle", None),
    }
    rows = [[text, said[0], i] for i, (text, said) in enumerate(asked.items())]
    for i in range(len(rows)):
        name = tmp_path / "test" / "images" / f"{i}.png"
        name.write_bytes(shape((3, 5, 40, 21), (0, 0, 200)))
    (tmp_path / "test" / "questions.json").write_text(json.dumps(rows))
    data = easy_vqa_shapes(tmp_path, "test")
    known = [said for said in asked.values() if said[1] is not None]
    assert [data.labels[one.labels[0]] for one in data] == [said[1] for said in known]
    names = [data.attributes[a] if (a := one.attributes[0]) >= 0 else None for one in data]
    assert names == [said[2] for said in known]
    assert {one.boxes for one in data} == {((3.0, 5.0, 40.0, 21.0),)}


def test_easy_vqa_as_installed():
    pytest.importorskip("easy_vqa", reason="the package of the data set is not installed")
    data = easy_vqa(part="test")
    assert (len(data), len({one.cluster for one in data.entries})) == (9673, 1000)
    areas = [(x2 - x1) * (y2 - y1) for one in data.entries for x1, y1, x2, y2 in one.boxes[0]]
    assert min(areas) > 20 and max(areas) < 64 * 64


@pytest.mark.data
def test_nlvr_statements():
    train, test = nlvr(part="train"), nlvr(part="test")
    assert (len(train), len(test)) == (1776, 560)
    assert not {e.cluster for e in train.entries} & {e.cluster for e in test.entries}
    one = train[0]
    assert one.answers == ("true",) and one.names[0][0] == "blue triangle"
    assert one.boxes[0][0] == (30.0, 90.0, 40.0, 100.0) and len(one.images[0]) > 100
