"""A contact sheet: the results of a search as one picture, to be looked at or sent to someone."""

import os
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sensorium.media import MediaError, Source, open_image
from sensorium.verbs.index import Hit
from sensorium.weights.atomic import write_file

PAGE, CARD, RULE = (252, 251, 248), (255, 255, 255), (229, 226, 218)
INK, SOFT, FAINT, MARK = (28, 29, 31), (102, 101, 95), (178, 175, 166), (15, 96, 115)
CELL, GAP, MARGIN, PAD = 268, 24, 44, 16  # pixels: side of a card, between, around, inside
CAPTION, RADIUS = 50, 10
TITLE, NOTE, NAME = 34, 17, 16  # sizes of letters
ENLARGED = 3  # small pictures are enlarged at most so many times
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont


def sheet(
    at: str | os.PathLike[str],
    query: Source | str,
    hits: Sequence[Hit],
    note: str = "",
    columns: int = 4,
) -> None:
    """Writes results as a PNG, best first: picture, rank, score and file name.

    What cannot be shown gets a card that says why. The file appears whole or not at all.

    Args:
        query: as given to `search`: words, or a picture, which is shown.
        note: a line under the query; by default how many results there are.

    Raises:
        OSError: it cannot be written.
    """
    out = BytesIO()
    drawn(query, hits, note, columns).save(out, "PNG", optimize=True)
    write_file(Path(os.path.abspath(at)), out.getvalue())


