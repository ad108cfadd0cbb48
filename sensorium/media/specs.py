"""Specs of image transforms: pure data, and the ones that published models use.

A spec is a JSON object and holds everything that decides the outcome; a checkpoint carries it.
`name` picks the algorithm and ends in its version, which changes whenever an output would.

    pillow-shorter-crop/1  Pillow resizes the shorter side to `resize` px, then a centre crop of
                           `size` px, with torchvision's two roundings
    pillow-square/1        Pillow resizes to `size` x `size` px whatever the shape
    canvas/1               Pillow fits the whole picture on a square canvas of `size` px, centred;
                           what is left over shows `background`
    pillow-padded/1        the whole picture centred on a square of its longer side that shows
                           `background`, then that to `size` px by Pillow: LLaVA 1.5
    turbo-shorter-crop/1   as their `pillow-` namesakes, within one grey level (bicubic: two for
    turbo-square/1         about one value in a million): JPEG by simplejpeg, resize by torch
    plain-square/1         bilinear without anti-aliasing, in float, to `size` x `size` px: what
                           `tf.image.resize` does by default. Not Pillow's, which smooths
                           what it reduces
    pillow-shorter/1       the shorter side to `resize` px, less where the longer one would be over
                           `size`; Pillow, with anti-aliasing. Pictures keep their shape: for
                           detectors
    pillow-shorter-floor/1 the shorter side to `resize` px, less where the longer one would be over
                           `size`; then both sides down to whole multiples of `multiple`, one at
                           least; Pillow. Pictures keep their shape, nearly: for ViLT
    plain-shorter/1        the same sizes as pillow-shorter, bilinear without anti-aliasing, in
                           float: what OpenCV's `resize` does, as detectors were published with

Fields common to all: `size`; `filter` ("bilinear" or "bicubic"); `mean` and `std` of the three
channels, of pixels in 0 to 1; `exif` (turn upright by the Exif orientation); `order` of the two
passes of a resize ("rows-first" or "taller-first", see `sensorium.media.resize`; plain-square has
none); and `rgb`, what becomes of other modes: "after-resize" (resized in their own mode, then
`convert("RGB")`, so that a palette picture is resized by nearest neighbour), "drop-alpha"
(`convert("RGB")` first) or a colour [r, g, b] that transparent pixels are laid over, first.
"""

import math
from collections.abc import Mapping
from typing import Any

from sensorium.media.budget import MediaError
from sensorium.media.resize import FILTERS, ORDERS

Spec = dict[str, Any]
"""A JSON object: strings, whole numbers, booleans and lists of numbers."""

NAMES = (
    "pillow-shorter-crop/1",
    "pillow-square/1",
    "canvas/1",
    "turbo-shorter-crop/1",
    "turbo-square/1",
    "plain-square/1",
    "pillow-shorter/1",
    "plain-shorter/1",
    "pillow-shorter-floor/1",
    "pillow-padded/1",
)

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


def openai_clip(size: int = 224) -> Spec:
    """The transform that OpenAI's CLIP models were published with (clip/clip.py, `_transform`).

    Equal bit for bit to Resize, CenterCrop, convert("RGB"), ToTensor, Normalize as torchvision 0.9
    and later computes them on Pillow 13; in that order: resizing comes before the conversion, and
    the Exif orientation is not looked at. With `order` set to "rows-first" it is equal to what
    Pillow up to 12 gave, on which the published scores were measured; only pictures more than
    twice as tall as wide differ.
    """
    spec = _spec("pillow-shorter-crop/1", size, "bicubic", "after-resize", CLIP_MEAN, CLIP_STD)
    return spec | {"resize": size, "exif": False}


def padded_clip(size: int = 336) -> Spec:
    """What LLaVA 1.5 reads: the whole picture on a square of the mean colour, then CLIP's resize.

    llava/mm_utils.py, `expand2square` and `process_images`; the ground is int(255 * CLIP's mean).
    """
    spec = _spec("pillow-padded/1", size, "bicubic", "drop-alpha", CLIP_MEAN, CLIP_STD)
    return spec | {"background": [int(255 * m) for m in CLIP_MEAN], "exif": False}


def timm_vit(size: int = 224, crop: float = 0.9) -> Spec:
    """timm's evaluation transform of its ViT models: bicubic, crop 0.9 (1.0 at 384 px)."""
    spec = _spec("pillow-shorter-crop/1", size, "bicubic", "drop-alpha", HALF, HALF)
    return spec | {"resize": math.floor(size / crop), "exif": False}


def square_vit(size: int = 224) -> Spec:
    """Straight to a square by Pillow's bilinear, as Hugging Face's processor of Google's ViTs."""
    spec = _spec("pillow-square/1", size, "bilinear", "drop-alpha", HALF, HALF)
    return spec | {"exif": False}


def google_vit(size: int = 224) -> Spec:
    """Google's own evaluation of ViT: `tf.image.resize` to a square, then (x - 127.5) / 127.5.

    Written from TensorFlow's definition (half-pixel centres, no anti-aliasing).
    """
    spec = _spec("plain-square/1", size, "bilinear", "drop-alpha", HALF, HALF)
    return spec | {"exif": False}


def canvas(
    size: int, *, background: tuple[int, int, int] = (255, 255, 255), mean=CLIP_MEAN, std=CLIP_STD
) -> Spec:
    """The whole picture on a square canvas, for emoji and drawings and small models."""
    spec = _spec("canvas/1", size, "bicubic", list(background), mean, std)
    return spec | {"background": list(background), "exif": True}


