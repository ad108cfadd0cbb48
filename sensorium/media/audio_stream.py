"""A sound still coming, from a pipe: WAV, or bare samples; never more of it than a block."""

import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from sensorium.media.audio import AUDIO, RATE, Block, resampled
from sensorium.media.budget import MediaError

READ = 1 << 15  # bytes at most at a time
CHUNK = 1 << 20  # of a header, before the sound
BARE = 1, 16  # bare samples: whole numbers of 16 bits, the least byte first


@runtime_checkable
class Coming(Protocol):
    """A file of bytes that gives what there is; `sys.stdin.buffer` is one."""

    def read(self, size: int = ..., /) -> bytes: ...
    def read1(self, size: int = ..., /) -> bytes: ...


class Kind(NamedTuple):
    """What samples are: WAV's code (1 whole numbers, 3 floating), bits, channels, rate."""

    code: int
    bits: int
    channels: int
    rate: int


def coming_blocks(file: Coming, name: str, rate: int = RATE) -> Iterator[Block]:
    """The sound as it comes: mono, 16 kHz, float32.

    Args:
        rate: of bare samples (16 bits, one channel); a WAV file says its own.

    Raises:
        MediaError: no sound came, a WAV header that makes no sense, or samples that are no numbers.
    """
    head = file.read(4)
    kind = Kind(*BARE, 1, rate)
    rest = head
    if head == b"RIFF":
        kind, rest = wav(file, name), b""
    if not 0 < kind.rate <= AUDIO.rate or not 0 < kind.channels <= AUDIO.channels:
        raise MediaError(f"{name}: {kind.channels} channels of {kind.rate} samples a second")
    yield from resampled(checked(samples(file, rest, kind), name), kind.rate, RATE)


def checked(blocks: Iterator[Block], name: str) -> Iterator[Block]:
    """The blocks; MediaError where one has a sample that is no number, or none came."""
    total = 0
    for block in blocks:
        if not np.isfinite(block).all():
            raise MediaError(f"{name}: a sample after {total} is no number; the sound is damaged")
        total += len(block)
        yield block
    if not total:
        raise MediaError(f"{name}: no sound came")


def samples(file: Coming, rest: bytes, kind: Kind) -> Iterator[Block]:
    """Blocks in the sound's own rate; `rest` was read before."""
    width = kind.bits // 8 * kind.channels
    while True:
        more = file.read1(READ)
        data = rest + more
        count = len(data) // width
        if count:
            yield decoded(data[: count * width], kind)
        rest = data[count * width :]
        if not more:
            return


def decoded(data: bytes, kind: Kind) -> Block:
    """Samples from bytes, the mean of all channels."""
    if kind.code == 3:
        flat = np.frombuffer(data, f"<f{kind.bits // 8}").astype(np.float32)
    elif kind.bits == 8:
        flat = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    elif kind.bits == 24:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat = wide.view("<i4")[:, 0].astype(np.float32) / (1 << 31)
    else:
        flat = np.frombuffer(data, f"<i{kind.bits // 8}").astype(np.float32)
        flat = flat / np.float32(1 << (kind.bits - 1))
    return flat.reshape(-1, kind.channels).mean(axis=1, dtype=np.float32)


def wav(file: Coming, name: str) -> Kind:
    """What a WAV header says, the file left where its samples begin.

    MediaError: it is none, or of samples that are not read.
    """
    if file.read(8)[4:] != b"WAVE":
        raise MediaError(f"{name}: begins like a WAV file and is none")
    kind: Kind | None = None
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise MediaError(f"{name}: the WAV header ends before the sound begins")
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            break
        body = file.read(length + (length & 1)) if length <= CHUNK else b""
        if len(body) < length:
            raise MediaError(f"{name}: a part of the WAV header has {length} bytes; it is damaged")
        if head[:4] == b"fmt " and length >= 16:
            code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
            if code == 0xFFFE and length >= 26:
                code = int.from_bytes(body[24:26], "little")
            kind = Kind(code, bits, channels, rate)
    if kind is None or (kind.code, kind.bits) not in (
        *((1, 8), (1, 16), (1, 24), (1, 32)),
        *((3, 32), (3, 64)),
    ):
        raise MediaError(f"{name}: WAV samples of another kind than 8 to 32 bits, or floating")
    return kind
