"""From a spec (see `sensorium.media.specs`) to the function it describes: a picture to a tensor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from sensorium.media.budget import BUDGET, Budget, MediaError
from sensorium.media.door import DAMAGE, Source, called, open_original, to_rgb
from sensorium.media.jpeg import decode_jpeg_rgb
from sensorium.media.resize import resize, resize_crop
from sensorium.media.specs import Spec, check

Pixels = UInt8[np.ndarray, "y x 3"] | Float[np.ndarray, "y x 3"]


def transform(spec: Mapping[str, Any], *, budget: Budget = BUDGET) -> "Transform":
    """The function that a spec describes.

    Raises:
        MediaError: an unknown name (the known ones are listed), or a field that is missing,
            unknown, or out of range.
    """
    return Transform(spec, budget)


class Transform:
    """A spec made callable: picture in, float32 (3 y x) out. Small; may be sent to a worker."""

    def __init__(self, spec: Mapping[str, Any], budget: Budget = BUDGET):
        self.spec: Spec = dict(spec)
        self.budget = budget
        check(self.spec)
        self._pixels = _PIXELS[self.spec["name"]]
        self._mean = torch.tensor(self.spec["mean"], dtype=torch.float32).view(3, 1, 1)
        self._std = torch.tensor(self.spec["std"], dtype=torch.float32).view(3, 1, 1)

    def __call__(
        self, source: Source, *, name: str | None = None, out: Tensor | None = None
    ) -> Float[Tensor, "3 y x"]:
        """Decode, resize and normalise one picture.

        Args:
            source: path, bytes, PIL image or uint8 array.
            name: what an error calls the picture; by default its path.
            out: a (3 y x) tensor to write into, e.g. one row of a batch, of any float dtype.

        Raises:
            MediaError: whatever is wrong with the picture.
        """
        return self.normalise(self.pixels(source, name=name), out=out)

    def pixels(self, source: Source, *, name: str | None = None) -> Pixels:
        """The picture as the net will see it before it is normalised: (y x 3), 0 to 255."""
        return self._pixels(self.spec, source, name, self.budget)

    def normalise(self, pixels: Pixels, *, out: Tensor | None = None) -> Float[Tensor, "3 y x"]:
        """(pixels / 255 - mean) / std, in ToTensor's and Normalize's order of operations."""
        plane = self._scaled(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
        return plane if out is None else out.copy_(plane)

    def batch(self, pixels: Sequence[Pixels]) -> Float[Tensor, "b 3 y x"]:
        """Pictures of one size, each as `normalise` gives it, in one pass; channels lie last."""
        return self._scaled(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))

    def _scaled(self, plane: Tensor) -> Tensor:
        return plane.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)


# --- the algorithms: (spec, picture) -> pixels ---------------------------------------------------


def shorter_size(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Width and height after torchvision's Resize(shorter): the longer side is rounded down."""
    if width <= height:
        return shorter, int(shorter * height / width)
    return int(shorter * width / height), shorter


def crop_corner(width: int, height: int, size: int) -> tuple[int, int]:
    """Left and top of torchvision's CenterCrop(size): halves are rounded to the even number.

    torchvision 0.8 rounded them up; OpenAI's and timm's models are evaluated with either.
    """
    return round((width - size) / 2), round((height - size) / 2)


