"""The one door for pictures: paths, bytes, PIL images and arrays become checked RGB pictures.

The order is always the same: bytes within their budget, header read and held to the budget on
pixels, and only then a decoder, restricted to the format that the header named. Nothing is ever
fetched. Of an animation the first frame is taken. Colour profiles are ignored.
"""

import os
import re
import stat
import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from sensorium.media.budget import BUDGET, Budget, MediaError
from sensorium.media.header import check_size, orientation, read_header

Source = bytes | str | os.PathLike[str] | Image.Image | np.ndarray
"""What may be handed in wherever a picture is wanted; a `str` is always a path."""

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)

_BYTES = bytes | bytearray | memoryview
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|data:|blob:")

# What Pillow's decoders raise on damaged data; warnings count where the caller made them errors.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(AssertionError, RuntimeError, SystemError, MemoryError, EOFError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Warning),
)

_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def called(source: object, name: str | None = None) -> str:
    """What an error calls a picture: `name`, else the path, else what kind of thing it is."""
    if name:
        return name
    if isinstance(source, str | os.PathLike):
        return _short(source)
    kinds = ((Image.Image, "<PIL image>"), (np.ndarray, "<array>"), (_BYTES, "<bytes>"))
    return next((label for kind, label in kinds if isinstance(source, kind)), "<input>")


def read_image_bytes(
    source: bytes | str | os.PathLike[str], *, name: str | None = None, budget: Budget = BUDGET
) -> bytes:
    """The undecoded bytes of a picture, from a regular file (or passed through), within budget.

    Raises:
        MediaError: missing, unreadable, a directory or a device, a URL, empty, over the budget.
    """
    name = called(source, name)
    if isinstance(source, _BYTES):
        data = bytes(source)
        if len(data) > budget.bytes:
            raise MediaError(f"{name}: {len(data)} bytes, over the budget of {budget.bytes}")
    elif isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if _URL.match(path):
            raise MediaError(f"{name}: this is a URL and nothing is fetched; download it first")
        data = _read_file(path, name, budget)
    else:
        raise MediaError(f"{name}: a {type(source).__name__} holds no undecoded picture")
    if not data:
        raise MediaError(f"{name}: the file is empty")
    return data


def open_original(
    source: Source, *, name: str | None = None, budget: Budget = BUDGET, exif: bool = True
) -> Image.Image:
    """Decode a picture and leave its pixels in the mode they were stored in (palette, alpha, ...).

    Args:
        source: path, bytes, PIL image, or uint8 array (y x), (y x 1), (y x 3) or (y x 4).
        name: what an error calls the picture; by default its path.
        exif: turn and mirror the picture upright as its Exif orientation says.

    Raises:
        MediaError: whatever is wrong with the picture.
    """
    name = called(source, name)
    if isinstance(source, Image.Image):
        return _own(source, name, budget, exif)
    if isinstance(source, np.ndarray):
        return _from_array(source, name, budget)
    data = read_image_bytes(source, name=name, budget=budget)
    header = read_header(data, name=name, budget=budget)
    try:
        image = Image.open(BytesIO(data), formats=(header.format,))
        # The decoder's own view of the size is held to the budget too: a GIF's first frame may
        # be larger than the canvas its header announces.
        check_size(*image.size, name=name, budget=budget)
        image.load()
        turn = orientation(_exif_block(image)) if exif else 1
        return _upright(image, turn)
    except MediaError:
        raise
    except DAMAGE as error:
        raise MediaError(f"{name}: the {header.format} data are damaged or cut short") from error


def open_image(
    source: Source,
    *,
    name: str | None = None,
    budget: Budget = BUDGET,
    exif: bool = True,
    background: Colour | None = WHITE,
) -> Image.Image:
    """Decode a picture to 8-bit RGB.

    Transparent pixels are laid over `background`; None drops the alpha channel and shows the
    colour stored beneath it, as `Image.convert("RGB")` does. 16-bit grey keeps its upper byte.
    See `open_original` for the other arguments.

    Raises:
        MediaError: whatever is wrong with the picture.
    """
    image = open_original(source, name=name, budget=budget, exif=exif)
    return to_rgb(image, background, name=called(source, name))


