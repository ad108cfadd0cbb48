"""Resizing with its two passes in a stated order, by Pillow and by a faster way beside it.

A resize is one pass along the rows and one along the columns, with a rounding to 8 bits and a
clipping in between, so their order shows: by at most one or two grey levels in photographs, by
up to twenty beside hard edges of full black and white. Pillow up to 12 always went along the rows
first; Pillow 13 goes along the columns first where that loses many more pixels than the other.
Here the order is data and does not depend on which Pillow is installed.
"""

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch.nn import functional

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
ORDERS = ("rows-first", "taller-first")

_PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # left, top, right, bottom


def rows_first(old: Size, new: Size, order: str) -> bool:
    """Whether the pass along the rows (the width) is the first.

    "rows-first": always, as Pillow up to 12. "taller-first", as Pillow 13: unless the height
    shrinks, and by more than twice as many pixels as the width.
    """
    if order == "rows-first":
        return True
    return not (new[1] < old[1] and old[1] - new[1] > 2 * (old[0] - new[0]))


def resize(image: Image.Image, size: Size, filter: str, order: str) -> Image.Image:
    """Pillow's anti-aliased resize, bit for bit, with the passes in the given order.

    As Pillow does, alpha is multiplied in first and divided out last, and palette and bilevel
    pictures take the nearest pixel, whatever the filter.
    """
    if image.mode in ("1", "P"):
        return image.resize(size, Image.Resampling.NEAREST)
    if image.mode in _PREMULTIPLIED:
        flat = image.convert(_PREMULTIPLIED[image.mode])
        return resize(flat, size, filter, order).convert(image.mode)
    width, height = image.size
    middle = (size[0], height) if rows_first(image.size, size, order) else (width, size[1])
    return image.resize(middle, FILTERS[filter]).resize(size, FILTERS[filter])


def resize_crop(
    array: UInt8[np.ndarray, "y x 3"], size: Size, box: Box, filter: str, order: str
) -> UInt8[np.ndarray, "b a 3"]:
    """`resize` to `size`, then the crop `box`, computing little outside it; within one grey level.

    The first pass, the longer one, is torch's vectorised 8-bit kernel, whose weights keep 15 bits;
    its result is one off Pillow's for about one pixel in a thousand. The second pass is Pillow's,
    over the crop alone, so that no second error adds to the first. Where a pass would enlarge, or
    (bicubic) the second would reduce by less than 1.75, Pillow does both and the result is exact.
    """
    height, width = array.shape[:2]
    left, top, right, bottom = box
    along_rows = rows_first((width, height), size, order)
    scales = (width / size[0], height / size[1])
    first, second = scales if along_rows else scales[::-1]
    # Bicubic weights reach 1.13 in sum without their negative side: below 1.75 two neighbours that
    # are both one off could move a pixel by two. Bilinear weights never sum to more than 1.
    if first < 1 or second < (1.75 if filter == "bicubic" else 1):
        return np.array(resize(Image.fromarray(array), size, filter, order).crop(box))
    if along_rows:
        array = _torch_resize(array, size[0], height, filter)
        lines = array.reshape(height, -1)[:, 3 * left : 3 * right]
        return _columns(np.ascontiguousarray(lines), size[1], filter)[top:bottom].reshape(
            bottom - top, right - left, 3
        )
    array = _torch_resize(array, width, size[1], filter)[top:bottom]
    image = Image.fromarray(np.ascontiguousarray(array))
    image = image.resize((size[0], bottom - top), FILTERS[filter])
    return np.array(image.crop((left, 0, right, bottom - top)))


def _torch_resize(
    array: UInt8[np.ndarray, "y x 3"], width: int, height: int, filter: str
) -> UInt8[np.ndarray, "b a 3"]:
    if array.shape[:2] == (height, width):
        return array
    plane = torch.from_numpy(array).permute(2, 0, 1)[None]  # a view: torch calls it channels last
    plane = functional.interpolate(plane, (height, width), mode=filter, antialias=True)
    return np.ascontiguousarray(plane[0].permute(1, 2, 0).numpy())


def _columns(
    lines: UInt8[np.ndarray, "y bytes"], height: int, filter: str
) -> UInt8[np.ndarray, "b bytes"]:
    """Pillow's pass along the columns; it does not care which byte is which colour.

    So four bytes at a time pass as one pixel where they can, which Pillow reads without a copy.
    """
    rows, width = lines.shape
    if width % 4:
        image = Image.fromarray(lines)
        return np.asarray(image.resize((width, height), FILTERS[filter]))
    image = Image.frombuffer("RGBX", (width // 4, rows), lines, "raw", "RGBX", 0, 1)
    return np.array(image.resize((width // 4, height), FILTERS[filter])).reshape(height, width)
