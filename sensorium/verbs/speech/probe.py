"""What a net that listens says to a fixed sound: by this a checkpoint proves itself."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.forms.listener import Listener
from sensorium.nn.generate.speaks import laid
from sensorium.nn.mel import HOP, log_mel

SPARSE = 64  # of the encoder's states every so many are kept


def listens(net: nn.Module) -> bool:
    """Whether a net transcribes."""
    return isinstance(net, Listener)


def sounds() -> list[bytes]:
    """Two drawn sounds of 16-bit samples, 16 kHz: a rising tone, and steps of noise."""
    time = np.arange(16000) / 16000
    tone = np.sin(2 * math.pi * (200 + 900 * time) * time) * np.linspace(0.1, 0.8, 16000)
    wave = np.sin(np.arange(24000) ** 2 * 0.37) * (np.arange(24000) // 3000 % 2) * 0.5
    return [(x * 32767).astype("<i2").tobytes() for x in (tone, wave)]


@torch.inference_mode()
def heard(net: nn.Module, sound: bytes) -> dict[str, Tensor]:
    """The spectrogram of a sound, states of the encoder, and scores of a few tokens.

    Raises:
        ValueError: the net does not listen, or the sound is not of 16-bit samples.
    """
    if not isinstance(net, Listener) or len(sound) % 2:
        raise ValueError("this probe needs a net that listens, and a sound of 16-bit samples")
    parameter = next(net.parameters())
    count = 2 * net.get_buffer("embed.pos").shape[0] * HOP
    mels = net.get_parameter("embed.conv1.weight").shape[1]
    samples = torch.from_numpy(np.frombuffer(sound, "<i2").astype(np.float32) / 32768)[:count]
    mel = log_mel(samples, mels, count - len(samples))
    memory = net.encode(mel[None].to(parameter.device, parameter.dtype))
    ids = [i % net.vocab for i in (1, 20, 300, 4000)]
    cache = net.listen(memory, len(ids))
    scores = net.extend(laid([ids], memory.device), cache)
    said = {"mel": mel[:, ::SPARSE], "memory": memory[0, ::SPARSE], "scores": scores[0]}
    return {name: value.float().cpu() for name, value in said.items()}
