"""A recording as the windows of a spectrogram, in memory that does not grow with its length.

What counts as silence depends on the loudest moment of the whole recording, so it is read twice:
once for that, once for the windows. A recording of up to half an hour is kept after the first time.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.mel import FFT, HOP, RATE, SILENCE, WINDOW_FRAMES, log_power, scaled

KEPT_FRAMES = 30 * 60 * RATE // HOP  # up to so many are kept: 58 MB of 80 mel bins
Read = Callable[[], Iterator[Float[np.ndarray, " s"]]]


class Spectrum:
    """Log-mel power of a sound that comes in blocks; the same as of the whole at once."""

    def __init__(self, mels: int):
        self.mels, self.samples = mels, 0
        self.held = np.zeros(0, np.float32)
        self.begun = False

    def push(self, block: Float[np.ndarray, " s"]) -> Float[Tensor, "m n"]:
        """The frames that became whole."""
        self.samples += len(block)
        return self._frames(block)

    def finish(self) -> Float[Tensor, "m n"]:
        """The frames that the last samples reach into; behind them is silence."""
        return self._frames(np.zeros(2 * FFT, np.float32))

    def _frames(self, block: Float[np.ndarray, " s"]) -> Float[Tensor, "m n"]:
        self.held = np.concatenate([self.held, block])
        half = FFT // 2
        if not self.begun and len(self.held) > half:  # the sound is mirrored at its beginning
            self.held = np.concatenate([self.held[half:0:-1], self.held])
            self.begun = True
        count = (len(self.held) - FFT) // HOP + 1 if self.begun else 0
        if count < 1:
            return torch.zeros(self.mels, 0)
        log = log_power(torch.from_numpy(self.held[: (count - 1) * HOP + FFT]), self.mels)
        self.held = self.held[count * HOP :].copy()
        return log


class Track:
    """A recording's spectrogram.

    Attributes:
        frames: how many there are, 100 a second; a last one that is not whole is not counted.
        samples: how many there are.
        loudest: the largest log power.

    Args:
        read: gives the recording's samples from the start, block by block; called once or twice.
        size: frames of a window, as many as the encoder reads.
        back: how many windows behind the latest can still be asked for.

    Raises:
        MediaError: as `read` does.
    """

    def __init__(self, read: Read, mels: int, size: int = WINDOW_FRAMES, back: int = 2):
        self.read, self.mels, self.size, self.loudest = read, mels, size, SILENCE
        self.back = back
        self._log, self._first = torch.zeros(mels, 0), 0
        self._rest: Iterator[Tensor] | None = None
        kept: list[Tensor] | None = []
        total = 0
        for log in self._stream():
            if log.shape[1]:
                self.loudest = max(self.loudest, float(log.max()))
            total += log.shape[1]
            if kept is not None:
                kept.append(log)
            if total > KEPT_FRAMES:
                kept = None
        if kept is not None:
            self._log, self._rest = torch.cat(kept, dim=1), iter(())

    def _stream(self) -> Iterator[Tensor]:
        spectrum = Spectrum(self.mels)
        for block in self.read():
            yield spectrum.push(block)
        yield spectrum.finish()
        self.frames, self.samples = spectrum.samples // HOP, spectrum.samples

    def log(self, start: int, count: int) -> Float[Tensor, "m n"]:
        """Log power of frames from `start` on, fewer at the end; `start` never goes back much.

        Raises:
            ValueError: it goes back behind what is kept.
        """
        if self._rest is None:
            self._rest = self._stream()
        while self._first + self._log.shape[1] < start + count:
            more = next(self._rest, None)
            if more is None:
                break
            self._log = torch.cat([self._log, more], dim=1)
            extra = start - self.back * self.size - self._first
            if extra > 0:
                self._log, self._first = self._log[:, extra:].clone(), self._first + extra
        if start < self._first:
            raise ValueError(
                f"frame {start} was let go of: {self._first} is the first that is kept"
            )
        return self._log[:, start - self._first : start - self._first + count]

    def window(self, start: int, count: int) -> Float[Tensor, "m f"]:
        """`count` frames as the encoder reads them, zeros behind them up to a window's length."""
        out = torch.zeros(self.mels, self.size)
        found = scaled(self.log(start, count), self.loudest)
        out[:, : found.shape[1]] = found
        return out

    def beginning(self) -> Float[Tensor, "m f"]:
        """The first window, silence behind a shorter recording: what a language is told by."""
        log = self.log(0, self.size)
        rest = torch.full((self.mels, self.size - log.shape[1]), SILENCE)
        return scaled(torch.cat([log, rest], dim=1), self.loudest)