def to_rgb(
    image: Image.Image, background: Colour | None = WHITE, *, name: str = "<PIL image>"
) -> Image.Image:
    """Convert a decoded picture of any mode to RGB (see `open_image`)."""
    if image.mode in ("I", "F"):
        raise MediaError(f"{name}: mode {image.mode} has no known range; scale it to 8 bits first")
    try:
        if image.mode.startswith("I;16"):
            dtype = ">u2" if image.mode.endswith("B") else "<u2"
            grey = np.frombuffer(image.tobytes(), dtype).reshape(image.height, image.width)
            image = Image.fromarray((grey >> 8).astype(np.uint8))
        if background is not None and image.has_transparency_data:
            image = image.convert("RGBA")
            ground = Image.new("RGBA", image.size, (*background, 255))
            image = Image.alpha_composite(ground, image)
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    except DAMAGE as error:
        raise MediaError(f"{name}: mode {image.mode} cannot be made RGB") from error
    rgb.info = {}
    return rgb


def _exif_block(image: Image.Image) -> bytes:
    block = image.info.get("exif", b"")
    return block if isinstance(block, bytes) else b""


def _upright(image: Image.Image, turn: int) -> Image.Image:
    if turn == 1:
        return image
    image = image.transpose(_TURN[turn])
    image.info.pop("exif", None)  # else the next reader would turn it again
    return image


def _own(image: Image.Image, name: str, budget: Budget, exif: bool) -> Image.Image:
    """A PIL image of the caller's, loaded, without touching the caller's object."""
    check_size(*image.size, name=name, budget=budget)
    try:
        mine = image.copy()  # loads the file it may still be tied to
        # Pillow's own transpose leaves the block in place; only a picture that still knows
        # the file it came from is known not to have been turned yet.
        turn = orientation(_exif_block(image)) if exif and image.format is not None else 1
        return _upright(mine, turn)
    except DAMAGE as error:
        raise MediaError(f"{name}: the picture's data are damaged or cut short") from error


def _from_array(array: np.ndarray, name: str, budget: Budget) -> Image.Image:
    if array.dtype != np.uint8:
        raise MediaError(f"{name}: an array of {array.dtype}; pass uint8, 0 to 255")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise MediaError(f"{name}: an array of shape {array.shape}; pass (y x), (y x 3) or (y x 4)")
    check_size(array.shape[1], array.shape[0], name=name, budget=budget)
    return Image.fromarray(np.ascontiguousarray(array))


def _read_file(path: str, name: str, budget: Budget) -> bytes:
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise MediaError(f"{name}: this is a folder, not a picture")
        if not stat.S_ISREG(found.st_mode):  # a pipe or a device may never end
            raise MediaError(f"{name}: not a regular file")
        if found.st_size > budget.bytes:
            raise MediaError(f"{name}: {found.st_size} bytes, over the budget of {budget.bytes}")
        with open(path, "rb") as file:
            data = file.read(budget.bytes + 1)
    except MediaError:
        raise
    except FileNotFoundError as error:
        raise MediaError(f"{name}: no such file") from error
    except PermissionError as error:
        raise MediaError(f"{name}: no permission to read it") from error
    except (OSError, ValueError) as error:  # a null byte in the name is a ValueError
        raise MediaError(f"{name}: cannot be read as a file") from error
    if len(data) > budget.bytes:
        raise MediaError(f"{name}: grew past the budget of {budget.bytes} bytes while being read")
    return data


def _short(path: str | os.PathLike[str]) -> str:
    """A path fit for an error line: control characters escaped, the middle of a long one cut."""
    text = os.fspath(path)
    text = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= 300 else f"{text[:140]}...{text[-140:]}"
