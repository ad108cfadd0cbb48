"""Resizing with its two passes in a stated order, by Pillow and by a faster way beside it.

A resize is one pass along the rows and one along the columns, with a rounding to 8 bits and a
clipping in between, so their order shows: by up to twenty
grey levels beside hard edges of full black and white. Pillow up to 12 always went along the rows
first; Pillow 13 goes along the columns first where that loses many more pixels than the other.
Here the order is data and does not depend on which Pillow is installed.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
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
    if image.size == size:
        return image.copy()
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
    """`resize` to `size`, then the crop `box`, computing little outside it, and close to exact.

    The first pass, the longer one, is torch's vectorised 8-bit kernel, whose weights keep 15 bits;
    its result is one off Pillow's for about one value in a thousand. The second pass is as good as
    exact, and over the crop alone, so that no second error adds to the first. Where a pass would
    enlarge, or (bicubic) the second would reduce by less than 1.75, Pillow does both passes and
    the result is exact.

    Bilinear is within one grey level always: its weights are positive and sum to 1. Bicubic is
    within one but for about one value in a million (fewer in smooth pictures), which is two off:
    there a run of equal errors meets weights that reach 1.1 in sum, and nothing to balance them.
    """
    height, width = array.shape[:2]
    left, top, right, bottom = box
    along_rows = rows_first((width, height), size, order)
    scales = (width / size[0], height / size[1])
    first, second = scales if along_rows else scales[::-1]
    # Below 1.75 it would take only two neighbours, both one off, to move a bicubic value by two.
    if first < 1 or second < (1.75 if filter == "bicubic" else 1):
        return np.array(resize(Image.fromarray(array), size, filter, order).crop(box))
    if along_rows:
        array = _torch_resize(array, size[0], height, filter)
        lines = torch.from_numpy(array).view(height, -1)[:, 3 * left : 3 * right]
        lines = _columns(lines, size[1], filter)[top:bottom]
        return lines.view(bottom - top, right - left, 3).numpy()
    array = _torch_resize(array, width, size[1], filter)[top:bottom]
    image = Image.fromarray(np.ascontiguousarray(array))
    image = image.resize((size[0], bottom - top), FILTERS[filter])
    return np.array(image.crop((left, 0, right, bottom - top)))


def _torch_resize(
    array: UInt8[np.ndarray, "y x 3"], width: int, height: int, filter: str
) -> UInt8[np.ndarray, "b a 3"]:
    if not array.flags.writeable:
        array = array.copy()  # torch refuses to look at memory that it may not write
    if array.shape[:2] == (height, width):
        return array
    # In this order torch knows the view as channels last, and answers in the same layout.
    plane = torch.from_numpy(array)[None].permute(0, 3, 1, 2)
    plane = functional.interpolate(plane, (height, width), mode=filter, antialias=True)
    return plane[0].permute(1, 2, 0).numpy()


def _columns(lines: UInt8[Tensor, "y bytes"], height: int, filter: str) -> UInt8[Tensor, "b bytes"]:
    """The pass along the columns as products of small matrices, with Pillow's own weights.

    It does not care which byte is which colour. Sixteen rows of the result need only a band of the
    source, so the product is taken band by band. In float32 the sums are within 1e-4 of Pillow's.
    """
    source = lines.float()
    result = torch.empty(height, lines.shape[1])
    for row, start, band in _bands(lines.shape[0], height, filter):
        torch.mm(band, source[start : start + band.shape[1]], out=result[row : row + len(band)])
    return result.add_(0.5).clamp_(0, 255).to(torch.uint8)


@lru_cache(maxsize=64)
def _bands(old: int, new: int, filter: str) -> list[tuple[int, int, Tensor]]:
    """First row of the result, first row of the source, and the weights between the two."""
    scale = old / new
    stretch = max(scale, 1.0)
    reach = {"bilinear": 1.0, "bicubic": 2.0}[filter] * stretch
    weights, spans = torch.zeros(new, old, dtype=torch.float64), []
    for row in range(new):
        centre = (row + 0.5) * scale
        low, high = max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), old)
        line = _kernel(
            (torch.arange(low, high, dtype=torch.float64) - centre + 0.5) / stretch, filter
        )
        weights[row, low:high] = (line / line.sum() * 2**22).round() / 2**22  # Pillow's fixed point
        spans.append((low, high))
    bands = []
    for row in range(0, new, 16):
        last = min(row + 16, new) - 1
        low, high = spans[row][0], spans[last][1]
        bands.append((row, low, weights[row : last + 1, low:high].float().contiguous()))
    return bands


def _kernel(x: Tensor, filter: str) -> Tensor:
    """The triangle, or Keys' cubic (1981) with a = -0.5."""
    x = x.abs()
    if filter == "bilinear":
        return (1 - x).clamp(min=0)
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, 0.0))
