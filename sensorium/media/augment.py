"""Training augmentation of small pictures, drawn from an explicit generator.

Geometry is one affine warp and colour is one 3 x 4 matrix a pixel, so that a 64-pixel picture
costs a fraction of a millisecond: the parts below make matrices, and only `warp` and `recolour`
touch pixels. Matrices compose by `@`, the right-hand one acting first.

Colour matrices act on (r, g, b, 1) with pixels in 0 to 1; affine ones on (x, y, 1), from a place
in the output to a place in the source, both in units of half the picture with the centre at 0.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator
from PIL import Image

from sensorium.media.budget import MediaError

Affine = Float[np.ndarray, "3 3"]
Colours = Float[np.ndarray, "4 4"]
Range = tuple[float, float]

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as `Image.convert("L")`


# --- geometry: where each pixel of the output is taken from --------------------------------------


def crop(g: Generator, area: Range = (0.5, 1.0), aspect: Range = (3 / 4, 4 / 3)) -> Affine:
    """A random rectangle, `area` of the whole and of `aspect` width to height, blown up to fill.

    Inception's crop (Szegedy et al., 2014): area uniform, aspect uniform in its logarithm. A side
    that would not fit is cut to the whole side.
    """
    size, ratio = g.uniform(*area), math.exp(g.uniform(math.log(aspect[0]), math.log(aspect[1])))
    width, height = min(1.0, math.sqrt(size * ratio)), min(1.0, math.sqrt(size / ratio))
    left, top = g.uniform(width - 1, 1 - width), g.uniform(height - 1, 1 - height)
    return np.array([[width, 0, left], [0, height, top], [0, 0, 1.0]])


def affine(
    g: Generator,
    degrees: float = 10.0,
    scale: Range = (0.9, 1.1),
    shift: float = 0.05,
) -> Affine:
    """A turn within +-`degrees`, a zoom within `scale`, a move within +-`shift` of each side."""
    turn, zoom = math.radians(g.uniform(-degrees, degrees)), g.uniform(*scale)
    x, y = g.uniform(-2 * shift, 2 * shift), g.uniform(-2 * shift, 2 * shift)
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    return np.array([[cos, sin, -x], [-sin, cos, -y], [0, 0, 1.0]])


def flip(g: Generator, chance: float = 0.5) -> Affine:
    """Left and right exchanged, by `chance`. Not for pictures that carry text or direction."""
    return np.diag([-1.0 if g.random() < chance else 1.0, 1, 1])


def warp(
    image: Image.Image,
    size: int,
    matrix: Affine,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Image.Image:
    """Sample a square of `size` px from an RGB picture through an affine matrix, bilinearly.

    Under the identity the whole source maps onto the whole output. What lies outside the source
    shows `background`. Bilinear sampling smooths enough down to a half; where the matrix reduces
    further, the source is first reduced by a whole number (box filter).
    """
    width, height = image.size
    zoom = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    factor = int(min(width, height) * zoom / size / 1.5)
    if factor >= 2:
        image = image.reduce(factor)
        width, height = width / factor, height / factor  # the last, partial cell hangs over
    # pixels of the output -> [-1, 1] -> matrix -> [-1, 1] -> pixels of the source
    unit = np.array([[2 / size, 0, -1], [0, 2 / size, -1], [0, 0, 1]])
    back = np.array([[width / 2, 0, width / 2], [0, height / 2, height / 2], [0, 0, 1]])
    rows = (back @ matrix @ unit)[:2].ravel().tolist()
    smooth = Image.Resampling.BILINEAR
    return image.transform((size, size), Image.Transform.AFFINE, rows, smooth, fillcolor=background)


# --- colour: a matrix on (r, g, b, 1) ------------------------------------------------------------


def brightness(g: Generator, by: float = 0.3) -> Colours:
    """All channels times a factor in 1 +- `by`."""
    factor = g.uniform(1 - by, 1 + by)
    return np.diag([factor, factor, factor, 1.0])


def contrast(g: Generator, by: float = 0.3, centre: float = 0.5) -> Colours:
    """Away from or towards the grey `centre`, by a factor in 1 +- `by`."""
    factor = g.uniform(1 - by, 1 + by)
    matrix = np.diag([factor, factor, factor, 1.0])
    matrix[:3, 3] = (1 - factor) * centre
    return matrix


def saturation(g: Generator, by: float = 0.3) -> Colours:
    """Away from or towards each pixel's own grey, by a factor in 1 +- `by`."""
    return _blend(g.uniform(1 - by, 1 + by))


