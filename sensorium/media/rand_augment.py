"""RandAugment as ALBEF trains with it (dataset/randaugment.py of its release).

Cubuk et al. 2020, arXiv 1909.13719: so many changes are drawn, each is made by half a chance, all
of one strength; here from the ten of which ALBEF draws two at level 7 of 10. Where its code lets
sharpened pixels run over (256 becomes 0) they stay white here.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageOps

from sensorium.media.budget import MediaError

GREY = (128, 128, 128)  # what is seen beyond the picture
MOST, SHEAR, SHIFT, TURN = 10, 0.3, 10.0, 30.0  # the highest level; a share, pixels, degrees

Changed = Callable[[Image.Image, float], Image.Image]


def enhanced(level: float) -> float:
    """The factor of a level: 0.1 to 1.9, 1 changes nothing."""
    return level / MOST * 1.8 + 0.1


def moved(image: Image.Image, rows: tuple[float, float, float, float, float, float]) -> Image.Image:
    """Each pixel (x, y) is taken from (a x + b y + c, d x + e y + f) of the picture."""
    a, b, c, d, e, f = rows  # pillow counts from the pixels' corners
    at = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    how = (Image.Transform.AFFINE, at, Image.Resampling.BILINEAR)
    return image.transform(image.size, *how, fillcolor=GREY)


def turned(image: Image.Image, degrees: float) -> Image.Image:
    """Turned about its middle, counter-clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = image.width / 2, image.height / 2
    return moved(image, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y))


CHANGES: dict[str, Changed] = {  # `level` has a sign where a change has a direction
    "identity": lambda image, level: image,
    "autocontrast": lambda image, level: ImageOps.autocontrast(image),
    "equalize": lambda image, level: ImageOps.equalize(image),
    "brightness": lambda image, level: ImageEnhance.Brightness(image).enhance(enhanced(abs(level))),
    "sharpness": lambda image, level: ImageEnhance.Sharpness(image).enhance(enhanced(abs(level))),
    "shear_x": lambda image, level: moved(image, (1.0, -level / MOST * SHEAR, 0.0, 0.0, 1.0, 0.0)),
    "shear_y": lambda image, level: moved(image, (1.0, 0.0, 0.0, -level / MOST * SHEAR, 1.0, 0.0)),
    "translate_x": lambda image, level: moved(
        image, (1.0, 0.0, level / MOST * SHIFT, 0.0, 1.0, 0.0)
    ),
    "translate_y": lambda image, level: moved(
        image, (1.0, 0.0, 0.0, 0.0, 1.0, level / MOST * SHIFT)
    ),
    "rotate": lambda image, level: turned(image, level / MOST * TURN),
}


def rand_augment(
    image: UInt8[np.ndarray, "y x 3"], g: Generator, count: int = 2, level: float = 7.0
) -> UInt8[np.ndarray, "y x 3"]:
    """A randomly changed picture of the same size, the same for the same generator.

    Args:
        count: changes that are drawn; each is made by half a chance, in a direction by half a
            chance where it has one.
        level: their strength, up to 10.

    Raises:
        MediaError: the level is not from 0 to 10.
    """
    if not 0 <= level <= MOST:
        raise MediaError(f"level {level}: from 0 to {MOST}")
    out, names = Image.fromarray(image), list(CHANGES)
    for number in g.integers(len(names), size=count):
        if g.random() < 0.5:
            out = CHANGES[names[number]](out, level if g.random() < 0.5 else -level)
    return np.array(out)
