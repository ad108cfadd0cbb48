"""The sets of the data catalogue: a tiny copy of each, and (marked `data`) the real ones."""

import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.datasets import catalogue, openstax
from sensorium.datasets.coco_open import coco_open
from sensorium.datasets.flowers import flowers
from sensorium.datasets.folder import fingerprint
from sensorium.datasets.grocery import grocery
from sensorium.datasets.storybooks import storybooks


def put(root: Path, name: str, rows: list[dict], pictures: list[str]) -> None:
    """One list of a tiny catalogue, with the pictures it names."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for i, picture in enumerate(pictures):
        (path.parent / picture).parent.mkdir(exist_ok=True)
        file = io.BytesIO()
        Image.new("RGB", (4, 4), (i, 0, 0)).save(file, "JPEG")
        (path.parent / picture).write_bytes(file.getvalue())


def flower(**changes: object) -> dict:
    return {"id": "f1", "image": "images/a.jpg", "label": "roses", "label_id": 2, **changes}


# --- finding the catalogue ---------------------------------------------------------------------


def test_the_folder_is_given_or_said_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SENSORIUM_DATA", raising=False)
    with pytest.raises(DataError, match="set SENSORIUM_DATA to its folder"):
        catalogue.root()
    monkeypatch.setenv("SENSORIUM_DATA", str(tmp_path))
    assert catalogue.root() == tmp_path
    assert catalogue.root(str(tmp_path / "..")) == tmp_path / ".."
    with pytest.raises(DataError, match="none: no such folder"):
        catalogue.root(tmp_path / "none")
    with pytest.raises(DataError, match=r"flowers/images.train.jsonl: no such file"):
        flowers(tmp_path)


# --- a tiny copy of each set -------------------------------------------------------------------


def test_flowers(tmp_path: Path):
    put(tmp_path, "flowers/images.test.jsonl", [flower()], ["images/a.jpg"])
    data = flowers(tmp_path, "test")
    assert (data[0].label, data.labels[2], data[0].id) == (2, "roses", "f1")
    assert data[0].image == (tmp_path / "flowers/images/a.jpg").read_bytes()
    assert data.texts == [("roses",)]


BAD_ROWS = {
    "row 2: 'label_id' must be a whole number": [flower(), flower(label_id="2")],
    "row 1: 'label_id' must be a whole number from 0 to 4, not 5": [flower(label_id=5)],
    "row 1: label 1 is 'dandelion' here": [flower(label_id=1)],
    "row 1: 'id' must be a text, not None": [flower(id=None)],
    "row 1: 'image' must be a text, not 7": [flower(image=7)],
    "row 2: 'images/b.jpg' does not exist": [flower(), flower(image="images/b.jpg")],
    "climbs out": [flower(image="../x.jpg")],
    "holds no rows": [],
}


@pytest.mark.parametrize("message", BAD_ROWS)
def test_bad_rows_are_named(tmp_path: Path, message: str):
    put(tmp_path, "flowers/images.train.jsonl", BAD_ROWS[message], ["images/a.jpg"])
    with pytest.raises(DataError, match=f"images.train.jsonl: .*{message}"):
        flowers(tmp_path)
    with pytest.raises(DataError, match="'train' or 'test'"):
        catalogue.records(tmp_path, "images", "val")


def test_grocery_at_three_levels(tmp_path: Path):
    tree = [
        {"label_id": 0, "name": "Gala Apple", "coarse": "Red-Apple", "coarse_id": 0},
        {"label_id": 1, "name": "Fuji Apple", "coarse": "Red-Apple", "coarse_id": 0},
        {"label_id": 2, "name": "Leek", "coarse": "Leek", "coarse_id": 1},
    ]
    row = {"id": "g", "image": "images/a.jpg", "label_id": 2, "coarse_id": 1, "group": "Vegetables"}
    put(tmp_path, "grocery/classes.jsonl", tree, [])
    put(tmp_path, "grocery/images.train.jsonl", [row], ["images/a.jpg"])
    fine, coarse, group = (grocery(tmp_path, level=v) for v in ("fine", "coarse", "group"))
    assert fine.labels == ("Gala Apple", "Fuji Apple", "Leek") and fine[0].label == 2
    assert coarse.labels == ("Red Apple", "Leek") and coarse[0].label == 1
    assert group.labels == ("Fruit", "Vegetables", "Packages") and group[0].label == 1
    put(tmp_path, "grocery/classes.jsonl", [*tree[:2], {**tree[2], "coarse_id": 2}], [])
    with pytest.raises(DataError, match="coarse_id must count from 0 without gaps"):
        grocery(tmp_path, level="coarse")


def test_openstax_captions(tmp_path: Path):
    row = {"id": "o", "image": "images/a.jpg", "kind": "photo", "alt": "A tree.", "caption": "Oak."}
    put(tmp_path, "openstax/captions.train.jsonl", [row], ["images/a.jpg"])
    assert openstax.captions(tmp_path)[0].texts == ("A tree.", "Oak.")
    assert openstax.captions(tmp_path, texts=("caption",))[0].texts == ("Oak.",)
    assert len(openstax.captions(tmp_path, kind="figure")) == 0
    with pytest.raises(DataError, match="texts"):
        openstax.captions(tmp_path, texts=())


def test_openstax_in_several_languages(tmp_path: Path):
    english, polish = {"alt": "A tree.", "caption": "Oak."}, {"alt": "", "caption": "Dąb."}
    rows = [
        {"id": "a", "image": "images/a.jpg", "texts": {"en": english, "pl": polish}},
        {"id": "b", "image": "images/b.jpg", "texts": {"en": english}},
    ]
    put(tmp_path, "openstax/multilingual.train.jsonl", rows, ["images/a.jpg", "images/b.jpg"])
    assert openstax.multilingual(tmp_path)[0].texts == ("A tree.", "Oak.", "Dąb.")
    assert [s.id for s in openstax.multilingual(tmp_path, languages=("pl",))] == ["a"]
    assert len(openstax.multilingual(tmp_path, languages=("pl",), texts=("alt",))) == 0
    with pytest.raises(DataError, match="choose from 'en', 'es', 'pl'"):
        openstax.multilingual(tmp_path, languages=("de",))


def test_coco_open(tmp_path: Path):
    row = {"id": "c", "image": "images/a.jpg", "captions": list("abcde")}
    put(tmp_path, "coco_open/images.train.jsonl", [row], ["images/a.jpg"])
    assert coco_open(tmp_path)[0].texts == ("a", "b", "c", "d", "e")
    put(tmp_path, "coco_open/images.train.jsonl", [{**row, "captions": ["a", " "]}], [])
    with pytest.raises(DataError, match="row 1: 'captions' must be texts that are not empty"):
        coco_open(tmp_path)


def test_storybooks(tmp_path: Path):
    pages = [
        {"image": "images/a.jpg", "text": {"en": "One.", "sw": "Moja."}, "alt": "A hare."},
        {"image": "images/b.jpg", "text": {"en": "Two."}},
    ]
    book = {"id": "hare", "pages": pages}
    put(tmp_path, "storybooks/stories.train.jsonl", [book], ["images/a.jpg", "images/b.jpg"])
    assert [(s.id, s.texts) for s in storybooks(tmp_path, languages=("sw", "en"))] == [
        ("hare:1", ("Moja.", "One.")),
        ("hare:2", ("Two.",)),
    ]
    assert [s.texts for s in storybooks(tmp_path, languages=("sw",), alt=True)] == [
        ("Moja.", "A hare.")
    ]
    with pytest.raises(DataError, match="the train list has, with pages: en 2, sw 1"):
        storybooks(tmp_path, languages=("xx",))
    (tmp_path / "storybooks/images/b.jpg").unlink()
    with pytest.raises(DataError, match=r"row 1, page 2: 'images/b.jpg' does not exist"):
        storybooks(tmp_path)


# --- the real sets -----------------------------------------------------------------------------


@pytest.fixture
def data() -> Path:
    return catalogue.root(os.environ["SENSORIUM_DATA"])


@pytest.mark.data
def test_the_real_lists_hold_what_the_catalogue_says(data: Path):
    counts = {
        "flowers": (flowers, 420, 150),
        "grocery": (grocery, 648, 324),
        "captions": (openstax.captions, 1472, 347),
        "multilingual": (openstax.multilingual, 437, 102),
        "coco_open": (coco_open, 102, 18),
        "storybooks": (storybooks, 1078, 457),
    }
    for name, (reader, train, test) in counts.items():
        parts = [reader(data, part) for part in ("train", "test")]
        assert (name, *map(len, parts)) == (name, train, test)
        assert not set(parts[0].files) & set(parts[1].files)
        for part in parts:
            assert len(set(part.ids)) == len(part)
            assert Image.open(io.BytesIO(part[-1].image)).format == "JPEG"
        assert fingerprint(parts[0]) == fingerprint(reader(data)) != fingerprint(parts[1])


@pytest.mark.data
def test_the_real_labels(data: Path):
    assert set(Counter(flowers(data).targets).values()) == {84}
    for level, classes in (("fine", 81), ("coarse", 43), ("group", 3)):
        for part in ("train", "test"):
            found = grocery(data, part, level)
            assert len(found.labels) == len(set(found.labels)) == len(set(found.targets)) == classes


@pytest.mark.data
def test_the_real_texts(data: Path):
    assert all(len(t) == 2 for t in openstax.captions(data).texts)
    assert all(len(t) == 5 for t in coco_open(data).texts)
    assert len(openstax.captions(data, kind="photo")) == 1111
    assert len(openstax.multilingual(data, languages=("pl",))) == 348
    assert len(openstax.multilingual(data, languages=("pl",), texts=("alt",))) == 348 - 36
    assert len(storybooks(data, languages=("sw",))) == 588
    assert sum(len(t) == 2 for t in storybooks(data, alt=True).texts) == 189
