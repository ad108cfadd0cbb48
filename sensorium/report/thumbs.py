"""Pictures for a page: decoded through the one door, made small, encoded anew."""

import base64
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from sensorium.media import MediaError, open_image

SIDES = (144, 112, 80, 56)  # pixels of the longer side, the largest that fits the budget is taken
FLAT = 96  # a picture that is smaller than this keeps its pixels, without loss
BUDGET = 1_600_000  # bytes of all thumbnails of a page, before base64 adds a third


class Thumb(NamedTuple):
    """A small picture, encoded; `size` is (width, height). None of the original's bytes is left."""

    data: bytes
    kind: str
    size: tuple[int, int]

    def fills(self) -> bool:
        """Whether a square may be filled with it: a photograph that loses little at its sides."""
        return self.kind == "image/jpeg" and max(self.size) <= 2 * min(self.size)

    def uri(self) -> str:
        """The picture as a data URI."""
        return f"data:{self.kind};base64,{base64.b64encode(self.data).decode()}"


def thumb(image: bytes, name: str, side: int) -> Thumb | None:
    """A picture with its longer side at most `side` pixels; None where it cannot be read."""
    try:
        picture = open_image(image, name=name)
    except MediaError:
        return None  # the page says so in its place
    flat = max(picture.size) <= FLAT
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    out = BytesIO()
    if flat:
        picture.save(out, "PNG", optimize=True)
        return Thumb(out.getvalue(), "image/png", picture.size)
    picture.save(out, "JPEG", quality=82, optimize=True)
    return Thumb(out.getvalue(), "image/jpeg", picture.size)


def thumbs(
    names: list[str], read: Callable[[str], bytes], budget: int = BUDGET
) -> dict[str, Thumb | None]:
    """Thumbnails by name, of the largest side at which all of them together fit the budget."""
    made: dict[str, Thumb | None] = {}
    for side in SIDES:
        made = {name: thumb(read(name), name, side) for name in dict.fromkeys(names)}
        if sum(len(t.data) for t in made.values() if t is not None) <= budget:
            break
    return made
