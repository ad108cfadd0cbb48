"""The one door for untrusted sound: paths, bytes and arrays become blocks of mono samples.

The file's kind is told from its first bytes, never from its name. WAV, AIFF, FLAC, OGG (Vorbis,
Opus) and MP3 are read by libsndfile, films and other sound (m4a, webm, mkv, aac, avi) by FFmpeg's
libraries; both are optional (`pip install sensorium[audio]`, `[video]`). Sound is read in blocks,
so that memory does not grow with its length. Nothing is ever fetched.
"""

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from io import BufferedIOBase
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sensorium.media.budget import MediaError

AudioSource = bytes | str | os.PathLike[str] | np.ndarray
"""Where a sound may come from; an array holds mono samples of the wanted rate, from -1 to 1."""

RATE = 16000
BLOCK_SECONDS = 30
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|data:")


class AudioBudget(NamedTuple):
    """Upper bounds that hold before anything is decoded, or while it is."""

    bytes: int = 8 << 30  # of the file
    seconds: float = 24 * 3600.0
    channels: int = 64
    rate: int = 768_000  # samples a second in the file


AUDIO = AudioBudget()
Block = Float[np.ndarray, " s"]


def read_audio(
    source: AudioSource, rate: int = RATE, *, name: str | None = None, budget: AudioBudget = AUDIO
) -> Block:
    """All of a sound at once, mono, float32 from -1 to 1.

    Raises:
        MediaError: as `audio_blocks`.
    """
    return np.concatenate([*audio_blocks(source, rate, name=name, budget=budget)])


def audio_blocks(
    source: AudioSource, rate: int = RATE, *, name: str | None = None, budget: AudioBudget = AUDIO
) -> Iterator[Block]:
    """A sound piece by piece: mono (the mean of its channels), `rate` samples a second, float32.

    Args:
        name: what an error calls the sound; by default its path.

    Raises:
        MediaError: missing, no sound, damaged, truncated, without samples, over the budget, or
            with samples that are no numbers; or its kind needs an extra that is not installed.
    """
    called = name or (os.fspath(source) if isinstance(source, str | os.PathLike) else "<sound>")
    if isinstance(source, np.ndarray):
        pieces = _array(source, called)
    else:
        pieces = _opened(source, rate, called, budget)
    total = 0
    for piece in pieces:
        if not np.isfinite(piece).all():
            at = (total + int(np.argmin(np.isfinite(piece)))) / rate
            raise MediaError(f"{called}: a sample at {at:.3f} s is no number; the file is damaged")
        total += len(piece)
        if total > budget.seconds * rate:
            hours = budget.seconds / 3600
            raise MediaError(f"{called}: longer than the budget of {hours:g} hours; cut it")
        yield piece
    if not total:
        raise MediaError(f"{called}: holds no sound (0 samples)")


def _array(samples: np.ndarray, name: str) -> Iterator[Block]:
    if samples.ndim != 1 or samples.dtype.kind not in "fi":
        raise MediaError(f"{name}: an array of sound has one axis of numbers, not {samples.shape}")
    if samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / (np.iinfo(samples.dtype).max + 1)
    yield np.ascontiguousarray(samples, dtype=np.float32)


def _opened(
    source: bytes | str | os.PathLike[str], rate: int, name: str, budget: AudioBudget
) -> Iterator[Block]:
    with closing(_file(source, name, budget)) as file:
        head = file.read(64)
        file.seek(0)
        reader = _reader(head, name)
        if reader == "sndfile":
            whole(file, head, name)
            yield from resampled(*_sndfile(file, name, budget), rate)
        else:
            yield from _ffmpeg(file, reader, rate, name, budget)


def _file(source: bytes | str | os.PathLike[str], name: str, budget: AudioBudget) -> BufferedIOBase:
    if isinstance(source, bytes):
        size, file = len(source), io.BytesIO(source)
    else:
        path = os.fspath(source)
        if _URL.match(path):
            raise MediaError(f"{name}: this is a URL and nothing is fetched; download it first")
        try:
            file = open(path, "rb")  # noqa: SIM115 - closed by the caller
        except OSError as wrong:
            raise MediaError(f"{name}: {wrong.strerror}") from wrong
        info = os.fstat(file.fileno())
        size = info.st_size
        if not stat.S_ISREG(info.st_mode):
            file.close()
            raise MediaError(f"{name}: is no regular file")
    if not 0 < size <= budget.bytes:
        file.close()
        what = "is empty" if not size else f"has {size} bytes, over the budget of {budget.bytes}"
        raise MediaError(f"{name}: {what}")
    return file


def _reader(head: bytes, name: str) -> str:
    """Who reads a file that begins so: "sndfile", or FFmpeg's name for its container."""
    if head[:4] in (b"RIFF", b"RF64", b"FORM") and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        return "sndfile"
    if head[:4] in (b"fLaC", b"OggS", b".snd") or head[:3] == b"ID3":
        return "sndfile"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "sndfile" if head[1] & 0x06 else "aac"
    for magic, place, kind in FFMPEG:
        if head[place : place + len(magic)] == magic:
            return kind
    shown = head[:16]
    text = (
        " (it looks like text)" if shown.isascii() and shown.decode("ascii").isprintable() else ""
    )
    raise MediaError(
        f"{name}: is no sound of a known kind{text}: it begins with {shown!r}. Known are WAV, AIFF,"
        " FLAC, OGG, MP3, and with the extra `video` M4A, MP4, MOV, WebM, MKV, AAC and AVI"
    )


