"""Where in a recording somebody speaks, and its times when the rest is left out."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from sensorium.nn.mel import RATE
from sensorium.nn.voice import CHUNK, VoiceDetector, silero
from sensorium.verbs.speech.result import Segment
from sensorium.weights.header import read_safetensors

FILE = "silero_vad_16k.safetensors"
KEPT_SAMPLES = 10 * 60 * RATE  # recordings up to here are decoded once and kept: 38 MB
Block = Float[np.ndarray, " s"]


class Voice(NamedTuple):
    """When it counts as speech.

    Attributes:
        begins, ends: the probability from which speech starts, and under which it ends.
        pause: seconds of silence inside what is kept together.
        least: seconds that speech has at least; shorter is noise.
        pad: seconds that are kept before and behind it.
    """

    begins: float = 0.5
    ends: float = 0.35
    pause: float = 2.0
    least: float = 0.1
    pad: float = 0.4


VOICE = Voice()


@lru_cache(maxsize=1)
def detector() -> VoiceDetector:
    """Silero's detector, its weights from the installed package, of which no code is run.

    Raises:
        ValueError: the package is not installed, or has other weights.
    """
    found = find_spec("silero_vad")
    if found is None or found.origin is None:
        raise ValueError(
            "telling speech from silence needs: pip install sensorium[audio]; or ask for"
            " transcription without it (voice=None, --no-voice)"
        )
    tensors, _ = read_safetensors(Path(found.origin).parent / "data" / FILE)
    return silero(tensors)


@torch.inference_mode()
def spoken_parts(blocks: Iterator[Block], voice: Voice) -> list[tuple[int, int]]:
    """The parts of a recording in which somebody speaks, as first sample and the one behind."""
    net = detector()
    state, held = net.start(), np.zeros(0, np.float32)
    chances: list[float] = []
    total = 0
    for block in blocks:
        total += len(block)
        held = np.concatenate([held, block])
        count = len(held) // CHUNK * CHUNK
        if count:
            chance, state = net(torch.from_numpy(held[:count]), state)
            chances += chance.tolist()
            held = held[count:]
    if len(held):
        chance, _ = net(torch.from_numpy(np.pad(held, (0, CHUNK - len(held)))), state)
        chances += chance.tolist()
    return parts(chances, total, voice)


def parts(chances: Sequence[float], total: int, voice: Voice) -> list[tuple[int, int]]:
    """Speech from its probabilities, step by step; `total` samples there are."""
    found: list[tuple[int, int]] = []
    begun: int | None = None
    quiet: int | None = None
    pause = voice.pause * RATE / CHUNK
    for step, chance in enumerate([*chances, *[0.0] * (int(pause) + 2)]):
        if chance >= voice.begins:
            begun, quiet = step if begun is None else begun, None
        elif begun is not None and chance < voice.ends:
            quiet = step if quiet is None else quiet
            if step - quiet >= pause:
                if (quiet - begun) * CHUNK >= voice.least * RATE:
                    found.append((begun * CHUNK, quiet * CHUNK))
                begun = quiet = None
    pad = int(voice.pad * RATE)
    out: list[tuple[int, int]] = []
    for start, end in found:
        start, end = max(0, start - pad), min(total, end + pad)
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], end
        else:
            out.append((start, end))
    return out


def only(blocks: Iterator[Block], kept: Sequence[tuple[int, int]]) -> Iterator[Block]:
    """The samples of those parts, one behind the other."""
    at = 0
    for block in blocks:
        for start, end in kept:
            a, z = max(start - at, 0), min(end - at, len(block))
            if a < z:
                yield block[a:z]
        at += len(block)


class Clock:
    """Times of the parts laid end to end as times of the recording they are from."""

    def __init__(self, kept: Sequence[tuple[int, int]]):
        self.kept = kept
        lengths = [end - start for start, end in kept]
        self.begins = np.cumsum([0, *lengths])[:-1] / RATE

    def __call__(self, time: float, end: bool = False) -> float:
        """The time in the recording; at a border, an `end` is that of the part before it."""
        side = "left" if end else "right"
        part = max(0, int(np.searchsorted(self.begins, time, side=side)) - 1)
        start, stop = self.kept[part]
        return round(float(min(start / RATE + time - self.begins[part], stop / RATE)), 3)

    def moved(self, segment: Segment) -> Segment:
        """A segment, and its words, at the recording's times."""
        words = [w._replace(start=self(w.start), end=self(w.end, True)) for w in segment.words]
        return segment._replace(
            start=self(segment.start), end=self(segment.end, True), words=tuple(words)
        )


def remembered(read: Callable[[], Iterator[Block]]) -> Callable[[], Iterator[Block]]:
    """The same blocks, decoded once where they are few; where they are many, each time anew."""
    blocks: list[Block] = []
    whole = [False]

    def again() -> Iterator[Block]:
        if whole[0]:
            yield from blocks
            return
        total, mine = 0, []
        for block in read():
            total += len(block)
            if total <= KEPT_SAMPLES:
                mine.append(block)
            else:
                mine = []
            yield block
        if total <= KEPT_SAMPLES:
            blocks[:], whole[0] = mine, True

    return again
