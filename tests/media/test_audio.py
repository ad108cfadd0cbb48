"""The door for sound: any rate and channels, by blocks; what is broken is refused by name."""

import io
from pathlib import Path

import numpy as np
import pytest

from sensorium.media.audio import AudioBudget, audio_blocks, read_audio
from sensorium.media.budget import MediaError

sf = pytest.importorskip("soundfile")


def tone(rate: int = 16000, seconds: float = 1.0, channels: int = 1) -> np.ndarray:
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * time)
    return np.stack([wave] * channels, axis=1).astype(np.float32)


def file(samples: np.ndarray, rate: int, kind: str, subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    sf.write(out, samples, rate, format=kind, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize(
    ("kind", "subtype", "rate", "channels"),
    [
        ("WAV", "PCM_U8", 8000, 1),
        ("WAV", "PCM_16", 16000, 2),
        ("WAV", "FLOAT", 192000, 8),
        ("FLAC", "PCM_24", 44100, 2),
        ("OGG", "VORBIS", 48000, 1),
        ("MP3", None, 44100, 2),
        ("AIFF", "PCM_16", 22050, 1),
    ],
)
def test_every_kind_rate_and_channel_count_becomes_mono_16_khz(
    kind: str, subtype: str | None, rate: int, channels: int
) -> None:
    data = file(tone(rate, 1.0, channels), rate, kind, subtype)
    found = read_audio(data)
    assert found.dtype == np.float32
    assert abs(len(found) - 16000) < 2500  # MP3 adds silence at both ends
    spectrum = np.abs(np.fft.rfft(found[: 16000 // 2]))
    assert abs(np.argmax(spectrum) * 2 - 440) <= 4
    assert abs(np.abs(found[2000:-2000]).max() - 0.5) < 0.03


def test_blocks_joined_are_the_whole() -> None:
    samples = tone(44100, 65.0)
    data = file(samples, 44100, "WAV")
    blocks = list(audio_blocks(data))
    assert len(blocks) > 2 and max(map(len, blocks)) < 40 * 16000
    soxr = pytest.importorskip("soxr")
    want = soxr.resample(read_audio(data, 44100), 44100, 16000)
    assert np.abs(np.concatenate(blocks) - want).max() < 1e-4


def test_a_film_is_heard(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    at = tmp_path / "film.mp4"
    with av.open(str(at), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        wave = tone(44100, 2.0)[:, 0]
        for start in range(0, len(wave) - 1024, 1024):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts = 44100, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found = read_audio(at)
    assert abs(len(found) / 16000 - 2) < 0.2 and 0.3 < np.abs(found).max() < 0.7


WAV = file(tone(), 16000, "WAV")
BROKEN = {
    "empty": (b"", "is empty"),
    "no samples": (file(tone()[:0], 16000, "WAV"), "holds no sound"),
    "text": (b"These are the words of a song\n" * 9, "no sound of a known kind"),
    "truncated": (WAV[:-9000], "is truncated"),
    "truncated ogg": (file(tone(), 16000, "OGG")[:-200], "is truncated"),
    "truncated flac": (file(tone(), 16000, "FLAC")[:-9000], "truncated|damaged"),
    "header alone": (WAV[:20], "cannot be read"),
    "noise": (b"RIFF\xff\xff\xff\xffWAVE" + bytes(range(256)) * 4, "cannot be read|truncated"),
    "not a number": (
        file(np.array([0, np.nan, 0.1], np.float32), 16000, "WAV", "FLOAT"),
        "is no number",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_in_one_line_that_names_the_file(name: str) -> None:
    data, why = BROKEN[name]
    with pytest.raises(MediaError, match=f"^talk: .*({why})") as found:
        read_audio(data, name="talk")
    assert "\n" not in str(found.value)


def test_the_kind_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    at = tmp_path / "song.mp3"
    at.write_bytes(WAV)
    assert len(read_audio(at)) == 16000


def test_urls_folders_and_budgets(tmp_path: Path) -> None:
    for source, why in (("https://x.org/a.wav", "URL"), (tmp_path, "directory|regular")):
        with pytest.raises(MediaError, match=why):
            read_audio(source)
    with pytest.raises(MediaError, match="the budget"):
        read_audio(WAV, budget=AudioBudget(seconds=0.36))
    with pytest.raises(MediaError, match="over the budget"):
        read_audio(WAV, budget=AudioBudget(bytes=100))
    with pytest.raises(MediaError, match="one axis"):
        read_audio(np.zeros((3, 3)))