FFMPEG = (
    (b"ftyp", 4, "mov"),
    (b"\x1a\x45\xdf\xa3", 0, "matroska"),
    (b"AVI ", 8, "avi"),
    (b"FLV\x01", 0, "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, "asf"),
    (b"caff", 0, "caf"),
    (b"#!AMR", 0, "amr"),
)


def whole(file: BufferedIOBase, head: bytes, name: str) -> None:
    """Refuses a WAV or OGG file whose end is missing, which decoders take for a shorter one.

    A WAV file that was streamed says no length (0 or the largest number), and is taken as it is.

    Raises:
        MediaError: it is truncated.
    """
    size = file.seek(0, io.SEEK_END)
    if head[:4] == b"RIFF":
        at = 12
        while at + 8 <= size:
            file.seek(at)
            chunk = file.read(8)
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data" and length not in (0, 0xFFFFFFFF) and at + 8 + length > size:
                missing = at + 8 + length - size
                raise MediaError(
                    f"{name}: is truncated ({missing} bytes are missing); copy it anew"
                )
            at += 8 + length + (length & 1)
    elif head[:4] == b"OggS":
        file.seek(max(0, size - 70_000))
        tail = file.read()
        page = tail.rfind(b"OggS")
        last = tail[page:]
        body = 27 + last[26] + sum(last[27 : 27 + last[26]]) if len(last) > 27 else len(last) + 1
        if page < 0 or not last[5] & 4 or len(last) < body:
            raise MediaError(f"{name}: is truncated (its last page is missing); copy it anew")
    file.seek(0)


def _sndfile(file: BufferedIOBase, name: str, budget: AudioBudget) -> tuple[Iterator[Block], int]:
    """Blocks in the file's own rate, and that rate."""
    try:
        import soundfile
    except ImportError as wrong:
        raise MediaError(f"{name}: reading sound needs: pip install sensorium[audio]") from wrong
    try:
        raw: Any = file  # any object with read and seek, which soundfile's types do not say
        opened = soundfile.SoundFile(raw)
    except soundfile.LibsndfileError as wrong:
        raise MediaError(f"{name}: cannot be read as sound ({wrong.error_string})") from wrong
    _within(opened.channels, opened.samplerate, opened.frames, name, budget)

    def blocks() -> Iterator[Block]:
        done, step = 0, BLOCK_SECONDS * opened.samplerate
        try:
            while len(part := opened.read(step, dtype="float32", always_2d=True)):
                done += len(part)
                yield np.ascontiguousarray(part[:, 0] if part.shape[1] == 1 else part.mean(axis=1))
        except soundfile.LibsndfileError as wrong:
            at = done / opened.samplerate
            raise MediaError(
                f"{name}: is damaged after {at:.1f} s ({wrong.error_string})"
            ) from wrong
        if done < opened.frames and opened.format in ("FLAC", "WAV", "AIFF"):
            raise MediaError(
                f"{name}: is truncated ({done} of {opened.frames} samples are there); copy it anew"
            )

    return blocks(), opened.samplerate


def _within(channels: int, rate: int, frames: int, name: str, budget: AudioBudget) -> None:
    if not 0 < channels <= budget.channels or not 0 < rate <= budget.rate:
        most = f"{budget.channels} channels and {budget.rate} a second"
        raise MediaError(f"{name}: has {channels} channels of {rate} samples a second, over {most}")
    if frames > budget.seconds * rate and frames < 1 << 62:
        hours = budget.seconds / 3600
        raise MediaError(f"{name}: longer than the budget of {hours:g} hours; cut it")


def resampled(blocks: Iterator[Block], own: int, rate: int) -> Iterator[Block]:
    """Blocks of one rate in another. MediaError: the extra for that is not installed."""
    if own == rate:
        yield from blocks
        return
    try:
        import soxr
    except ImportError as wrong:
        raise MediaError(
            f"a sound of {own} samples a second is brought to {rate} by: pip install"
            " sensorium[audio]"
        ) from wrong
    stream: Any = soxr.ResampleStream(own, rate, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _ffmpeg(
    file: BufferedIOBase, container: str, rate: int, name: str, budget: AudioBudget
) -> Iterator[Block]:
    try:
        import av
    except ImportError as wrong:
        raise MediaError(
            f"{name}: this kind of file needs: pip install sensorium[video]"
        ) from wrong
    try:
        raw: Any = file  # any object with read and seek, which av's types do not say
        with av.open(raw, mode="r", format=container) as found:
            opened: Any = found
            if not opened.streams.audio:
                raise MediaError(
                    f"{name}: holds no sound, only {len(opened.streams)} other streams"
                )
            stream = opened.streams.audio[0]
            own, channels = stream.codec_context.sample_rate, stream.codec_context.channels
            _within(channels, own, 0, name, budget)
            planar = av.AudioResampler(format="fltp", layout=None, rate=own)

            def blocks() -> Iterator[Block]:
                for frame in opened.decode(stream):
                    for part in planar.resample(frame):
                        yield part.to_ndarray().mean(axis=0, dtype=np.float32)

            yield from resampled(blocks(), own, rate)
    except av.FFmpegError as wrong:
        raise MediaError(f"{name}: cannot be read as sound ({wrong.strerror or wrong})") from wrong
