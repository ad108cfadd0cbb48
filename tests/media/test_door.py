"""The door: what it takes, what it refuses, and what it says when it does."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from sensorium.media import (
    Budget,
    MediaError,
    open_image,
    open_original,
    read_header,
    read_image_bytes,
)

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8))
SMALL = Budget(bytes=100_000, pixels=10_000, side=1000, scans=20)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(pixels))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + data + png_chunk(b"IEND", b"")


FILES = {
    "JPEG": encoded(PICTURE, "JPEG"),
    "progressive": encoded(PICTURE, "JPEG", progressive=True),
    "PNG": encoded(PICTURE, "PNG"),
    "WEBP": encoded(PICTURE, "WEBP", lossless=True),
    "lossy": encoded(PICTURE, "WEBP"),
    "GIF": encoded(PICTURE, "GIF"),
    "BMP": encoded(PICTURE, "BMP"),
    "moving WEBP": encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(90)]),
    "moving GIF": encoded(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(90)]),
    "palette": encoded(PICTURE.quantize(16), "PNG", transparency=3),
}


@pytest.mark.parametrize("kind", FILES)
def test_each_format_opens_from_bytes_and_from_a_path(kind, tmp_path):
    path = tmp_path / "picture.jpg"  # a wrong ending does no harm: the content decides
    path.write_bytes(FILES[kind])
    for source in (FILES[kind], path, str(path)):
        image = open_image(source)
        assert (image.mode, image.size) == ("RGB", (20, 12))
    header = read_header(FILES[kind])
    assert (header.width, header.height) == (20, 12)


def test_lossless_formats_keep_every_pixel():
    for kind in ("PNG", "WEBP", "BMP"):
        assert np.array_equal(open_image(FILES[kind]), PICTURE)


def test_of_an_animation_the_first_frame_is_taken():
    assert np.array_equal(
        open_image(FILES["moving GIF"]), Image.open(io.BytesIO(FILES["moving GIF"])).convert("RGB")
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "HSV"])
def test_every_mode_becomes_rgb(mode):
    image = open_image(PICTURE.convert("RGBA").convert("P").convert("PA") if mode == "PA"
                       else PICTURE.convert(mode))  # fmt: skip
    assert image.mode == "RGB"


def test_cmyk_jpeg():
    data = encoded(PICTURE.convert("CMYK"), "JPEG")
    assert np.array_equal(open_image(data), Image.open(io.BytesIO(data)).convert("RGB"))


def test_transparency_is_laid_over_white_or_any_colour_or_dropped():
    image = Image.new("RGBA", (1, 1), (10, 20, 30, 0))
    assert open_image(image).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(image, background=(1, 2, 3)).getpixel((0, 0)) == (1, 2, 3)
    assert open_image(image, background=None).getpixel((0, 0)) == (10, 20, 30)
    half = Image.new("LA", (1, 1), (0, 128))
    assert open_image(half).getpixel((0, 0)) == (127, 127, 127)
    keyed = io.BytesIO(encoded(Image.new("RGB", (1, 1), (9, 9, 9)), "PNG", transparency=(9, 9, 9)))
    assert open_image(keyed.getvalue()).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_upper_byte():
    grey = np.array([[0, 255, 256, 65535]], np.uint16)
    data = encoded(Image.fromarray(grey), "PNG")
    assert np.array(open_image(data))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_range_are_refused(mode):
    with pytest.raises(MediaError, match=f"mode {mode} has no known range"):
        open_image(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_equals_pillows(turn, format):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(PICTURE, format, exif=exif)
    plain = Image.open(io.BytesIO(data))
    assert np.array_equal(open_image(data), ImageOps.exif_transpose(plain))
    assert np.array_equal(open_image(data, exif=False), plain)
    # an opened file that is handed in is turned once, and only once
    assert np.array_equal(open_image(plain), ImageOps.exif_transpose(plain))
    assert np.array_equal(open_image(open_image(plain)), ImageOps.exif_transpose(plain))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow looks at the block too
def test_damaged_exif_is_no_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    good = exif.tobytes()
    for bad in (
        good[:11],
        good.replace(b"\x12\x01", b"\x13\x01").replace(b"\x01\x12", b"\x01\x13"),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
    ):
        assert open_image(encoded(PICTURE, "JPEG", exif=bad)).size == PICTURE.size


def test_arrays():
    array = np.array(PICTURE)
    assert np.array_equal(open_image(array), array)
    assert open_image(array[:, :, 0]).size == (20, 12)
    assert open_image(array[:, :, :1]).size == (20, 12)
    assert np.array_equal(open_image(array[::-1, ::2]), array[::-1, ::2])
    for bad in (array / 255, array.transpose(2, 0, 1), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(MediaError, match="<array>"):
            open_image(bad)


def test_the_callers_picture_is_left_alone():
    mine = PICTURE.copy()
    mine.info["note"] = "kept"
    theirs = open_image(mine)
    theirs.putpixel((0, 0), (1, 1, 1))
    assert np.array_equal(mine, PICTURE)
    assert mine.info == {"note": "kept"}
    assert theirs.info == {}


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"<?xml version='1.0'?><svg/>", "an SVG drawing"),
        (b'{"error": "no such picture"}', "looks like JSON"),
        (b"%PDF-1.7", "a PDF document"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (encoded(PICTURE, "TIFF"), "a TIFF picture"),
        (b"\0" * 100, "no known picture format"),
        (FILES["JPEG"][:20], "header is damaged or cut short"),
        (FILES["JPEG"][:-300], "JPEG data are damaged or cut short"),
        (FILES["PNG"][:-100], "PNG data are damaged or cut short"),
        (FILES["WEBP"][:-100], "WEBP data are damaged or cut short"),
        (FILES["GIF"][:-200], "GIF data are damaged or cut short"),
        (FILES["BMP"][:-100], "BMP data are damaged or cut short"),
    ],
)
def test_what_is_wrong_is_said_with_the_files_name(data, reason, tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=reason) as caught:
        open_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "0x" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(MediaError, match=reason) as caught:
        open_image(data, name="row 7 of pictures.tsv")
    assert str(caught.value).startswith("row 7 of pictures.tsv: ")


def test_places_that_hold_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for source, reason in [
        (tmp_path / "nothing.png", "no such file"),
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("a\0b.png", "cannot be read"),
        ("https://example.org/cat.png", "nothing is fetched"),
        ("file:///etc/passwd", "nothing is fetched"),
        ("data:image/png;base64,AAAA", "nothing is fetched"),
    ]:
        with pytest.raises(MediaError, match=reason):
            open_image(source)


def test_bytes_pass_through_undecoded(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(FILES["PNG"])
    assert read_image_bytes(path) == read_image_bytes(FILES["PNG"]) == FILES["PNG"]


def test_budgets_hold_before_anything_is_decoded(tmp_path):
    path = tmp_path / "big.png"
    path.write_bytes(FILES["PNG"])
    with pytest.raises(MediaError, match="over the budget of 10"):
        open_image(path, budget=Budget(bytes=10))
    with pytest.raises(MediaError, match="20 x 12 pixels, over the budget of 100"):
        open_image(path, budget=Budget(pixels=100))
    with pytest.raises(MediaError, match="a side is limited to 15"):
        open_image(path, budget=Budget(side=15))
    with pytest.raises(MediaError, match="over the budget"):
        open_image(PICTURE, budget=Budget(pixels=100))
    with pytest.raises(MediaError, match="over the budget"):
        open_image(np.array(PICTURE), budget=Budget(pixels=100))
    with pytest.raises(MediaError, match="more than 2 scans"):
        open_image(FILES["progressive"], budget=Budget(scans=2))


def test_bombs():
    """A few bytes that claim gigapixels, in every format; none reaches a decoder."""
    for data in (
        png(50_000, 50_000),
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\0\0\0",
        b"BM" + struct.pack("<IHHIIiiHH", 0, 0, 0, 54, 40, 50_000, -50_000, 1, 24) + bytes(24),
        b"RIFF\x30\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\x00" * 2 + bytes(20),
        b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 65000, 65000) + bytes(12),
    ):
        with pytest.raises(MediaError, match=r"over the budget|limited to"):
            open_image(data)


def test_a_jpeg_of_nothing_but_markers():
    for filler in (b"\xff", b"\xff\x00", b"\xff\xe0\x00\x02"):
        with pytest.raises(MediaError, match="damaged"):
            open_image(b"\xff\xd8\xff\xe0\x00\x02" + filler * 2_000_000)


def test_a_gif_whose_frame_outgrows_its_canvas():
    data = b"GIF89a" + struct.pack("<HH", 4, 4) + b"\0\0\0"
    data += b"," + struct.pack("<HHHH", 0, 0, 60_000, 60_000) + b"\0\x02\x02\x4c\x01\0;"
    with pytest.raises(MediaError):
        open_image(data)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_inflates_to_a_hundred_megabytes(kind):
    between = {b"zTXt": b"\0", b"iTXt": b"\x01\0\0\0", b"iCCP": b"\0"}[kind]
    bomb = png_chunk(kind, b"key\0" + between + zlib.compress(bytes(100_000_000), 9))
    data = png(2, 2, bomb, pixels=bytes(14))
    try:
        assert open_image(data).size == (2, 2)  # the block may also be left unread
    except MediaError as error:
        assert "damaged" in str(error)


# --- fuzzing: a valid picture within the budget, or MediaError, and nothing else -----------------


def knock(data: bytes) -> None:
    try:
        image = open_original(data, budget=SMALL)
    except MediaError:
        return
    assert 0 < image.width * image.height <= SMALL.pixels
    try:
        assert open_image(data, budget=SMALL).mode == "RGB"
    except MediaError:
        return


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8 "]
    ),
    rest=st.binary(max_size=200),
)
def test_random_bytes(start, rest):
    knock(start + rest)


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_mutated_files(kind, data):
    file = bytearray(FILES[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(file) - 1))
        action = data.draw(st.sampled_from(["change", "cut", "insert", "header"]))
        if action == "change":
            file[at] = data.draw(st.integers(0, 255))
        elif action == "header":
            file[at % min(64, len(file))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
        elif action == "cut" and len(file) > 40:
            del file[at : at + data.draw(st.integers(1, 20))]
        else:
            file[at:at] = data.draw(st.binary(max_size=20))
    knock(bytes(file))
