"""Made speech for experiments: words of two phones, by voices, in rooms.

A phone is a fixed pair of resonances; a voice is a pitch, a length of the throat (which scales all
resonances), a pace and a share of breath; a room adds noise and reverberation, a telephone takes
the pitches away that it does not carry.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.mel import FFT, HOP, RATE, log_power, scaled

PHONES = (  # resonances in Hz
    *((300, 2300), (400, 2000), (600, 1800), (750, 1250)),
    *((570, 900), (320, 800), (480, 1400), (250, 1600)),
)
WORDS = ((0, 3), (1, 4), (2, 5), (3, 6), (4, 7), (5, 0), (6, 1), (7, 2), (0, 5), (3, 1))
WIDTH = 90.0  # of a resonance, Hz
PHONE, PAUSE = 0.065, 0.03  # seconds of a phone, and between words
MELS, FRAMES, MOST = 40, 96, 4  # bins and frames of a window; words at most

Samples = Float[np.ndarray, " s"]


class Voice(NamedTuple):
    """Who speaks."""

    pitch: float  # Hz
    scale: float  # of all resonances
    pace: float  # how many times faster
    breath: float  # share of noise in the sound


class Room(NamedTuple):
    """Where; the ratio of speech to noise in dB (None: none), seconds of reverberation to a
    thousandth, and the highest pitch that is carried in Hz (None: all)."""

    noise: float | None = None
    echo: float = 0.0
    top: float | None = None


ONE = Voice(120.0, 1.0, 1.0, 0.02)
CLEAN = Room()


def voice(g: np.random.Generator) -> Voice:
    """One of many."""
    return Voice(
        float(90 * 2 ** g.uniform(0, 1.5)),
        float(2 ** g.uniform(-0.3, 0.3)),
        float(g.uniform(0.8, 1.25)),
        float(g.uniform(0.01, 0.2)),
    )


def room(g: np.random.Generator) -> Room:
    """One of many: every second is noisy, every second reverberates."""
    noise = float(g.uniform(0, 20)) if g.random() < 0.5 else None
    return Room(noise, float(g.uniform(0.1, 0.5)) if g.random() < 0.5 else 0.0)


def said(words: tuple[int, ...], who: Voice, g: np.random.Generator) -> Samples:
    """The samples of some words; pitch and lengths vary a little from phone to phone."""
    parts: list[Samples] = [np.zeros(int(g.uniform(0, 0.04) * RATE), np.float32)]
    for word in words:
        for phone in WORDS[word]:
            count = int(PHONE * RATE / who.pace * g.uniform(0.9, 1.1))
            pitch = who.pitch * g.uniform(0.95, 1.05)
            tones = pitch * np.arange(1, int(3600 / pitch) + 1)
            level = sum(
                1 / (1 + ((tones - who.scale * at) / WIDTH) ** 2) for at in PHONES[phone]
            ) / np.sqrt(tones)
            time = np.arange(count) / RATE
            phase = 2 * np.pi * g.random(len(tones))
            wave = np.sin(2 * np.pi * np.outer(time, tones) + phase) @ level
            parts.append((wave * np.hanning(count)).astype(np.float32))
        parts.append(np.zeros(int(PAUSE * RATE / who.pace), np.float32))
    sound = np.concatenate(parts)
    sound /= max(1e-6, float(np.sqrt(np.mean(sound**2))))
    return sound + who.breath * g.standard_normal(len(sound)).astype(np.float32)


def placed(sound: Samples, where: Room, g: np.random.Generator) -> Samples:
    """The same in a room; as long as it was."""
    count = len(sound)
    waves = np.fft.rfft(sound, 2 * count)
    if where.echo:
        tail = int(where.echo * RATE)
        answer = g.standard_normal(tail) * 10 ** (-3 * np.arange(tail) / tail) * 0.05
        answer[0] = 1.0
        waves = waves * np.fft.rfft(answer, 2 * count)
    if where.top is not None:
        tones = np.fft.rfftfreq(2 * count, 1 / RATE)
        waves = waves * (1 / (1 + (tones / where.top) ** 8))
    out = np.fft.irfft(waves, 2 * count)[:count].astype(np.float32)
    if where.noise is not None:
        power = float(np.sqrt(np.mean(out**2))) * 10 ** (-where.noise / 20)
        out = out + power * g.standard_normal(count).astype(np.float32)
    return out


def heard(sound: Samples) -> Float[Tensor, "m f"]:
    """What the encoder reads: the library's spectrogram of a window."""
    whole = np.zeros((FRAMES - 1) * HOP + FFT, np.float32)
    whole[: len(sound)] = sound[: len(whole)]
    log = log_power(torch.from_numpy(whole), MELS)
    return scaled(log, log.max())


class Speech(NamedTuple):
    """Windows and the words in them."""

    mel: Float[Tensor, "n m f"]
    words: list[tuple[int, ...]]


def speech(count: int, many: bool, g: np.random.Generator, where: Room | None = None) -> Speech:
    """Utterances of two to four words, by one voice or by many.

    Args:
        where: the room; None: a new one each time.
    """
    mels, texts = [], []
    for _ in range(count):
        words = tuple(g.integers(0, len(WORDS), int(g.integers(2, MOST + 1))).tolist())
        sound = said(words, voice(g) if many else ONE, g)
        mels.append(heard(placed(sound, room(g) if where is None else where, g)))
        texts.append(words)
    return Speech(torch.stack(mels), texts)
