"""Transforms: each is compared with the published one spelled out in plain Pillow."""

import io
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import CLIPImageProcessorPil, ViTImageProcessorPil

from sensorium.media import (
    Budget,
    MediaError,
    canvas,
    google_vit,
    open_image,
    openai_clip,
    square_vit,
    timm_vit,
    transform,
    turbo,
)
from sensorium.media.jpeg import decode_jpeg_rgb
from sensorium.media.resize import _columns, resize, resize_crop

SIZES = [(64, 48), (48, 64), (33, 200), (200, 33), (50, 50), (32, 32), (7, 5), (1, 9), (97, 61)]
BICUBIC = Image.Resampling.BICUBIC


def picture(width: int, height: int, seed: int = 0, cell: int = 3) -> Image.Image:
    """Hard edges of saturated colour: the worst case for rounding and clipping."""
    g = np.random.default_rng(seed)
    coarse = g.integers(0, 2, (height // cell + 1, width // cell + 1, 3), dtype=np.uint8) * 255
    fine = coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return Image.fromarray(np.where(g.random((height, width, 1)) < 0.9, fine, 100).astype(np.uint8))


def jpeg(image: Image.Image, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **({"quality": 90} | options))
    return out.getvalue()


def published_clip(image: Image.Image, n: int) -> torch.Tensor:
    """Resize(n, BICUBIC), CenterCrop(n), convert("RGB"), ToTensor, Normalize, one by one.

    The longer side is cut to a whole number, the corner of the crop rounded half to even.
    """
    width, height = image.size
    if width <= height:
        width, height = n, int(n * height / width)
    else:
        width, height = int(n * width / height), n
    image = image.resize((width, height), BICUBIC)
    left, top = round((width - n) / 2.0), round((height - n) / 2.0)
    image = image.crop((left, top, left + n, top + n)).convert("RGB")
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    tensor = tensor.to(torch.float32).div(255)
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(-1, 1, 1)
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(-1, 1, 1)
    return tensor.sub_(mean).div_(std)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK"])
def test_openai_clip_bit_for_bit(size, mode):
    image = picture(*size)
    if mode in ("RGBA", "LA"):
        image.putalpha(picture(*size, seed=1).convert("L"))
    image = image.convert(mode)
    assert torch.equal(transform(openai_clip(32))(image), published_clip(image, 32))


def test_openai_clip_ignores_the_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(picture(40, 20), exif=exif)
    want = published_clip(Image.open(io.BytesIO(data)), 16)
    assert torch.equal(transform(openai_clip(16))(data), want)


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (50, 50), (80, 40), (40, 80)])
def test_clip_agrees_with_transformers_where_the_crop_is_even(size):
    # An odd number of pixels to cut: transformers rounds the corner down, torchvision to even.
    theirs = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    image = picture(*size)
    want = theirs(image, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(transform(openai_clip(32))(image), want, rtol=0, atol=1e-5)


def test_square_vit_agrees_with_transformers():
    theirs = ViTImageProcessorPil(size={"height": 32, "width": 32})
    for size in SIZES:
        want = theirs(picture(*size), return_tensors="pt")["pixel_values"][0]
        ours = transform(square_vit(32))(picture(*size))
        torch.testing.assert_close(ours, want, rtol=0, atol=1e-5)


def test_timm_vit_crops_nine_tenths():
    image = picture(400, 300)
    shrunk = image.resize((int(248 * 400 / 300), 248), BICUBIC)
    want = np.asarray(shrunk.crop((53, 12, 277, 236)))  # (330 - 224) / 2, (248 - 224) / 2
    got = transform(timm_vit())
    assert np.array_equal(got.pixels(image), want)
    assert got(image).min() >= -1
    assert got(image).max() <= 1


def test_google_vit_does_not_smooth():
    """Every output pixel mixes just four of the input: half-pixel centres, no anti-aliasing."""
    image = picture(64, 64, cell=1)
    array = np.asarray(image).astype(float)
    want = array[:, 3::8] + array[:, 4::8]  # centres fall midway between columns 3 and 4 of each 8
    want = (want[3::8] + want[4::8]) / 4
    got = transform(google_vit(8))
    assert np.allclose(got.pixels(image), want, atol=1e-3)
    assert torch.allclose(
        got(image), torch.from_numpy((want - 127.5) / 127.5).permute(2, 0, 1).float(), atol=1e-5
    )


# --- the order of the passes ---------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 90)] * 4), st.sampled_from(["RGB", "RGBA", "LA", "L", "P", "CMYK"])
)
def test_both_orders_are_pillows(sizes, mode):
    """ "taller-first" is Pillow 13; "rows-first", Pillow up to 12, is one pass after the other."""
    w, h, a, b = sizes
    image = picture(w, h, seed=w).convert(mode)
    if tuple(map(int, Image.__version__.split(".")[:1])) >= (13,):
        want = image.resize((a, b), BICUBIC)
        assert np.array_equal(resize(image, (a, b), "bicubic", "taller-first"), want)
    if mode in ("RGB", "L", "CMYK"):
        want = image.resize((a, h), BICUBIC).resize((a, b), BICUBIC)
        assert np.array_equal(resize(image, (a, b), "bicubic", "rows-first"), want)


