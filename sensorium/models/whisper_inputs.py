"""From recordings with what is said in them to what Whisper is trained on.

Sounds are changed as they are read: SpecAugment (Park et al. 2019), speed (Ko et al. 2015), the
vocal tract's length (Jaitly and Hinton 2013), another microphone, noise, short clips joined to
longer ones, silence in place of speech.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.data.clips import Clip, Piece, Script, script
from sensorium.data.errors import DataError
from sensorium.data.ragged import lay
from sensorium.data.tokenizers.spoken import STEP, Spoken
from sensorium.media.audio import audio_blocks
from sensorium.nn.mel import FFT, HOP, RATE, SILENCE, centres, log_power, scaled
from sensorium.types import Ids

Samples = Float[np.ndarray, " s"]
KEPT = 256 << 20  # bytes
LOWEST = 125.0  # Hz: below, all is changed alike
LEAST_SPEECH = 0.01  # seconds: a shorter sound is none


class Changes(NamedTuple):
    """How sounds and texts are changed in training. Chances are from 0 to 1.

    Attributes:
        stamps: the chance that times are told.
        prompt: that the text before is given, where it is known.
        joined: that a clip is joined with those that follow it.
        silence: that there is noise in place of speech, and nothing is said.
        speed: the sound is made faster or slower by up to so much, pitch with it.
        tract: frequencies are stretched by up to so much, as of longer or shorter vocal tracts.
        tone: frequencies are made up to so many dB louder or softer, as by another microphone.
        noise: the chance of white or pink noise, 5 to 40 dB below the speech.
        gap: up to so many seconds of silence before a clip.
        bands, band: how many bands of mel bins are masked, each of at most so many.
        spans, span: the same of time; `span` in frames, and at most a tenth of the sound.
    """

    stamps: float = 0.5
    prompt: float = 0.5
    joined: float = 0.3
    silence: float = 0.02
    speed: float = 0.1
    tract: float = 0.0
    tone: float = 0.0
    noise: float = 0.3
    gap: float = 0.3
    bands: int = 2
    band: int = 27
    spans: int = 2
    span: int = 100


CHANGES = Changes()


class Item(NamedTuple):
    """A window as the net reads it, and its tokens."""

    mel: Float[Tensor, "m f"]
    script: Script


class SpeechInputs:
    """Clips to spectrogram and tokens; changed where there is an `rng`.

    Args:
        mels, frames: what the net reads: bins, and tokens (two frames each).
        length: the decoder's context.

    Sounds that were read are kept, up to `KEPT` bytes in each process, so that a small data set is
    decoded once; they are known by the SHA-256 of their files and their place.
    """

    def __init__(self, spoken: Spoken, mels: int, frames: int, length: int, changes: Changes):
        self.spoken, self.mels, self.length = spoken, mels, length
        self.samples, self.changes = 2 * frames * HOP, changes
        self.kept: dict[tuple[bytes, float], Samples] = {}
        self.bytes = 0

    def __call__(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Item:
        """Of a chain of clips the first, or some joined.

        Raises:
            DataError: a clip without times is longer than the window, or its text than the context.
            MediaError: a sound cannot be read.
        """
        g, how = rng if rng is not None else np.random.default_rng(0), self.changes
        on = float(rng is not None)
        start = self.spoken.start(clips[0].language, clips[0].task)
        if g.random() < on * how.silence:
            sound = hiss(int(g.integers(HOP, self.samples)), g) * 10 ** g.uniform(-4, -1)
            return self.item(sound, script(self.spoken, [], start, False, [], self.length), rng)
        count = int(g.integers(1, len(clips) + 1)) if g.random() < on * how.joined else 1
        stamps = g.random() < on * how.stamps
        sound, pieces = self.window(clips[:count], stamps, rng)
        before = []
        if clips[0].before and g.random() < on * how.prompt:
            before = self.spoken.words.encode(" " + clips[0].before.strip())
        if on and how.tone:
            sound = toned(sound, how.tone, g)
        if g.random() < on * how.noise:
            power = np.sqrt(np.mean(sound**2)) * 10 ** (-g.uniform(5, 40) / 20)
            sound = sound + np.float32(power) * hiss(len(sound), g)
        made = script(self.spoken, pieces, start, stamps, before, self.length)
        return self.item(sound, made, rng)

    def window(
        self, clips: Sequence[Clip], stamps: bool, rng: np.random.Generator | None
    ) -> tuple[Samples, list[Piece]]:
        """The samples, and what is said in them. A joined clip that does not fit is cut off, where
        its start can be told, or left out."""
        parts: list[Samples] = []
        pieces: list[Piece] = []
        used = tokens = 0
        for number, clip in enumerate(clips):
            sound = self.heard(clip)
            gap = 0
            if rng is not None:
                pace = 1 + float(rng.uniform(-1, 1)) * self.changes.speed
                if len(sound) <= self.samples:  # what fits into the window is not made longer
                    pace = max(pace, len(sound) / self.samples)
                sound = sound if clip.timed else faster(sound, pace)
                gap = 0 if clip.timed else int(rng.uniform(0, self.changes.gap) * RATE)
            gap = max(0, min(gap, self.samples - used - (0 if number else len(sound))))
            begin, end = used + gap, used + gap + len(sound)
            tokens += sum(len(self.spoken.words.encode(p.text)) + 2 for p in clip.pieces)
            if number and (tokens > self.length // 2 or self.samples - begin < RATE // 10):
                break
            if end > self.samples:
                if not number:
                    what = f"has {len(sound) / RATE:.1f} s, and the model hears"
                    raise DataError(
                        f"{clip.id}: {what} {self.samples / RATE:g} s at a time: cut it, or give"
                        " the times of what is said in it as segments"
                    )
                if stamps:
                    parts += [np.zeros(gap, np.float32), sound[: self.samples - begin]]
                    pieces.append(Piece(begin / RATE, None, clip.pieces[0].text))
                break
            parts += [np.zeros(gap, np.float32), sound]
            pieces += clip.pieces if clip.timed else placed(clip.pieces, begin, end)
            used = end
        return self.cut(np.concatenate(parts), pieces, stamps)

    def heard(self, clip: Clip) -> Samples:
        """The clip's samples, as `heard` gives them."""
        key = sha256(clip.sound).digest(), clip.begin
        if key not in self.kept:
            sound = heard(clip, self.samples)
            if self.bytes + sound.nbytes > KEPT:
                return sound
            self.kept[key], self.bytes = sound, self.bytes + sound.nbytes
        return self.kept[key]

    def cut(
        self, sound: Samples, pieces: list[Piece], stamps: bool
    ) -> tuple[Float[np.ndarray, " t"], list[Piece]]:
        """Without stamps the sound ends where a piece begins that is cut off."""
        if stamps or not pieces or pieces[-1].end is not None:
            return sound, pieces
        last = max(HOP, int(pieces[-1].start * RATE))
        return sound[:last], pieces[:-1]

    def item(self, sound: Samples, made: Script, rng: np.random.Generator | None) -> Item:
        """The spectrogram, behind it silence as transcription has it, or as a short sound's own."""
        mel = spectrum(
            sound, self.mels, self.samples // HOP, rng is not None and rng.random() < 0.5
        )
        if rng is not None and self.changes.tract:
            mel = stretched(mel, 1 + float(rng.uniform(-1, 1)) * self.changes.tract)
        if rng is not None:
            mel = masked(mel, len(sound) // HOP, self.changes, rng)
        return Item(mel, made)

    def batch(self, items: Sequence[Item]) -> tuple[Ids, Bool[Tensor, " t"], Tensor]:
        """Texts end to end, which of their tokens are learnt, and the spectrograms."""
        text = lay([item.script.ids for item in items])
        learnt = torch.tensor([mark for item in items for mark in item.script.learnt])
        return text, learnt, torch.stack([item.mel for item in items])


def placed(pieces: Sequence[Piece], begin: int, end: int) -> list[Piece]:
    """What is said in a whole clip, from sample `begin` to `end`, in steps of timestamps."""
    first, last = (round(at / RATE / STEP) * STEP for at in (begin, end))
    return [Piece(first, last, piece.text) for piece in pieces]


def heard(clip: Clip, most: int) -> Samples:
    """The clip's samples; of one with an end no more than the window.

    Raises:
        DataError: there are next to none, or it is far longer than the window of `most` samples.
    """
    first = int(clip.begin * RATE)
    last = first + most if clip.end is not None else first + 4 * most
    parts, at = [], 0
    for block in audio_blocks(clip.sound, name=clip.id):
        parts.append(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
        if at >= last:
            break
    sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if len(sound) < LEAST_SPEECH * RATE:
        raise DataError(f"{clip.id}: has {len(sound)} samples from {clip.begin:g} s on: no speech")
    return sound


def faster(sound: Samples, pace: float) -> Float[np.ndarray, " t"]:
    """The sound played at so many times its speed, read off between its samples."""
    if pace == 1:
        return sound
    at = np.arange(0, len(sound) - 1, pace)
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)


def toned(sound: Samples, most: float, g: np.random.Generator) -> Float[np.ndarray, " s"]:
    """The sound as through another microphone: an octave is up to `most` dB louder or softer."""
    octaves = int(np.log2(RATE / 2 / LOWEST)) + 2
    waves = np.fft.rfft(sound)
    heard = np.log2(np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), LOWEST) / LOWEST)
    gain = np.interp(heard, np.arange(octaves), g.uniform(-most, most, octaves))
    return np.fft.irfft(waves * 10 ** (gain / 20), len(sound)).astype(np.float32)


