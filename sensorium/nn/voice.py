"""Silero's voice detector: whether somebody speaks, every 32 ms (Silero Team 2024, silero-vad)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

CHUNK, CONTEXT = 512, 64  # samples of a step, and of those before it that it sees too
TONES, WIDTH = 129, 128


class State(NamedTuple):
    """What the detector remembers: the last samples, and its recurrent state."""

    before: Float[Tensor, " c"]
    hidden: Float[Tensor, "1 1 d"]
    cell: Float[Tensor, "1 1 d"]


class VoiceDetector(nn.Module):
    """A short Fourier transform, four convolutions, a recurrent layer, one probability a step."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * TONES, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(TONES, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, WIDTH, 3, padding=1)
        self.lstm = nn.LSTM(WIDTH, WIDTH)
        self.final_conv = nn.Conv1d(WIDTH, 1, 1)

    def start(self) -> State:
        """The state before the first sample."""
        return State(torch.zeros(CONTEXT), *torch.zeros(2, 1, 1, WIDTH).unbind(0))

    def forward(
        self, samples: Float[Tensor, " s"], state: State
    ) -> tuple[Float[Tensor, " n"], State]:
        """The probability of speech for each 512 samples (16 kHz), and the state after them.

        Raises:
            ValueError: not whole steps.
        """
        if not len(samples) or len(samples) % CHUNK:
            raise ValueError(f"{len(samples)} samples are not whole steps of {CHUNK}")
        whole = torch.cat([state.before, samples])
        chunks = whole.unfold(0, CHUNK + CONTEXT, CHUNK)[:, None]
        waves = self.stft_conv(F.pad(chunks, (0, CONTEXT), mode="reflect"))
        x = (waves[:, :TONES] ** 2 + waves[:, TONES:] ** 2).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        seen, (hidden, cell) = self.lstm(x.permute(2, 0, 1).flatten(0, 1)[:, None], state[1:])
        chance = self.final_conv(seen[:, 0, :, None].relu()).sigmoid().flatten()
        return chance, State(whole[-CONTEXT:], hidden, cell)


def silero(tensors: dict[str, Tensor]) -> VoiceDetector:
    """The detector with the weights that silero-vad publishes (its 16 kHz safetensors).

    Raises:
        ValueError: they are not those of this detector.
    """
    named = {
        f"lstm.{name.removeprefix('lstm_cell.')}_l0" if name.startswith("lstm_cell.") else name: t
        for name, t in tensors.items()
    }
    net = VoiceDetector()
    wanted = {name: t.shape for name, t in net.state_dict().items()}
    if {name: t.shape for name, t in named.items()} != wanted:
        odd = sorted(set(named) ^ set(wanted))[:3] or "shapes differ"
        raise ValueError(f"these are not the weights of silero-vad's 16 kHz detector: {odd}")
    net.load_state_dict(named)
    return net.eval()
