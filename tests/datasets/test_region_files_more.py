"""OSCAR's, VinVL's and VL-BERT's region files: read as written, and refused when damaged."""

import base64
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.data.errors import DataError
from sensorium.datasets.region_files import Needs, open_regions
from sensorium.datasets.region_files.oscar import OscarRegions
from sensorium.datasets.region_files.vl_bert import JsonRegions

G = np.random.default_rng(0)
COUNTS = {"a": 5, "val/b": 300, "c": 0}


def coded(x: np.ndarray) -> str:
    return base64.b64encode(x.astype("<f4").tobytes()).decode()


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as shares, and features."""
    near = G.random((n, 2)) / 2
    return np.concatenate([near, near + 0.1 + G.random((n, 2)) / 4], axis=1), G.random((n, 8))


PICTURES = {name: drawn(n) for name, n in COUNTS.items()}


def oscar(folder: Path, form: str, change: Callable[[str], str] = str) -> Path:
    """The file and its table; `change` damages each line."""
    path, starts, at = folder / "features.tsv", [], 0
    with path.open("w") as file:
        for name, (boxes, features) in PICTURES.items():
            both = coded(np.concatenate([features, boxes, boxes[:, 2:] - boxes[:, :2]], axis=1))
            said = f"{len(boxes)}\t{both}"
            if form == "json":
                said = json.dumps({"num_boxes": len(boxes), "features": both})
            starts.append(at)
            line = change(f"{name}\t{said}\n")
            at += file.write(line)
    (folder / "features.lineidx").write_text("".join(f"{n}\n" for n in starts))
    return path


def vl_bert(folder: Path, packed: bool, **change: Any) -> Path:
    out = folder / ("frcnn.zip" if packed else "frcnn")
    files = {}
    for name, (boxes, features) in PICTURES.items():
        probs = np.full((len(boxes), 21), 1 / 21)
        pixels = boxes * np.array([400, 100, 400, 100])
        said = {"image_w": 400, "image_h": 100, "num_boxes": len(boxes), "boxes": coded(pixels)}
        said |= {"features": coded(features), "classes": coded(probs)}
        files[f"{name}.json"] = json.dumps(said | change)
    if packed:
        with zipfile.ZipFile(out, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return out
    for name, text in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)
    return out


@pytest.mark.parametrize("form", ["json", "columns"])
def test_oscar(form: str, tmp_path: Path) -> None:
    data = open_regions(oscar(tmp_path, form), kind="oscar", detector="vinvl")
    assert data.ids == list(COUNTS) and len(data) == 3  # type: ignore[attr-defined]
    for one, (name, (boxes, features)) in zip(data, PICTURES.items(), strict=True):
        assert (one.id, one.size, len(one.boxes)) == (name, (1.0, 1.0), COUNTS[name])
        if len(boxes):
            np.testing.assert_allclose(one.boxes, boxes, atol=1e-6)
            np.testing.assert_allclose(one.features, features, atol=1e-6)
    with pytest.raises(DataError, match="features of width 8, the model reads 2048"):
        OscarRegions(tmp_path / "features.tsv", "x", Needs(width=2048))[0]


@pytest.mark.parametrize("packed", [False, True])
def test_vl_bert(packed: bool, tmp_path: Path) -> None:
    data = open_regions(vl_bert(tmp_path, packed), kind="vl-bert", detector="butd")
    assert data.ids == ["a", "c", "val/b"]  # type: ignore[attr-defined]
    for one in data:
        boxes, features = PICTURES[one.id]
        assert one.size == (400.0, 100.0) and len(one.boxes) == len(boxes)
        if len(boxes):
            np.testing.assert_allclose(one.boxes, boxes * [400, 100, 400, 100], rtol=1e-5)
            np.testing.assert_allclose(one.features, features, atol=1e-6)
            assert one.probs is not None and one.probs.shape == (len(boxes), 21)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda line: line.replace("\t", "\tx\t", 1), "columns; key and JSON"),
        (
            lambda line: line.replace('"num_boxes": 5', '"num_boxes": 6'),
            "are not 6 rows of float32",
        ),
        (lambda line: line.replace('"num_boxes": 5', '"num_boxes": -1'), "num_boxes must be"),
        (lambda line: line[:-12] + "\n", "is no JSON"),
        (lambda line: line.replace('"features": "', '"features": "?'), "features is no base64"),
        (lambda line: line.replace('"features"', '"f"'), "features must be base64 in a text"),
    ],
)
def test_damaged_lines_of_oscar(change: Callable, why: str, tmp_path: Path) -> None:
    path = oscar(tmp_path, "json", lambda line: change(line) if line[0] == "a" else line)
    with pytest.raises(DataError, match=why):
        OscarRegions(path, "vinvl")[0]


def test_odd_numbers_of_oscar(tmp_path: Path) -> None:
    for place, value, why in (
        (-1, 0.9, "are not x1, y1, x2, y2, width and height"),
        (0, np.nan, r"features hold NaN or infinity \(region 0\)"),
    ):
        boxes, features = PICTURES["a"]
        both = np.concatenate([features, boxes, boxes[:, 2:] - boxes[:, :2]], axis=1)
        both[0, place] = value
        (tmp_path / "f.tsv").write_text(f"a\t5\t{coded(both)}\n")
        (tmp_path / "f.lineidx").write_text("0\n")
        with pytest.raises(DataError, match=why):
            OscarRegions(tmp_path / "f.tsv", "vinvl")[0]


def test_the_table_of_lines_must_be_that_of_the_file(tmp_path: Path) -> None:
    path = oscar(tmp_path, "json")
    for text, why in (
        ("", "must hold one whole number a line"),
        ("0\nx\n", "must hold one whole number a line"),
        ("0\n7\n3\n", "is not the table of features.tsv"),
        ("0\n999999999\n", "is not the table of features.tsv"),
        ("0\n5\n", "offset 5: no line with a key begins there"),
    ):
        (tmp_path / "features.lineidx").write_text(text)
        with pytest.raises(DataError, match=why):
            open_regions(path, kind="oscar", detector="vinvl")
    (tmp_path / "features.lineidx").unlink()
    with pytest.raises(DataError, match=r"features.lineidx, is missing"):
        open_regions(path, kind="oscar", detector="vinvl")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"num_boxes": 4}, "are not 4 rows|boxes has"),
        ({"image_w": 0}, "the picture is said to be 0"),
        ({"image_w": "400"}, "image_w must be a whole number"),
        ({"boxes": coded(np.ones((5, 4)))}, "boxes have no area"),
        ({"classes": coded(np.ones((5, 21)))}, "class probabilities do not add up to 1"),
    ],
)
def test_damaged_files_of_vl_bert(change: dict, why: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=why):
        JsonRegions(vl_bert(tmp_path, True, **change), "butd")[0]


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="is no sound zip archive"):
        open_regions(tmp_path / "x.zip", kind="vl-bert", detector="butd")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no .json files"):
        open_regions(tmp_path / "empty", kind="vl-bert", detector="butd")