def drawn(
    query: Source | str, hits: Sequence[Hit], note: str = "", columns: int = 4
) -> Image.Image:
    """The contact sheet as a picture; its arguments are those of `sheet`."""
    columns = max(2, min(columns, len(hits)))
    rows = max(1, -(-len(hits) // columns))
    width = 2 * MARGIN + columns * CELL + (columns - 1) * GAP
    example = None if isinstance(query, str) else thumb(query, 132)
    shift = 0 if example is None else example.width + GAP
    title = plain(query) if isinstance(query, str) else f"like {called(query)}"
    big = font(title, TITLE, bold=True)
    lines = wrapped(title, big, width - 2 * MARGIN - shift, 2)
    tall = len(lines) * 44 + 30
    head = MARGIN + max(tall, 0 if example is None else example.height) + 22
    up = MARGIN + max(0, 0 if example is None else (example.height - tall) // 2)
    height = head + rows * (CELL + CAPTION) + (rows - 1) * GAP + MARGIN
    page = Image.new("RGB", (width, height), PAGE)
    pen = ImageDraw.Draw(page)
    if example is not None:
        page.paste(example, (MARGIN, MARGIN))
        frame(pen, (MARGIN, MARGIN, MARGIN + example.width, MARGIN + example.height))
    for i, line in enumerate(lines):
        pen.text((MARGIN + shift, up + 44 * i + 32), line, INK, big, anchor="ls")
    note = plain(note) or f"{len(hits)} picture{'' if len(hits) == 1 else 's'}, best first"
    small = font(note, NOTE)
    room = width - 2 * MARGIN - shift
    y = up + 44 * len(lines) + 18
    pen.text((MARGIN + shift, y), shortened(note, small, room), SOFT, small, anchor="ls")
    for place, hit in enumerate(hits):
        x = MARGIN + (place % columns) * (CELL + GAP)
        card(page, hit, x, head + place // columns * (CELL + CAPTION + GAP))
    if not hits:
        pen.text((width // 2, head + CELL // 2), "nothing found", FAINT, font("", 22), anchor="mm")
    return page


def card(page: Image.Image, hit: Hit, x: int, y: int) -> None:
    """One result with its top left corner at (x, y)."""
    pen = ImageDraw.Draw(page)
    box = (x, y, x + CELL, y + CELL)
    pen.rounded_rectangle(box, RADIUS, CARD, RULE)
    picture = None if hit.missing else thumb(hit.path, CELL - 2 * PAD)
    if picture is None:
        sign(pen, x + CELL // 2, y + CELL // 2 - 14)
        why = "the file is gone" if hit.missing else "cannot be read"
        pen.text((x + CELL // 2, y + CELL // 2 + 44), why, SOFT, font(why, NAME), anchor="mm")
    else:
        page.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2))
    base = y + CELL + 29
    rank, score = str(hit.rank), f"{hit.score:.3f}"
    bold, digits = font(rank, NAME, bold=True), font(score, NAME)
    pen.text((x + 4, base), rank, MARK, bold, anchor="ls")
    pen.text((x + CELL - 4, base), score, SOFT, digits, anchor="rs")
    left = x + 4 + int(bold.getlength(rank)) + 10
    name = plain(hit.path.name)
    letters = font(name, NAME)
    room = x + CELL - 4 - int(digits.getlength(score)) - 12 - left
    pen.text((left, base), shortened(name, letters, room), INK, letters, anchor="ls")


def frame(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """A thin line around a picture."""
    pen.rectangle((box[0] - 1, box[1] - 1, box[2], box[3]), outline=RULE)


def sign(pen: ImageDraw.ImageDraw, x: int, y: int) -> None:
    """The outline of a picture that is not there, around (x, y)."""
    pen.rounded_rectangle((x - 40, y - 30, x + 40, y + 30), 6, outline=FAINT, width=3)
    pen.ellipse((x - 26, y - 19, x - 14, y - 7), outline=FAINT, width=3)
    hills = [(x - 38, y + 24), (x - 12, y + 2), (x + 4, y + 16), (x + 18, y - 2), (x + 38, y + 22)]
    pen.line(hills, FAINT, 3, joint="curve")
    pen.line((x - 48, y + 38, x + 48, y - 38), CARD, 11)
    pen.line((x - 46, y + 36, x + 46, y - 36), FAINT, 3)


def thumb(source: Source, side: int) -> Image.Image | None:
    """A picture fitted into a square; None where it cannot be read."""
    try:
        picture = open_image(source)
    except MediaError:
        return None  # the sheet says so in its place
    scale = min(side / max(picture.size), ENLARGED)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


# --- letters --------------------------------------------------------------------------------------


def called(query: Source) -> str:
    """A name for a picture asked with."""
    return plain(Path(query).name) if isinstance(query, str | os.PathLike) else "this picture"


def plain(text: str) -> str:
    """A text on one line, without control characters and lone surrogates."""
    kept = (c if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn") else " " for c in text)
    return " ".join("".join(kept).split())


def shortened(text: str, letters: Font, room: int) -> str:
    """The text, or its beginning and its end around an ellipsis, within `room` pixels."""
    text = text[:2000]
    if letters.getlength(text) <= room:
        return text
    low, high = 0, len(text)  # how many characters are kept
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if letters.getlength(cut(text, kept)) <= room else (low, kept - 1)
    return cut(text, low)


def cut(text: str, kept: int) -> str:
    """The first and the last characters, `kept` in all; a file's ending is in the last."""
    last = min(kept // 2, 8)
    return text[: kept - last].rstrip() + "…" + text[len(text) - last :].lstrip()


def wrapped(text: str, letters: Font, room: int, most: int) -> list[str]:
    """The text on at most `most` lines; a word too long for one is shortened, like the last."""
    lines: list[str] = []
    rest = text[:2000].split(" ")
    while rest and len(lines) < most - 1:
        take = 1
        while take < len(rest) and letters.getlength(" ".join(rest[: take + 1])) <= room:
            take += 1
        lines.append(shortened(" ".join(rest[:take]), letters, room))
        rest = rest[take:]
    return [*lines, shortened(" ".join(rest), letters, room)] if rest else lines


def font(text: str, size: int, bold: bool = False) -> Font:
    """Letters for a text: DejaVu, which comes with matplotlib, or a font of this machine.

    The other is taken only if it can draw more of the text; nothing is ever downloaded, and what
    no font here can draw shows as empty boxes.
    """
    needed = frozenset(c for c in text if not c.isspace())
    return ImageFont.truetype(file_for(needed, bold), size)


@lru_cache(maxsize=256)
def file_for(needed: frozenset[str], bold: bool) -> str:
    """The font file that draws most of the characters, DejaVu if it is as good as any."""
    from matplotlib import get_data_path

    own = Path(get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    best, most = str(own), drawable(str(own), needed)
    if most == len(needed):
        return best
    from matplotlib.font_manager import findSystemFonts

    for path in sorted(findSystemFonts()):
        count = drawable(path, needed)
        if count > most and opens(path):
            best, most = path, count
    return best


def opens(path: str) -> bool:
    """Whether Pillow can draw with a font at any size (some hold bitmaps of one size)."""
    try:
        ImageFont.truetype(path, TITLE)
    except OSError:
        return False
    return True


def drawable(path: str, needed: frozenset[str]) -> int:
    """How many of the characters a font file has."""
    from matplotlib.ft2font import FT2Font

    try:
        has = FT2Font(path).get_charmap()
    except RuntimeError:  # a font that FreeType cannot read
        return 0
    return sum(ord(c) in has for c in needed)