def shorter(resize: int, size: int, *, mean=CLIP_MEAN, std=CLIP_STD) -> Spec:
    """A picture in its own shape, the shorter side `resize` px, the longer at most `size`."""
    spec = _spec("pillow-shorter/1", size, "bilinear", "drop-alpha", mean, std)
    return spec | {"resize": resize, "exif": False}


def vilt(resize: int = 384, multiple: int = 32) -> Spec:
    """ViLT's transform (MinMaxResize in vilt/transforms/utils.py), bit for bit on Pillow 13.

    At 384 the longer side is at most int(1333 / 800 * 384) = 639, and 608 once it is a multiple of
    32. Of pictures so long that nothing were left of the shorter side, where the original stops
    with an error, one row of patches is kept.
    """
    longer = int((1333 / 800) * resize)
    spec = _spec("pillow-shorter-floor/1", longer, "bicubic", "drop-alpha", HALF, HALF)
    return spec | {"resize": resize, "multiple": multiple, "exif": False}


def albef(size: int = 256) -> Spec:
    """ALBEF's transform at evaluation: Pillow's bicubic to a square, CLIP's mean and std.

    256 px in pre-training, 384 in fine-tuning (dataset/__init__.py).
    """
    spec = _spec("pillow-square/1", size, "bicubic", "drop-alpha", CLIP_MEAN, CLIP_STD)
    return spec | {"exif": False}


def bottom_up(resize: int = 600, size: int = 1000) -> Spec:
    """What bottom-up attention's detectors read: no anti-aliasing, 0 to 255 less a mean, RGB here.

    The originals read the channels in the order blue, green, red; importing turns their weights.
    """
    mean = [m / 255 for m in (122.7717, 115.9465, 102.9801)]
    spec = _spec("plain-shorter/1", size, "bilinear", "drop-alpha", mean, [1 / 255] * 3)
    return spec | {"resize": resize, "exif": False}


def turbo(spec: Spec) -> Spec:
    """The fast version of a `pillow-` spec: another name, within one grey level.

    Bilinear always; bicubic but for about one value in a million, which is two away.

    The fast version always converts to RGB before it resizes, so "after-resize" becomes
    "drop-alpha": the same for pictures without alpha or palette.

    Raises:
        MediaError: the spec has no fast version.
    """
    name = str(spec["name"])
    fast = name.replace("pillow-", "turbo-")
    if fast == name or fast not in NAMES:
        ready = ", ".join(one for one in NAMES if one.startswith("turbo-"))
        raise MediaError(f"transform {name} has no fast version; there are: {ready}")
    rgb = "drop-alpha" if spec["rgb"] == "after-resize" else spec["rgb"]
    return spec | {"name": fast, "rgb": rgb}


def _spec(name: str, size: int, filter: str, rgb: str | list[int], mean, std) -> Spec:
    fields = {"name": name, "size": size, "filter": filter, "rgb": rgb}
    order = {} if name.startswith("plain-") else {"order": "taller-first"}
    return fields | order | {"mean": list(mean), "std": list(std)}


def check(spec: Mapping[str, Any]) -> None:
    """Raise MediaError unless every field of a spec is known, present and possible."""
    name = spec.get("name")
    if name not in NAMES:
        raise MediaError(f"unknown transform {name!r}; known: {', '.join(NAMES)}")
    wanted = {"name", "size", "filter", "rgb", "exif", "mean", "std"}
    plain = str(name).startswith("plain-")
    wanted |= {"order"} if not plain else set()
    wanted |= {"resize"} if "shorter" in str(name) else set()
    wanted |= {"background"} if name in ("canvas/1", "pillow-padded/1") else set()
    wanted |= {"multiple"} if "-floor/" in str(name) else set()
    if wanted != spec.keys():
        odd = sorted(wanted ^ spec.keys())
        raise MediaError(f"transform {name}: fields missing or unknown: {', '.join(odd)}")
    filters = ("bilinear",) if plain else tuple(FILTERS)
    early = name != "pillow-shorter-crop/1" and name != "pillow-square/1"
    least = spec["size"] if "-crop/" in str(name) else 1
    good = {
        "size": _whole(spec["size"], 1, 4096),
        "resize": _whole(spec.get("resize", spec["size"]), least, 8192),
        "multiple": _whole(spec.get("multiple", 1), 1, 4096),
        "filter": spec["filter"] in filters,
        "order": spec.get("order", ORDERS[0]) in ORDERS,
        "exif": isinstance(spec["exif"], bool),
        "rgb": spec["rgb"] == "drop-alpha"
        or (spec["rgb"] == "after-resize" and not early)
        or _colour(spec["rgb"]),
        "background": _colour(spec.get("background", [0, 0, 0])),
        "mean": _three(spec["mean"]),
        "std": _three(spec["std"]) and min(spec["std"]) > 0,
    }
    for field, fine in good.items():
        if not fine:
            raise MediaError(f"transform {name}: {field} = {spec.get(field)!r} is not possible")


def _whole(value: Any, low: Any, high: int) -> bool:
    return type(value) is int and type(low) is int and low <= value <= high


def _three(value: Any) -> bool:
    numbers = isinstance(value, list | tuple) and all(type(v) in (int, float) for v in value)
    return numbers and len(value) == 3 and all(map(math.isfinite, value))


def _colour(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(_whole(v, 0, 255) for v in value)
    )
