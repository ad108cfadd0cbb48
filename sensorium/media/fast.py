"""The quick way from a JPEG to resized pixels: libjpeg-turbo without Pillow, and torch's 8-bit resize.

simplejpeg decodes with the accurate DCT and smooth chroma upsampling, as Pillow does, so both give
the same pixels; torch's resize keeps fewer bits in between than Pillow's and may differ by one.
"""

import numpy as np
import simplejpeg
import torch
from jaxtyping import UInt8
from PIL import Image
from torch.nn import functional

from sensorium.media.budget import BUDGET, Budget
from sensorium.media.door import Source, called, read_image_bytes
from sensorium.media.header import orientation, read_header


def decode_jpeg_rgb(
    source: Source, *, name: str | None = None, budget: Budget = BUDGET, exif: bool = True
) -> UInt8[np.ndarray, "y x 3"] | None:
    """The pixels of a JPEG; None when it is not one, or libjpeg-turbo finds the least fault with it.

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
    try:
        array = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError:  # damaged, or CMYK: Pillow decides
        return None
    return _upright(array, orientation(header.exif)) if exif else array


def resize_rgb(
    array: UInt8[np.ndarray, "y x 3"], width: int, height: int, filter: str
) -> UInt8[np.ndarray, "b a 3"]:
    """Anti-aliased resize of interleaved 8-bit pixels, by torch's vectorised kernel."""
    if array.shape[:2] == (height, width):
        return array
    plane = torch.from_numpy(array).permute(2, 0, 1)[None]  # a view: torch calls it channels last
    plane = functional.interpolate(plane, (height, width), mode=filter, antialias=True)
    return plane[0].permute(1, 2, 0).numpy()


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
