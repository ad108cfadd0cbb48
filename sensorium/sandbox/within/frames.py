"""Messages over a pipe or socket: four bytes of length, then JSON."""

import json
import os
import struct
from collections.abc import Callable
from typing import Any

LONGEST = 64 << 20  # bytes of one message


def packed(message: Any) -> bytes:
    """A message as bytes."""
    text = json.dumps(message).encode("ascii")
    if len(text) > LONGEST:
        raise ValueError(f"a message of {len(text)} bytes is too long (at most {LONGEST})")
    return struct.pack("<I", len(text)) + text


def send(file: int, message: Any) -> None:
    """Writes a message to a descriptor that blocks."""
    rest = memoryview(packed(message))
    while rest:
        rest = rest[os.write(file, rest) :]


def receive(read: Callable[[int], bytes], longest: int = LONGEST) -> Any:
    """The next message; not a byte of the one after it is read.

    Args:
        read: gives at most so many bytes, b"" at the end.

    EOFError: the other side is gone. ValueError: it is too long or no JSON.
    """
    (length,) = struct.unpack("<I", exactly(read, 4))
    if length > longest:
        raise ValueError(f"a message of {length} bytes is too long (at most {longest})")
    return json.loads(exactly(read, length))


def exactly(read: Callable[[int], bytes], length: int) -> bytes:
    """So many bytes."""
    parts = []
    while length:
        part = read(min(length, 1 << 20))
        if not part:
            raise EOFError("the other side is gone")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def of(file: int) -> Callable[[int], bytes]:
    """Reads a descriptor that blocks."""
    return lambda length: os.read(file, length)
