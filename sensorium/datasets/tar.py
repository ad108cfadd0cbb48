"""A small tar reader for indexing: where each member's bytes lie, and nothing is ever unpacked.

Reads POSIX ustar, pax and GNU long names (POSIX.1-2001, pax Interchange Format). Refuses what is
no plain file, and archives that end early, which the standard library's reader lets pass.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sensorium.data.errors import DataError

BLOCK = 512
LONGEST_NAME = 2**20  # bytes of a long name or of pax records

REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"S": "a sparse file",
}
PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZ": ("bzip2", "bunzip2"),
    b"\xfd7": ("xz", "unxz"),
    b"\x28\xb5": ("zstd", "unzstd"),
}


class Member(NamedTuple):
    """A plain file in an archive: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


class Truncated(DataError):
    """The archive ends before its end mark."""


def members(path: Path) -> Iterator[Member]:
    """The plain files of an archive in order; folders are passed over.

    Raises Truncated once the archive turns out to end early, after all whole members before; and
    DataError for compressed archives, bad headers, links, devices, sparse files and data after
    the end mark.
    """
    with open(path, "rb") as file:
        length = os.fstat(file.fileno()).st_size
        place = 0
        name: str | None = None
        size: int | None = None
        while True:
            file.seek(place)
            head = file.read(BLOCK)
            if place == 0:
                refuse_packed(path, head)
            if len(head) == BLOCK and not any(head):
                check_end(path, file)
                return
            if len(head) < BLOCK:
                raise Truncated(f"{path}: ends at byte {length} without the end mark of a tar")
            kind = head[156:157]
            plain_name, own_size = header(path, head, place)
            label = plain_name if name is None else name
            if kind in (b"0", b"\0") and size is not None:
                own_size = size
            start = place + BLOCK
            if start + own_size > length:
                raise Truncated(
                    f"{path}: ends inside {label!r}, {start + own_size - length} bytes early"
                )
            place = start + -(-own_size // BLOCK) * BLOCK
            if kind in b"LKxg":
                if own_size > LONGEST_NAME:
                    raise DataError(f"{path}: {label!r} has a header of {own_size} bytes")
                data = file.read(own_size)
                if kind == b"L":
                    name = decode(path, data.rstrip(b"\0"))
                elif kind in b"xg":
                    records = pax(path, data, label)
                    if any(key.startswith("GNU.sparse") for key in records):
                        raise unfit(path, records.get("path", label), REFUSED[b"S"])
                    if kind == b"x":
                        name = records.get("path", name)
                        size = pax_size(path, records, label)
                    elif "path" in records or "size" in records:
                        raise DataError(f"{path}: names all its members alike (global pax header)")
                continue
            if kind in (b"0", b"\0"):
                if not label.endswith("/"):  # an old way to write folders
                    if "\0" in label or not label:
                        raise DataError(f"{path}: byte {start - BLOCK}: a member without a name")
                    yield Member(label, start, own_size)
            elif kind != b"5":
                raise unfit(path, label, REFUSED.get(kind, f"of unknown kind {kind!r}"))
            name = size = None


def header(path: Path, head: bytes, place: int) -> tuple[str, int]:
    """Name and size in a header whose checksum is right."""
    said = number(head[148:156])
    unsigned = sum(head) - sum(head[148:156]) + 8 * 32
    signed = unsigned - 256 * sum(b > 127 for b in head[:148] + head[156:])
    size = number(head[124:136])
    if said not in (unsigned, signed) or size is None:
        raise DataError(
            f"{path}: byte {place}: no tar header; the file is damaged or no tar archive: copy or "
            "make it again"
        )
    name = head[:100].split(b"\0", 1)[0]
    prefix = head[345:500].split(b"\0", 1)[0] if head[257:263] == b"ustar\0" else b""
    return decode(path, prefix + b"/" + name if prefix else name), size


def number(field: bytes) -> int | None:
    """An octal number, or a binary one marked by its first bit (GNU); None: neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    return int(digits, 8) if set(digits) <= set(b"01234567") else None


def pax(path: Path, data: bytes, label: str) -> dict[str, str]:
    """The records of a pax header: "LENGTH KEY=VALUE\\n"."""
    records: dict[str, str] = {}
    place = 0
    while place < len(data):
        digits, space, _ = data[place : place + 20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = data[place + len(digits) + 1 : place + length]
        key, equals, value = record.partition(b"=")
        if length < len(digits) + 4 or not equals or not value.endswith(b"\n"):
            raise DataError(f"{path}: {label!r} has a bad pax header")
        text_key = decode(path, key)
        if text_key in ("path", "size") or text_key.startswith("GNU.sparse"):
            records[text_key] = decode(path, value[:-1])
        place += length
    return records


def pax_size(path: Path, records: dict[str, str], label: str) -> int | None:
    """The size in a pax header, if it has one."""
    value = records.get("size")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise DataError(f"{path}: {label!r} has a bad size in its pax header")
    return int(value)


def decode(path: Path, name: bytes) -> str:
    """A name as text."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: the member {name[:80]!r} has a name that is not UTF-8") from None


def refuse_packed(path: Path, head: bytes) -> None:
    """A compressed archive cannot be read at random."""
    if head[:2] in PACKED and head[257:262] != b"ustar":
        kind, tool = PACKED[head[:2]]
        raise DataError(
            f"{path}: is compressed with {kind}, so no sample can be reached without reading all "
            f"before it; unpack it first ({tool}), pictures gain nothing from it"
        )


def check_end(path: Path, file: BinaryIO) -> None:
    """After the end mark only zeros may follow."""
    while chunk := file.read(2**20):
        if chunk.strip(b"\0"):
            raise DataError(
                f"{path}: goes on after its end mark, as when archives are joined end to end; "
                "keep them apart, or join them with tar --concatenate"
            )


def unfit(path: Path, name: str, what: str) -> DataError:
    """The error for a member that is no plain file."""
    return DataError(f"{path}: {name!r} is {what}; only plain files are read: make the tar again")