def _pillow_shorter_crop(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    image, name = _open(spec, source, name, budget), called(source, name)
    width, height = shorter_size(*image.size, spec["resize"])
    _check_resized(image.size, (width, height), name, budget)
    left, top = crop_corner(width, height, spec["size"])
    image = _resize(spec, image, (width, height), name)
    return _rgb_array(image.crop((left, top, left + spec["size"], top + spec["size"])), name)


def _pillow_square(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    image, name = _open(spec, source, name, budget), called(source, name)
    return _rgb_array(_resize(spec, image, (spec["size"],) * 2, name), name)


def _canvas(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    image, size = _open(spec, source, name, budget), spec["size"]
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    image = resize(image, (width, height), spec["filter"], spec["order"])
    if width == height:
        return np.array(image)
    ground = Image.new("RGB", (size, size), tuple(spec["background"]))
    ground.paste(image, ((size - width) // 2, (size - height) // 2))
    return np.array(ground)


def _pillow_padded(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    image, name = _open(spec, source, name, budget), called(source, name)
    width, height = image.size
    side = max(width, height)
    _check_resized(image.size, (side, side), name, budget)
    ground = Image.new("RGB", (side, side), tuple(spec["background"]))
    ground.paste(image, ((side - width) // 2, (side - height) // 2))
    return _rgb_array(_resize(spec, ground, (spec["size"],) * 2, name), name)


def _turbo_shorter_crop(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    array, name = _fast_rgb(spec, source, name, budget), called(source, name)
    width, height = shorter_size(array.shape[1], array.shape[0], spec["resize"])
    _check_resized((array.shape[1], array.shape[0]), (width, height), name, budget)
    left, top = crop_corner(width, height, spec["size"])
    box = (left, top, left + spec["size"], top + spec["size"])
    return resize_crop(array, (width, height), box, spec["filter"], spec["order"])


def _turbo_square(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    array = _fast_rgb(spec, source, name, budget)
    size = spec["size"]
    return resize_crop(array, (size, size), (0, 0, size, size), spec["filter"], spec["order"])


def _plain_square(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    return _interpolated(np.array(_open(spec, source, name, budget)), (spec["size"],) * 2)


def _interpolated(array: np.ndarray, size: tuple[int, int]) -> Pixels:
    """Bilinear to (width, height) without anti-aliasing, in float."""
    plane = torch.from_numpy(array).permute(2, 0, 1)[None].float()
    plane = torch.nn.functional.interpolate(
        plane, (size[1], size[0]), mode="bilinear", align_corners=False, antialias=False
    )
    return plane[0].permute(1, 2, 0).numpy()


def shorter_and_longer(width: int, height: int, resize: int, size: int) -> tuple[int, int]:
    """Width and height with the shorter side `resize`, or less: the longer is at most `size`.

    Rounded as bottom-up attention's programs do, halves up; never under one pixel.
    """
    scale = resize / min(width, height)
    if int(scale * max(width, height) + 0.5) > size:
        scale = size / max(width, height)
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def _pillow_shorter(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    image = _open(spec, source, name, budget)
    size = shorter_and_longer(*image.size, spec["resize"], spec["size"])
    return _rgb_array(_resize(spec, image, size, called(source, name)), called(source, name))


def floored(width: int, height: int, spec: Spec) -> tuple[int, int]:
    """Width and height as ViLT's MinMaxResize has them, and one `multiple` at least."""
    shorter, longer, step = spec["resize"], spec["size"], spec["multiple"]
    scale = shorter / min(width, height)
    sides = (shorter, scale * height) if height >= width else (scale * width, shorter)
    if max(sides) > longer:
        scale = longer / max(sides)
        sides = sides[0] * scale, sides[1] * scale
    wide, high = (max(int(side + 0.5) // step, 1) * step for side in sides)
    return wide, high


def _pillow_floor(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    image = _open(spec, source, name, budget)
    size = floored(*image.size, spec)
    return _rgb_array(_resize(spec, image, size, called(source, name)), called(source, name))


def _plain_shorter(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    array = np.array(_open(spec, source, name, budget))
    width, height = array.shape[1], array.shape[0]
    size = shorter_and_longer(width, height, spec["resize"], spec["size"])
    return _interpolated(array, size)


_PIXELS: dict[str, Callable[[Spec, Source, str | None, Budget], Pixels]] = {
    "pillow-shorter-crop/1": _pillow_shorter_crop,
    "pillow-square/1": _pillow_square,
    "canvas/1": _canvas,
    "turbo-shorter-crop/1": _turbo_shorter_crop,
    "turbo-square/1": _turbo_square,
    "plain-square/1": _plain_square,
    "pillow-shorter/1": _pillow_shorter,
    "plain-shorter/1": _plain_shorter,
    "pillow-shorter-floor/1": _pillow_floor,
    "pillow-padded/1": _pillow_padded,
}


def _open(spec: Spec, source: Source, name: str | None, budget: Budget) -> Image.Image:
    image = open_original(source, name=name, budget=budget, exif=spec["exif"])
    if spec["rgb"] == "after-resize":
        return image
    background = None if spec["rgb"] == "drop-alpha" else tuple(spec["rgb"])
    return to_rgb(image, background, name=called(source, name))


def _fast_rgb(spec: Spec, source: Source, name: str | None, budget: Budget) -> Pixels:
    array = decode_jpeg_rgb(source, name=name, budget=budget, exif=spec["exif"])
    return np.array(_open(spec, source, name, budget)) if array is None else array


def _resize(spec: Spec, image: Image.Image, size: tuple[int, int], name: str) -> Image.Image:
    try:
        return resize(image, size, spec["filter"], spec["order"])
    except DAMAGE as error:  # a mode that Pillow cannot resize
        raise MediaError(f"{name}: mode {image.mode} cannot be resized") from error


def _rgb_array(image: Image.Image, name: str) -> Pixels:
    try:
        return np.array(image.convert("RGB"))
    except DAMAGE as error:
        raise MediaError(f"{name}: mode {image.mode} cannot be made RGB") from error


def _check_resized(
    size: tuple[int, int], resized: tuple[int, int], name: str, budget: Budget
) -> None:
    """A picture of 1 x 5000 pixels is small until its shorter side is 224."""
    if resized[0] * resized[1] > budget.pixels:
        raise MediaError(
            f"{name}: too narrow: {size[0]} x {size[1]} pixels would be resized to "
            f"{resized[0]} x {resized[1]}, over the budget of {budget.pixels} pixels"
        )