def grey(g: Generator, chance: float = 0.1) -> Colours:
    """All colour removed, by `chance`."""
    return _blend(0.0 if g.random() < chance else 1.0)


def hue(g: Generator, by: float = 0.05) -> Colours:
    """Colours turned about the grey axis, within +-`by` of a full turn."""
    turn = 2 * math.pi * g.uniform(-by, by)
    cos, sin = math.cos(turn), math.sin(turn) / math.sqrt(3)
    matrix = np.eye(4)  # Rodrigues' rotation about (1, 1, 1)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    matrix[:3, :3] = cos * np.eye(3) + sin * cross + (1 - cos) / 3
    return matrix


def _blend(factor: float) -> Colours:
    matrix = np.eye(4)
    matrix[:3, :3] = factor * np.eye(3) + (1 - factor) * LUMA
    return matrix


def recolour(image: Image.Image, matrix: Colours) -> Image.Image:
    """Send every pixel of an RGB picture through a colour matrix; what leaves 0 to 1 is cut off."""
    rows = matrix[:3].copy()
    rows[:, 3] *= 255
    return image.convert("RGB", tuple(rows.ravel().tolist()))


# --- damage --------------------------------------------------------------------------------------


def noise(
    g: Generator, image: UInt8[np.ndarray, "y x 3"], most: float = 8.0
) -> UInt8[np.ndarray, "y x 3"]:
    """Noise on every channel, of mean 0 and a deviation uniform in 0 to `most` grey levels.

    The grains count 64 fair coins, which is Gaussian but for its steps of a quarter deviation and
    several times cheaper to draw.
    """
    coins = g.integers(0, 2**64, image.shape, dtype=np.uint64)
    grains = np.bitwise_count(coins).astype(np.float32)
    grains -= 32  # 64 coins: mean 32, deviation 4
    grains *= np.float32(g.uniform(0, most) / 4)
    grains += image
    grains += 0.5
    return np.clip(grains, 0, 255, out=grains).astype(np.uint8)


def cutout(
    g: Generator, image: UInt8[np.ndarray, "y x 3"], most: float = 0.3, chance: float = 0.5
) -> UInt8[np.ndarray, "y x 3"]:
    """One square filled with one random colour, by `chance`; its side uniform up to `most` of ours.

    DeVries and Taylor, 2017; the square lies inside the picture.
    """
    height, width = image.shape[:2]
    if g.random() >= chance:
        return image
    side = max(1, round(g.uniform(0, most) * min(height, width)))
    top, left = g.integers(0, height - side + 1), g.integers(0, width - side + 1)
    image = image.copy()
    image[top : top + side, left : left + side] = g.integers(0, 256, 3, dtype=np.uint8)
    return image


# --- together ------------------------------------------------------------------------------------


class Ranges(NamedTuple):
    """How far each augmentation goes; plain numbers, so that a run can record them."""

    area: Range = (0.6, 1.0)
    aspect: Range = (3 / 4, 4 / 3)
    degrees: float = 10.0
    scale: Range = (0.9, 1.1)
    shift: float = 0.05
    flip: float = 0.0
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.05
    grey: float = 0.1
    noise: float = 6.0
    cutout: float = 0.3
    cutout_chance: float = 0.3


RANGES = Ranges()


def augment(
    image: Image.Image | UInt8[np.ndarray, "y x 3"],
    size: int,
    g: Generator,
    ranges: Ranges = RANGES,
    background: tuple[int, int, int] = (255, 255, 255),
) -> UInt8[np.ndarray, "b b 3"]:
    """One randomly changed view of a picture, `size` px square, the same for the same generator.

    Give a source of 1.3 to 2 times `size` px so that enlarging a crop loses nothing.

    Raises:
        MediaError: the picture is not RGB.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise MediaError(f"augment wants uint8 (y x 3), not {image.dtype} {image.shape}")
        image = Image.fromarray(image)
    elif image.mode != "RGB":
        raise MediaError(f"augment wants an RGB picture, not mode {image.mode}; see open_image")
    r = ranges
    place = crop(g, r.area, r.aspect) @ affine(g, r.degrees, r.scale, r.shift) @ flip(g, r.flip)
    colours = grey(g, r.grey) @ hue(g, r.hue) @ saturation(g, r.saturation)
    colours = colours @ contrast(g, r.contrast) @ brightness(g, r.brightness)
    view = np.array(recolour(warp(image, size, place, background), colours))
    if r.noise > 0:
        view = noise(g, view, r.noise)
    return cutout(g, view, r.cutout, r.cutout_chance)
