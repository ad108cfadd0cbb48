"""Sound from a pipe: in any pieces, WAV of any kind or bare samples."""

import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from sensorium.media.audio import read_audio
from sensorium.media.audio_stream import coming_blocks
from sensorium.media.budget import MediaError


class Pipe(io.BytesIO):
    """Gives a few bytes at a time, as a pipe does."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(777)


def heard(data: bytes, rate: int = 16000) -> np.ndarray:
    return np.concatenate([*coming_blocks(Pipe(data), "pipe", rate)])


def samples(count: int) -> np.ndarray:
    return (np.random.default_rng(0).uniform(-0.9, 0.9, count)).astype(np.float32)


def wav(body: bytes, code: int, bits: int, channels: int, length: int | None = None) -> bytes:
    width = bits // 8 * channels
    head = struct.pack("<HHIIHH", code, channels, 16000, 16000 * width, width, bits)
    size = len(body) if length is None else length
    more = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt "
        + struct.pack("<I", 16)
        + head
        + more
        + b"data"
        + (struct.pack("<I", size) + body)
    )


def test_bare_samples_in_any_pieces() -> None:
    x = (samples(5001) * 32767).astype("<i2")
    assert np.array_equal(heard(x.tobytes()), x.astype(np.float32) / 32768)
    assert np.array_equal(heard(x.tobytes() + b"\x01"), x.astype(np.float32) / 32768)


def kinds() -> Iterator[tuple[int, int, bytes]]:
    x = samples(4000)
    yield 1, 8, ((x * 127) + 128).astype(np.uint8).tobytes()
    yield 1, 16, (x * 32767).astype("<i2").tobytes()
    wide = (x * (1 << 23)).astype("<i4")
    yield 1, 24, wide.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    yield 1, 32, (x.astype(np.float64) * (1 << 31)).astype("<i4").tobytes()
    yield 3, 32, x.tobytes()


@pytest.mark.parametrize(("code", "bits", "body"), list(kinds()))
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_is_read_as_from_a_file(code: int, bits: int, body: bytes, channels: int) -> None:
    whole = wav(body, code, bits, channels)
    assert np.abs(heard(whole) - read_audio(whole)).max() < 1e-6
    streamed = wav(body, code, bits, channels, length=0xFFFFFFFF)  # as a recorder writes it
    assert np.array_equal(heard(streamed), heard(whole))


def test_other_rates_are_brought_to_16_khz() -> None:
    x = (samples(8000) * 32767).astype("<i2").tobytes()
    assert abs(len(heard(x, rate=8000)) - 16000) <= 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no sound came"),
        (b"RIFF....AVI ", "begins like a WAV"),
        (b"RIFF....WAVEfmt ", "header ends"),
        (b"RIFF....WAVEfmt \xff\xff\xff\x7f", "it is damaged"),
        (wav(b"\0" * 8, 7, 8, 1), "another kind"),
        (wav(b"\0" * 8, 1, 16, 0), "0 channels"),
        (wav(np.full(4, np.nan, "<f4").tobytes(), 3, 32, 1), "is no number"),
    ],
)
def test_what_is_no_sound_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why):
        heard(data)
