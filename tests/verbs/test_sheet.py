"""The contact sheet: every result on it, whatever the query, the names and the files are like."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from sensorium.verbs.index import Hit
from sensorium.verbs.sheet import CARD, MARGIN, PAGE, drawn, font, plain, sheet, shortened

QUERIES = [
    *("two red hearts", "два сердца", "قلبان أحمران", "赤い二つのハート", "दो लाल दिल", "สองหัวใจ"),
    *("❤️💕", "", "a\0b\n\tc\x1b[31m", "\ud800", "x" * 10_000, "word " * 10_000, "A\u0301" * 500),
]


def hits(folder: Path, count: int, side: int = 100) -> list[Hit]:
    """Results in plain colours."""
    out = []
    for i in range(count):
        path = folder / f"{i}.png"
        Image.new("RGB", (side, side), (10 * i, 0, 255)).save(path)
        out.append(Hit(i + 1, path, path.name, 0.5 - i / 100, missing=False))
    return out


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_any_query(query: str, tmp_path: Path):
    page = drawn(query, hits(tmp_path, 5))
    assert page.size == drawn("two red hearts", hits(tmp_path, 5)).size or len(query) > 1000


def test_the_pictures_are_there_in_order(tmp_path: Path):
    page = np.asarray(drawn("blue", hits(tmp_path, 9)))
    seen = [tuple(c) for c in np.unique(page.reshape(-1, 3), axis=0)]
    assert all((10 * i, 0, 255) in seen for i in range(9))
    places = [np.argwhere((page == (10 * i, 0, 255)).all(axis=2)).mean(axis=0) for i in range(9)]
    assert [tuple(p) for p in places] == sorted(map(tuple, places))  # row by row, left to right


def test_a_picture_as_the_query_is_shown(tmp_path: Path):
    example = Image.new("RGB", (40, 30), (0, 200, 0))
    page = drawn(example, hits(tmp_path, 3))
    assert page.getpixel((MARGIN + 20, MARGIN + 20)) == (0, 200, 0)
    drawn(np.zeros((8, 8, 3), np.uint8), [])
    drawn(tmp_path / "0.png", hits(tmp_path, 1))


def test_missing_and_broken_pictures_get_a_card(tmp_path: Path):
    found = hits(tmp_path, 3)
    found[1].path.write_bytes(b"\x89PNG\r\n\x1a\nxx")
    found[2].path.unlink()
    page = np.asarray(drawn("x", [found[0], found[1], found[2]._replace(missing=True)]))
    assert not (page == (10, 0, 255)).all(axis=2).any()
    drawn("x", [found[2]])  # gone between the search and the drawing


def test_shapes_of_pictures(tmp_path: Path):
    found = []
    for i, size in enumerate([(1, 1), (3000, 10), (10, 3000), (600, 400)]):
        Image.new("RGBA", size, (255, 0, 0, 128)).save(tmp_path / f"{i}.png")
        found.append(Hit(i, tmp_path / f"{i}.png", f"{i}.png", 1.0, missing=False))
    drawn("x", found)


def test_long_names_stay_in_their_card(tmp_path: Path):
    (found,) = hits(tmp_path, 1)
    long = tmp_path / ("n" * 200 + ".png")
    os.rename(found.path, long)
    page = np.asarray(drawn("x", [found._replace(path=long)]))
    right = page[:, -MARGIN:]
    assert (right == PAGE).all()
    letters = font("x", 16)
    short = shortened("n" * 200 + ".png", letters, 150)
    assert short.endswith(".png") and "…" in short and letters.getlength(short) <= 150


def test_it_is_written_as_a_png(tmp_path: Path):
    sheet(tmp_path / "sheet.png", "x", hits(tmp_path, 2), note="of 2 pictures")
    with Image.open(BytesIO((tmp_path / "sheet.png").read_bytes())) as image:
        assert image.format == "PNG" and image.getpixel((0, 0)) == PAGE
        assert CARD in [c for _, c in image.getcolors(1 << 24) or []]
    with pytest.raises(OSError, match="could not be saved"):
        sheet(tmp_path / "nowhere" / "sheet.png", "x", [])


def test_letters():
    assert plain("a\0b\n\tc\ud800 d") == "a b c d"
    assert isinstance(font("x", 12), ImageFont.FreeTypeFont)
    assert "DejaVuSans" in str(font("дwa", 12).path)