def test_the_order_matters_beside_hard_edges():
    image = picture(60, 300)
    one = np.array(resize(image, (50, 50), "bicubic", "rows-first")).astype(int)
    two = np.array(resize(image, (50, 50), "bicubic", "taller-first")).astype(int)
    assert abs(one - two).max() > 2


# --- the fast twins ------------------------------------------------------------------------------


def smooth(width: int, height: int, seed: int) -> Image.Image:
    """A photograph's spectrum, roughly: noise of many sizes on top of one another."""
    g = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (2, 4, 8, 16, 32, 64):
        noise = Image.fromarray(g.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((width, height), BICUBIC)).astype(float) - 128
    return Image.fromarray(np.clip(total / 2 + 128, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("spec", [openai_clip(64), timm_vit(64), square_vit(64)])
@pytest.mark.parametrize("size", [(320, 240), (240, 320), (150, 400), (640, 90), (70, 66), (9, 5)])
def test_turbo_is_within_one_grey_level_of_pillow(spec, size):
    slow, fast = transform(spec), transform(turbo(spec))
    for source in (jpeg(smooth(*size, seed=1)), smooth(*size, seed=2)):
        assert abs(slow.pixels(source).astype(int) - fast.pixels(source)).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["rows-first", "taller-first"]))
@example(48, 48, "rows-first")  # its rows are already right: read-only pixels go on as they are
def test_turbo_bilinear_is_within_one_whatever_the_picture(width, height, order):
    image = picture(width, height, seed=height)
    want = np.asarray(resize(image, (48, 40), "bilinear", order).crop((8, 4, 40, 36)))
    got = resize_crop(np.asarray(image), (48, 40), (8, 4, 40, 36), "bilinear", order)
    assert abs(want.astype(int) - got).max() <= 1


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("new", [40, 100, 37])
def test_the_pass_along_columns_equals_pillows(filter, new):
    image = picture(50, 100).convert("L")
    want = np.asarray(resize(image, (50, new), filter, "rows-first"))
    got = _columns(torch.from_numpy(np.array(image)), new, filter).numpy()
    assert (
        got != want
    ).mean() < 1e-3  # float32 against whole numbers: a tie may fall the other way
    assert abs(got.astype(int) - want).max() <= 1


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 30}]
)
def test_the_fast_decoder_gives_pillows_pixels(options):
    for image in (smooth(123, 77, seed=3), smooth(40, 40, seed=4).convert("L")):
        data = jpeg(image, **options)
        assert np.array_equal(decode_jpeg_rgb(data), open_image(data))


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_fast_decoder_turns_upright(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = jpeg(smooth(40, 24, seed=5), exif=exif)
    assert np.array_equal(decode_jpeg_rgb(data), open_image(data))


def test_turbo_leaves_what_is_no_plain_jpeg_to_pillow():
    fast, slow = transform(turbo(timm_vit(32))), transform(timm_vit(32))
    cmyk, image = jpeg(smooth(64, 64, 6).convert("CMYK")), smooth(64, 64, 6)
    out = io.BytesIO()
    image.save(out, "PNG")
    for source in (cmyk, out.getvalue(), image, np.array(image)):
        assert abs(slow.pixels(source).astype(int) - fast.pixels(source)).max() <= 1
    with pytest.raises(MediaError, match="damaged or cut short"):
        fast(jpeg(image)[:-500])
    with pytest.raises(MediaError, match="cat: "):
        fast(b"\xff\xd8\xff\xe0", name="cat")


# --- the canvas ----------------------------------------------------------------------------------


def test_canvas_shows_the_whole_picture_in_the_middle():
    red = Image.new("RGB", (40, 20), (255, 0, 0))
    pixels = transform(canvas(16, background=(0, 0, 255))).pixels(red)
    assert (pixels[4:12] == (255, 0, 0)).all()
    assert (pixels[:4] == (0, 0, 255)).all()
    assert (pixels[12:] == (0, 0, 255)).all()


def test_canvas_lays_transparency_over_its_background():
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    assert (transform(canvas(8)).pixels(clear) == 255).all()
    assert (transform(canvas(8, background=(1, 2, 3))).pixels(clear) == (1, 2, 3)).all()


# --- specs ---------------------------------------------------------------------------------------

SPECS = [
    openai_clip(32),
    timm_vit(32),
    square_vit(32),
    google_vit(32),
    canvas(32),
    turbo(openai_clip(32)),
    turbo(square_vit(32)),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_a_spec_survives_json_and_a_transform_survives_a_worker(spec):
    image = smooth(60, 50, seed=7)
    want = transform(spec)(image)
    assert want.shape == (3, 32, 32)
    assert want.dtype == torch.float32
    assert torch.equal(transform(json.loads(json.dumps(spec)))(image), want)
    assert torch.equal(pickle.loads(pickle.dumps(transform(spec)))(image), want)
    row = torch.empty(3, 32, 32, dtype=torch.bfloat16)
    transform(spec)(image, out=row)
    assert torch.equal(row, want.to(torch.bfloat16))


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"name": "pillow-shorter-crop/2"}, "known: pillow-shorter-crop/1"),
        ({"size": 0}, "size = 0"),
        ({"size": 2.5}, "size = 2.5"),
        ({"resize": 10}, "resize = 10"),
        ({"filter": "lanczos"}, "filter = 'lanczos'"),
        ({"order": "columns-first"}, "order = 'columns-first'"),
        ({"rgb": [300, 0, 0]}, r"rgb = \[300, 0, 0\]"),
        ({"exif": 1}, "exif = 1"),
        ({"mean": [0, 0]}, "mean"),
        ({"std": [1, 1, 0]}, "std"),
        ({"colour": "sRGB"}, "missing or unknown: colour"),
    ],
)
def test_a_bad_spec_is_refused(change, reason):
    with pytest.raises(MediaError, match=reason):
        transform(openai_clip(32) | change)


def test_only_pillow_specs_have_a_fast_twin():
    with pytest.raises(MediaError, match="has no fast version"):
        turbo(canvas(32))


# --- odd sizes -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SPECS), st.integers(1, 40), st.integers(1, 5000), st.booleans())
def test_any_shape_gives_a_finite_square_or_a_clear_refusal(spec, short, long, upright):
    shape = (long, short, 3) if upright else (short, long, 3)
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    try:
        result = transform(spec, budget=Budget(pixels=1_000_000))(array)
    except MediaError as error:
        assert "too narrow" in str(error)
        return
    assert result.shape == (3, 32, 32)
    assert result.isfinite().all()
