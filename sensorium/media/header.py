"""Read format, size and orientation from the first bytes of a picture, decoding nothing.

The formats on the short list are JPEG, PNG, WebP, GIF and BMP. A file is what its content says,
whatever its name ends in.
"""

import struct
from typing import NamedTuple

from sensorium.media.budget import BUDGET, Budget, MediaError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

_STANDALONE = frozenset((0x01, *range(0xD0, 0xDA)))  # JPEG markers without a length
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA
_MARKERS = 10_000  # looked at before a JPEG is given up; honest ones have a few dozen

# What people most often mistake for a picture: (offset, first bytes, what it is).
_STRANGERS = (
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"II*\0", "a TIFF picture"),
    (0, b"MM\0*", "a TIFF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftyp", "an MP4 video"),
    (0, b"\0\0\1\0", "an icon file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"version https://git-lfs", "a Git LFS pointer; fetch the file it stands for"),
)


class Header(NamedTuple):
    """What the first bytes say: format, and size in pixels as stored; the rest of JPEG alone."""

    format: str
    width: int
    height: int
    exif: bytes = b""
    progressive: bool = False
    channels: int = 0


def read_header(data: bytes, *, name: str = "<bytes>", budget: Budget = BUDGET) -> Header:
    """Identify a picture and hold it to its budget, before any decoder sees it.

    Raises:
        MediaError: not one of the formats; no size in the header; over the budget.
    """
    if not data:
        raise MediaError(f"{name}: the file is empty")
    if len(data) > budget.bytes:
        raise MediaError(f"{name}: {len(data)} bytes, over the budget of {budget.bytes}")
    try:
        header = _parse(data)
    except (struct.error, IndexError) as error:
        raise MediaError(f"{name}: the picture's header is damaged or cut short") from error
    if header is None:
        raise MediaError(f"{name}: {_stranger(data)}; use one of {', '.join(FORMATS)}")
    check_size(header.width, header.height, name=name, budget=budget)
    # Inside a scan the byte pair is escaped, so this counts scans (and those of a thumbnail).
    if header.progressive and data.count(b"\xff\xda") > budget.scans:
        raise MediaError(f"{name}: a JPEG of more than {budget.scans} scans, over the budget")
    return header


def check_size(width: int, height: int, *, name: str, budget: Budget = BUDGET) -> None:
    """Raise MediaError unless width x height is a possible size within the budget."""
    if width < 1 or height < 1:
        raise MediaError(f"{name}: a size of {width} x {height} pixels is impossible")
    if max(width, height) > budget.side:
        raise MediaError(f"{name}: {width} x {height} pixels; a side is limited to {budget.side}")
    if width * height > budget.pixels:
        raise MediaError(f"{name}: {width} x {height} pixels, over the budget of {budget.pixels}")


def orientation(exif: bytes) -> int:
    """The Exif orientation, 1 to 8 (tag 0x0112, first directory); 1 when absent or damaged."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, many, value = struct.unpack_from(order + "HHIH", exif, at)
            if tag == 0x0112:
                return value if kind == 3 and many == 1 and 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _parse(data: bytes) -> Header | None:
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
        return Header("PNG", width, height) if (length, kind) == (13, b"IHDR") else None
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return Header("GIF", *struct.unpack_from("<HH", data, 6))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM":
        (size,) = struct.unpack_from("<I", data, 14)
        width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
        return Header("BMP", width, abs(height))  # a negative height: rows from the top down
    return None


def _jpeg(data: bytes) -> Header:
    at, exif = 2, b""
    for _ in range(_MARKERS):
        at = data.find(b"\xff", at)
        marker = data[at + 1] if at > 0 else _START_OF_SCAN
        if marker in (0xFF, 0x00):  # fill byte, stray stuffing
            at += 1
            continue
        at += 2
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return Header("JPEG", width, height, exif, marker & 3 == 2, data[at + 7])
        if marker == _START_OF_SCAN:
            raise IndexError("pixels before their size")
        if marker == 0xE1 and not exif and data[at + 2 : at + 8] == b"Exif\0\0":
            exif = data[at + 8 : at + length]
        at += max(length, 2)
    raise IndexError("no size among so many markers")


def _webp(data: bytes) -> Header | None:
    chunk = data[12:16]
    if chunk == b"VP8X":  # the canvas: 24 bits each, less one
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return Header("WEBP", width, height)
    if chunk == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WEBP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if chunk == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WEBP", width & 0x3FFF, height & 0x3FFF)
    return None


def _stranger(data: bytes) -> str:
    for offset, start, what in _STRANGERS:
        if data[offset : offset + len(start)] == start:
            return f"the content is {what}"
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "the content is an SVG drawing"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "the content is an HTML page, not a picture"
    if text.startswith((b"<?xml", b"<")):
        return "the content is XML, not a picture"
    if text.startswith((b"{", b"[")):
        return "the content looks like JSON, not a picture"
    return "the content is no known picture format"
