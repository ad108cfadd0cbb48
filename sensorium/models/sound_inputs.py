"""Sounds as pictures, for models that see: a spectrogram whose rows are pitches.

A stretch of time is one column. Its three colours are the least, the mean and the largest log power
in it, so that clicks, which are shorter than a column, can be told from what goes on.
"""

import io
import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from sensorium.media import Transform
from sensorium.media.audio import AudioSource, read_audio
from sensorium.nn.mel import FFT, RATE, REACH, log_power
from sensorium.types import ImageLabel

Samples = Float[np.ndarray, " s"]
Picture = UInt8[np.ndarray, "y x c"]


class Frame(NamedTuple):
    """Which picture is made of a sound: its side in pixels, and how many seconds it shows."""

    pixels: int
    seconds: float


class Shifts(NamedTuple):
    """How a sound is changed in training.

    Attributes:
        mixed: the chance that another sound of the same kind is laid over it.
        loud: up to so many dB between the two.
        speed: faster or slower by up to so much.
        noise: the chance of white noise, 15 to 50 dB below.
        hidden: bands and stretches that are hidden, each up to a sixth of the picture.
    """

    mixed: float = 0.5
    loud: float = 10.0
    speed: float = 0.15
    noise: float = 0.3
    hidden: int = 2


def shown(samples: Samples, frame: Frame) -> Picture:
    """A sound's picture; high pitches above. A shorter sound is shown with silence behind it."""
    count = round(frame.seconds * RATE)
    whole = np.zeros(count, np.float32)
    whole[: min(count, len(samples))] = samples[:count]
    mirrored = np.pad(whole, FFT // 2, mode="reflect")
    log = log_power(torch.from_numpy(mirrored), frame.pixels)
    edges = np.linspace(0, log.shape[1], frame.pixels + 1).round().astype(int)
    columns = [log[:, a : max(z, a + 1)] for a, z in itertools.pairwise(edges)]
    colours = [torch.stack([c.amin(1), c.mean(1), c.amax(1)], dim=-1) for c in columns]
    plane = torch.stack(colours, dim=1).flip(0)
    level = ((plane - plane.max() + REACH) / REACH).clamp(min=0)
    return (level * 255).round().to(torch.uint8).numpy()


def drawn(source: AudioSource, frame: Frame, name: str | None = None) -> bytes:
    """A sound's picture as a PNG file, for every verb that reads pictures.

    Raises:
        MediaError: the sound cannot be read.
    """
    out = io.BytesIO()
    Image.fromarray(shown(read_audio(source, name=name), frame)).save(out, "PNG")
    return out.getvalue()


class SoundInputs:
    """Sounds of kinds to pixels and label, changed where there is an `rng`; and their `batch`.

    Args:
        look: normalises the picture.
        fellows: undecoded sounds of each kind, to be laid over each other.
    """

    def __init__(
        self, look: Transform, frame: Frame, shifts: Shifts, fellows: Sequence[Sequence[bytes]]
    ):
        self.look, self.frame, self.shifts, self.fellows = look, frame, shifts, fellows
        self.read = lru_cache(maxsize=1024)(read_audio)

    def one(
        self, sound: bytes, label: int, name: str, rng: np.random.Generator | None
    ) -> tuple[Picture, int]:
        """The picture, and the label.

        MediaError: the sound cannot be read; it is called `name`.
        """
        samples = read_audio(sound, name=name) if rng is None else self.read(sound, name=name)
        if rng is None:
            return shown(samples, self.frame), label
        samples = self.moved(samples, rng)
        if rng.random() < self.shifts.mixed:
            other = self.fellows[label][int(rng.integers(len(self.fellows[label])))]
            more = self.moved(self.read(other), rng)
            apart = 10 ** (rng.uniform(-1, 1) * self.shifts.loud / 20)
            samples = unit(samples) + np.float32(apart) * unit(more)
        if rng.random() < self.shifts.noise:
            hiss = rng.standard_normal(len(samples)).astype(np.float32)
            samples = unit(samples) + np.float32(10 ** (-rng.uniform(15, 50) / 20)) * hiss
        return hidden(shown(samples, self.frame), self.shifts.hidden, rng), label

    def moved(self, samples: Samples, rng: np.random.Generator) -> Float[np.ndarray, " t"]:
        """Faster or slower, and turned: its end stands before its beginning."""
        count = round(self.frame.seconds * RATE)
        pace = 1 + float(rng.uniform(-1, 1)) * self.shifts.speed
        at = (np.arange(count) * pace + rng.integers(len(samples))) % len(samples)
        return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)

    def batch(self, items: Sequence[tuple[Picture, int]]) -> ImageLabel:
        """Pictures and labels."""
        label = torch.tensor([y for _, y in items])
        return ImageLabel(self.look.batch([p for p, _ in items]), label)


def unit(samples: Samples) -> Samples:
    """Of mean power 1."""
    return samples / max(1e-6, float(np.sqrt(np.mean(samples**2))))


def hidden(picture: Picture, count: int, rng: np.random.Generator) -> Picture:
    """Bands of pitches and stretches of time set to their mean (Park et al. 2019)."""
    out, side = picture.copy(), len(picture)
    mean = picture.mean(axis=(0, 1)).astype(np.uint8)
    for axis in (0, 1):
        for _ in range(count):
            width = int(rng.integers(0, side // 6 + 1))
            first = int(rng.integers(0, side - width + 1))
            np.moveaxis(out, axis, 0)[first : first + width] = mean
    return out
