"""The log-mel front end of Whisper: 16 kHz samples to 100 frames a second.

Radford et al. 2022, section 2.2; the numbers are those of the released code. Mel filters are
Slaney's (1998): linear to 1 kHz, logarithmic above, each of the same area.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

RATE, FFT, HOP = 16000, 400, 160
WINDOW_SECONDS = 30
WINDOW_SAMPLES = WINDOW_SECONDS * RATE
WINDOW_FRAMES = WINDOW_SAMPLES // HOP
LEAST, REACH = 1e-10, 8.0  # power that counts as none; how far below the loudest anything counts
SILENCE = math.log10(LEAST)


@lru_cache(maxsize=8)
def filters(mels: int, rate: int = RATE, fft: int = FFT) -> Float[Tensor, "m f"]:
    """Triangles over the frequencies of a Fourier transform, from 0 to half the rate."""
    top = _mel(torch.tensor(rate / 2, dtype=torch.float64))
    edges = _hertz(torch.linspace(0, float(top), mels + 2, dtype=torch.float64))
    tones = torch.linspace(0, rate / 2, fft // 2 + 1, dtype=torch.float64)
    width = edges.diff()
    slopes = edges[:, None] - tones[None]
    rising, falling = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (torch.minimum(rising, falling).clamp(min=0) * area[:, None]).float()


def centres(mels: int) -> Float[Tensor, " m"]:
    """The frequency that each mel bin stands for, in Hz."""
    top = float(_mel(torch.tensor(RATE / 2, dtype=torch.float64)))
    return _hertz(torch.linspace(0, top, mels + 2, dtype=torch.float64))[1:-1]


STEP = math.log(6.4) / 27  # of a mel above 1 kHz, which is mel 15


def _mel(hertz: Tensor) -> Tensor:
    high = 15 + (hertz.clamp(min=1000) / 1000).log() / STEP
    return torch.where(hertz < 1000, hertz * 3 / 200, high)


def _hertz(mel: Tensor) -> Tensor:
    return torch.where(mel < 15, mel * 200 / 3, 1000 * ((mel.clamp(min=15) - 15) * STEP).exp())


def log_power(samples: Float[Tensor, "*b s"], mels: int) -> Float[Tensor, "*b m n"]:
    """log10 of the mel power of every whole frame of 400 samples, 160 apart; nothing is padded."""
    hann = torch.hann_window(FFT, device=samples.device, dtype=samples.dtype)
    spectrum = torch.stft(samples, FFT, HOP, window=hann, center=False, return_complex=True)
    power = spectrum.abs() ** 2
    bank = filters(mels).to(samples.device, samples.dtype)
    return (bank @ power).clamp(min=LEAST).log10()


def scaled(log: Float[Tensor, "*b m n"], loudest: Tensor | float) -> Float[Tensor, "*b m n"]:
    """What the encoder reads: nothing more than 8 below the loudest, then (x + 4) / 4."""
    floor = torch.as_tensor(loudest, dtype=log.dtype, device=log.device) - REACH
    return (torch.maximum(log, floor) + 4) / 4


def log_mel(samples: Float[Tensor, " s"], mels: int, padding: int = 0) -> Float[Tensor, "m n"]:
    """The spectrogram of one sound, `padding` samples of silence behind it.

    Frames are centred (the sound is mirrored at both ends), and the last one is dropped.

    Raises:
        ValueError: fewer than 201 samples with the padding: nothing to mirror.
    """
    x = F.pad(samples, (0, padding))
    if x.shape[0] <= FFT // 2:
        raise ValueError(f"a sound of {x.shape[0]} samples is too short for one frame of {FFT}")
    x = F.pad(x[None, None], (FFT // 2, FFT // 2), mode="reflect")[0, 0]
    log = log_power(x, mels)[:, :-1]
    return scaled(log, log.max())


def sinusoids(count: int, width: int) -> Float[Tensor, "n d"]:
    """Fixed positions: all sines, then all cosines, of wavelengths from 2 pi to 20000 pi."""
    scale = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(count)[:, None] * scale[None]
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class SoundEmbed(nn.Module):
    """Two convolutions over frames, the second halving their number, and fixed positions.

    Args:
        frames: tokens that come out, half as many as frames go in.
    """

    def __init__(self, mels: int, frames: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv1d(mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.act = nn.GELU()
        self.pos: Tensor
        self.register_buffer("pos", sinusoids(frames, width))

    def forward(self, mel: Float[Tensor, "b m f"]) -> Float[Tensor, "b n d"]:
        """Raises ValueError where there are more or fewer frames than the model reads."""
        count, mels = 2 * self.pos.shape[0], self.conv1.in_channels
        if mel.shape[1:] != (mels, count):
            raise ValueError(
                f"this model reads {mels} mel bins of {count} frames, not {tuple(mel.shape[1:])}"
            )
        x = self.act(self.conv2(self.act(self.conv1(mel))))
        return x.transpose(1, 2) + self.pos
