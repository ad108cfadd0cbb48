"""Stamps and clip art: tiny copies of both collections, and (where installed) the real ones."""

import io
import pickle
import shutil
from pathlib import Path

import pytest
from PIL import Image

from sensorium.data.errors import DataError
from sensorium.datasets.openclipart import DRAWINGS, openclipart, words
from sensorium.datasets.svg import held_out, rendered, renderer
from sensorium.datasets.tuxpaint import STAMPS, tuxpaint

CAN_RENDER = shutil.which("rsvg-convert") is not None
needs_renderer = pytest.mark.skipif(not CAN_RENDER, reason="needs rsvg-convert")


def svg(title: str, keywords: str = "", colour: str = "red", about: str = "") -> bytes:
    items = "".join(f"<rdf:li>{k}</rdf:li>" for k in keywords.split())
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10" xmlns:cc="c" xmlns:dc="d" '
        'xmlns:rdf="r"><metadata><cc:Work><dc:creator><cc:Agent><dc:title>Someone</dc:title>'
        f"</cc:Agent></dc:creator><dc:title>{title}</dc:title>"
        f"<dc:description>{about}</dc:description><dc:subject><rdf:Bag>{items}</rdf:Bag>"
        f'</dc:subject></cc:Work></metadata><rect width="10" height="10" fill="{colour}"/></svg>'
    ).encode()


def stamps(root: Path) -> None:
    (root / "food").mkdir(parents=True)
    file = io.BytesIO()
    Image.new("RGBA", (4, 4)).save(file, "PNG")
    for i in range(40):
        (root / f"food/{i}.png").write_bytes(file.getvalue())
        (root / f"food/{i}.txt").write_text(f"Food {i}.\nes.utf8=Comida {i}.\nde.utf8=\n")
    (root / "food/0_mirror.png").write_bytes(file.getvalue())
    (root / "food/only.svg").write_bytes(svg(""))
    (root / "food/only.txt").write_text("Only a drawing.\n")
    (root / "food/lost.txt").write_text("No picture.\n")


def test_stamps_in_languages_and_parts(tmp_path: Path):
    stamps(tmp_path)
    train, test = (tuxpaint(tmp_path, ("es", "en"), part) for part in ("train", "test"))
    assert len(train) + len(test) == 40 and len(test) > 0
    assert not set(train.ids) & set(test.ids)
    sample = pickle.loads(pickle.dumps(train))[0]
    number = sample.id.removeprefix("food/").removesuffix(".png")
    assert sample.texts == (f"Comida {number}.", f"Food {number}.")
    assert Image.open(io.BytesIO(sample.image)).format == "PNG"
    with pytest.raises(DataError, match=r"the stamps in .* have 'en', 'es'"):
        tuxpaint(tmp_path, ("de",))
    (tmp_path / "food/1.txt").write_text("A.\nnot a translation\n")
    with pytest.raises(DataError, match=r"1\.txt: line 2: expected LANGUAGE"):
        tuxpaint(tmp_path)
    with pytest.raises(DataError, match="apt-get install tuxpaint-stamps-default"):
        tuxpaint(tmp_path / "none")


@needs_renderer
def test_stamps_that_are_drawings(tmp_path: Path):
    stamps(tmp_path / "in")
    every = [
        s
        for part in ("train", "test")
        for s in tuxpaint(tmp_path / "in", ("en",), part, svg=True, cache=tmp_path / "cache")
    ]
    assert len(every) == 41
    (drawing,) = (s for s in every if s.id == "food/only.svg")
    assert Image.open(io.BytesIO(drawing.image)).size == (256, 128)


@needs_renderer
def test_clip_art(tmp_path: Path):
    root, cache = tmp_path / "in", tmp_path / "cache"
    (root / "a").mkdir(parents=True)
    for i in range(40):
        (root / f"a/{i}.svg").write_bytes(svg(f"Thing {i}", "unsorted thing", about="A &amp; B"))
    (root / "a/copy.svg").write_bytes((root / "a/0.svg").read_bytes())
    (root / "a/silent.svg").write_bytes(svg(""))
    train, test = (openclipart(root, part, side=64, cache=cache) for part in ("train", "test"))
    assert len(train) + len(test) == 40 and len(test) > 0
    sample = train[0]
    assert sample.texts[1:] == ("A & B", "thing")
    picture = Image.open(io.BytesIO(sample.image)).convert("RGB")
    assert picture.size == (64, 32)
    assert (picture.getpixel((5, 5)), picture.getpixel((60, 5))) == ((255, 0, 0), (255,) * 3)
    kept = {p: p.stat().st_mtime_ns for p in cache.rglob("*.png")}
    assert train[0] == sample and kept
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*.png")} == kept
    assert set(openclipart(root, texts=("title",), cache=cache).texts) == {
        (t[0],) for t in train.texts
    }


@needs_renderer
def test_a_drawing_that_cannot_be_rendered_or_reads_other_files(tmp_path: Path):
    broken = svg("Broken").replace(b"</svg>", b"<")
    with pytest.raises(DataError, match=r"x\.svg: cannot be rendered"):
        rendered("x.svg", broken, 64, renderer(), tmp_path)
    assert list(tmp_path.rglob("*.png")) == []
    secret = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), "blue").save(secret)
    link = f'<image href="file://{secret}" width="20" height="10"/></svg>'.encode()
    spy = rendered("y.svg", svg("Spy").replace(b"</svg>", link), 64, renderer(), tmp_path)
    assert Image.open(io.BytesIO(spy)).convert("RGB").getpixel((10, 10)) == (255, 0, 0)


def test_without_a_renderer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if renderer_package():
        pytest.skip("cairosvg is installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"needs cairosvg .* or the program rsvg-convert"):
        renderer()


def renderer_package() -> bool:
    return CAN_RENDER and not renderer().program


def test_words_of_odd_metadata():
    assert words(b"") == {}
    assert words(svg("  A \n b &lt;c&gt; ", "x x unsorted")) == {
        "title": "A b <c>",
        "keywords": "x",
    }


def test_the_split_is_fixed():
    assert [i for i in range(40) if held_out(f"food/{i}")] == [2, 11, 16, 22, 39]


@pytest.mark.data
@pytest.mark.skipif(not Path(STAMPS).is_dir(), reason="tuxpaint-stamps-default is not installed")
def test_the_real_stamps():
    train, test = tuxpaint(), tuxpaint(part="test")
    assert len(train) + len(test) == 785
    assert len(set(train.ids) | set(test.ids)) == 785
    assert len(tuxpaint(languages=("es", "ja"))) == len(train)


@pytest.mark.data
@needs_renderer
@pytest.mark.skipif(not Path(DRAWINGS).is_dir(), reason="openclipart-svg is not installed")
def test_the_real_drawings(tmp_path: Path):
    train, test = (openclipart(part=part, cache=tmp_path) for part in ("train", "test"))
    assert len(train) + len(test) == 7453
    assert Image.open(io.BytesIO(test[0].image)).format == "PNG"
