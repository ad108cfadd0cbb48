"""The quick way from a JPEG to its pixels: libjpeg-turbo without Pillow.

simplejpeg decodes with the accurate DCT and smooth chroma upsampling, as Pillow does; with the same
libjpeg-turbo beneath, both give the same pixels.
"""

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from sensorium.media.budget import BUDGET, Budget
from sensorium.media.door import Source, called, read_image_bytes
from sensorium.media.header import orientation, read_header


def decode_jpeg_rgb(
    source: Source, *, name: str | None = None, budget: Budget = BUDGET, exif: bool = True
) -> UInt8[np.ndarray, "y x 3"] | None:
    """The pixels of a JPEG; None when it is not one, is CMYK, or has any fault.

    What comes back as None goes through `open_image`, which decodes it or says what is wrong.

    Raises:
        MediaError: the file cannot be read, or is over the budget.
    """
    if isinstance(source, Image.Image | np.ndarray):
        return None
    name = called(source, name)
    data = read_image_bytes(source, name=name, budget=budget)
    if data[:3] != b"\xff\xd8\xff":
        return None
    header = read_header(data, name=name, budget=budget)
    if header.channels not in (1, 3):  # CMYK: its way to RGB is Pillow's own
        return None
    try:
        array = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError:  # damaged: Pillow decides
        return None
    return _upright(array, orientation(header.exif)) if exif else array


def _upright(array: UInt8[np.ndarray, "y x 3"], turn: int) -> UInt8[np.ndarray, "b a 3"]:
    if turn == 1:
        return array
    if turn >= 5:
        array = array.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
