"""Documents from MMC4's and OBELICS' files and the catalogue; what is wrong is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.data.interleaved import PICTURE
from sensorium.datasets.documents import mmc4, obelics, openstax, pairs, storybooks
from sensorium.datasets.files import Pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    return tmp_path


def lines(folder: Path, *rows: Any) -> Path:
    at = folder / "rows.jsonl"
    at.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return at


def picture(name: str, place: int, sim: float = 0.3) -> dict[str, Any]:
    return {"image_name": name, "matched_text_index": place, "matched_sim": sim}


def test_mmc4s_pictures_stand_before_their_sentences(folder: Path) -> None:
    row = {"text_list": ["x", "y", "z"], "similarity_matrix": [[0.1] * 3] * 3}
    info = [picture("b.png", 2), picture("a.png", 1), picture("a.png", 0, 0.2)]
    (one,) = mmc4(lines(folder, row | {"image_info": info}))
    assert one.parts == ("x", PICTURE, "y", PICTURE, "z")
    assert one.images == ((folder / "a.png").read_bytes(), (folder / "b.png").read_bytes())
    assert one.id == "rows.jsonl: row 1"
    (sure,) = mmc4(folder / "rows.jsonl", sure=0.1)
    assert sure.parts[0] == PICTURE and len(sure.images) == 3


def test_obelics_has_a_text_or_a_picture_at_each_place(folder: Path) -> None:
    row = {"images": [None, "a.png", None], "texts": ["x", None, "y"], "metadata": "[]"}
    (one,) = obelics(lines(folder, row, {"images": [None], "texts": ["no picture"]}))
    assert one.parts == ("x", PICTURE, "y") and len(one.images) == 1


def test_pictures_that_are_not_there_are_an_error_or_left_out(folder: Path) -> None:
    at = lines(folder, {"images": ["gone.png", None, "a.png"], "texts": [None, "x", None]})
    with pytest.raises(DataError, match=r"row 1: picture 'gone\.png' does not exist"):
        obelics(at)
    (one,) = obelics(at, missing="drop")
    assert one.parts == ("x", PICTURE) and len(one.images) == 1


BAD: list[tuple[Any, str]] = [
    ({"images": ["a.png"], "texts": [None, "x"]}, "1 'images' and 2 'texts'"),
    ({"images": ["a.png"], "texts": ["x"]}, "one of image and text"),
    ({"images": [None], "texts": [None]}, "one of image and text"),
    ({"images": [5, None], "texts": [None, "x"]}, "a picture is a name"),
    ({"images": [None, "a.png"], "texts": [7, None]}, "place 0 is no text"),
    ({"images": ["a.png"], "texts": [None]}, "has no words"),
    ({"images": ["http://x/a.png", None], "texts": [None, "x"]}, "nothing is fetched"),
    ({"images": ["../a.png", None], "texts": [None, "x"]}, "climbs out"),
    ({"texts": ["x"]}, "needs the lists"),
]


@pytest.mark.parametrize(("row", "says"), BAD)
def test_a_bad_row_of_obelics_is_named_with_its_reason(row: Any, says: str, folder: Path) -> None:
    with pytest.raises(DataError, match=f"1 of 1 documents .*row 1: .*{says}"):
        obelics(lines(folder, row))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text_list": "x"}, "needs the lists"),
        ({"text_list": [5]}, "text 0 is no text"),
        ({"image_info": [picture("a.png", 1)]}, "none of 1 texts"),
        ({"image_info": [{"matched_text_index": 0}]}, "needs an 'image_name'"),
        ({"image_info": [picture("a.png", 0) | {"matched_sim": "x"}]}, "is no number"),
        ({"image_info": [picture("/etc/passwd", 0)]}, "absolute path"),
    ],
)
def test_a_bad_row_of_mmc4_is_named_with_its_reason(change: Any, says: str, folder: Path) -> None:
    row = {"text_list": ["x"], "image_info": [picture("a.png", 0)]} | change
    with pytest.raises(DataError, match=f"1 of 1 documents .*row 1: .*{says}"):
        mmc4(lines(folder, row))


def test_a_file_without_any_picture_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="none of its 1 documents shows a picture"):
        mmc4(lines(folder, {"text_list": ["x"], "image_info": [picture("a.png", 0, 0.1)]}))


def test_captions_are_documents_of_one_picture(folder: Path) -> None:
    found = pairs(Pictures(folder, ["a.png", "b.png"], [("x", "y"), ("",)]))
    assert len(found) == 1 and found[0].parts == (PICTURE, "x")
    with pytest.raises(DataError, match="text number 2"):
        pairs(Pictures(folder, ["a.png"], [("x",)]), text=2)


@pytest.mark.data
def test_the_catalogues_documents() -> None:
    sections, books = openstax(), storybooks()
    assert (len(sections), len(openstax(part="test"))) == (166, 42)
    assert len(books) <= 94 and all(one.files for one in books.entries)
    for of in (sections, books):
        one = of[0]
        assert len(one.images) == one.parts.count(PICTURE) > 0
    with pytest.raises(DataError, match="no page of the train list"):
        storybooks(language="xx")