def stretched(mel: Float[Tensor, "m f"], by: float) -> Float[Tensor, "m f"]:
    """What stood at a frequency stands at `by` times it; read off between bins, the last one held.

    Jaitly and Hinton 2013 (VTLP), but for the highest frequencies, which they squeeze.
    """
    hertz = centres(len(mel)).numpy()
    at = torch.from_numpy(np.interp(hertz / by, hertz, np.arange(len(mel))))
    low = at.floor().long()
    part = (at - low).to(mel.dtype)[:, None]
    return mel[low] * (1 - part) + mel[(low + 1).clamp(max=len(mel) - 1)] * part


def hiss(count: int, g: np.random.Generator) -> Samples:
    """White noise, or pink (each octave as loud as the next), of mean power 1."""
    noise = g.standard_normal(count).astype(np.float32)
    if g.random() < 0.5:
        waves = np.fft.rfft(noise)
        noise = np.fft.irfft(waves / np.sqrt(np.arange(1, len(waves) + 1)), count)
    return (noise / max(1e-9, float(np.sqrt(np.mean(noise**2))))).astype(np.float32)


def spectrum(sound: Samples, mels: int, frames: int, silent: bool) -> Float[Tensor, "m f"]:
    """The log-mel spectrogram of a short sound, filled up to `frames`.

    Args:
        silent: silence follows it, as in a short clip's; else zeros, as behind a recording's end.
    """
    samples = torch.from_numpy(np.ascontiguousarray(sound))
    half = FFT // 2
    if len(samples) <= half:
        samples = torch.nn.functional.pad(samples, (0, half + 1 - len(samples)))
    mirrored = torch.cat([samples[1 : half + 1].flip(0), samples, samples.new_zeros(FFT)])
    log = log_power(mirrored, mels)
    count = min(frames, len(sound) // HOP)
    if silent:
        log = log[:, :frames]
        rest = log.new_full((mels, frames - log.shape[1]), SILENCE)
        return scaled(torch.cat([log, rest], dim=1), log.max())
    out = torch.zeros(mels, frames)
    out[:, :count] = scaled(log[:, :count], log.max())
    return out


def masked(
    mel: Float[Tensor, "m f"], sound: int, how: Changes, g: np.random.Generator
) -> Float[Tensor, "m f"]:
    """Bands of bins and spans of the first `sound` frames set to their mean (Park et al., 2.2)."""
    out = mel.clone()
    sound = max(1, min(sound, mel.shape[1]))
    mean = float(mel[:, :sound].mean())
    for _ in range(how.bands):
        width = int(g.integers(0, min(how.band, len(mel)) + 1))
        first = int(g.integers(0, len(mel) - width + 1))
        out[first : first + width, :sound] = mean
    for _ in range(how.spans):
        width = int(g.integers(0, min(how.span, sound // 10) + 1))
        first = int(g.integers(0, sound - width + 1))
        out[:, first : first + width] = mean
    return out
