"""Transcription of a sound that is still coming, in buffers of fixed size.

What is held is one window. Every few seconds it is transcribed as far as it has come: pieces that
are closed by a pair of timestamps are final, as in the way through a recording (`longform`), and
the window moves on behind them; the rest may still change. With the voice detector a pause ends
what is open, and silence is never transcribed.

A recording is scaled by its loudest moment. Here that is the loudest *so far*: where a louder one
is still to come, what was said before it was scaled with less, and may come out other than from a
file.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.tokenizers.spoken import STEP
from sensorium.nn.mel import HOP, RATE, SILENCE, scaled
from sensorium.nn.voice import CHUNK
from sensorium.verbs.speech.longform import (
    SECOND,
    Answer,
    Ask,
    How,
    joined,
    repetition,
    silent,
    sliced,
    speaks,
    steadied,
)
from sensorium.verbs.speech.result import Segment
from sensorium.verbs.speech.run import Hearing, answers, checked, reads, told
from sensorium.verbs.speech.track import Spectrum
from sensorium.verbs.speech.voice import Voice, detector

Block = Float[np.ndarray, " s"]
T = TypeVar("T")
SURE = 5.0  # seconds after which the language is settled


class Heard(NamedTuple):
    """A piece of a live transcript. Not `final`: it may still change, and the next one stands in
    its place."""

    segment: Segment
    final: bool
    language: str


def live(
    model: Hearing, blocks: Iterable[np.ndarray], how: How, step: float = 2.0
) -> Iterator[Heard]:
    """What is said, while it is said. Memory does not grow with the sound.

    Args:
        blocks: mono samples of 16 kHz, in pieces of any length.
        how: as for recordings, without word times and cutting. At temperature 0 first; what is
            final may have been tried again.
        step: seconds after which what has come is looked at again.

    Raises:
        ValueError: a setting that means nothing here, or that the model has not.
    """
    if how.words or how.cut or not how.stamps or step <= 0:
        raise ValueError(
            "live: there are no word times and no pieces, timestamps are needed, and a step is"
            " above 0 s"
        )
    ear = _Ear(model, checked(model, how), step)
    count = max(CHUNK, int(step * RATE))
    for block in blocks:
        for start in range(0, len(block), count):
            yield from ear.hear(block[start : start + count])
    yield from ear.end()


class Buffer:
    """The log power of what has come and is not done with: a window and a step of it at most.

    Attributes:
        first: the frame of the sound that stands first in it.
        loudest: the largest log power so far, of all that came.
    """

    def __init__(self, mels: int, size: int):
        self.spectrum, self.size = Spectrum(mels), size
        self.log, self.first, self.loudest = torch.zeros(mels, 0), 0, SILENCE

    @property
    def frames(self) -> int:
        """How many frames are held."""
        return self.log.shape[1]

    def push(self, log: Float[Tensor, "m n"]) -> None:
        """Takes in frames that became whole."""
        if log.shape[1]:
            self.loudest = max(self.loudest, float(log.max()))
            self.log = torch.cat([self.log, log], dim=1)

    def drop(self, count: int) -> None:
        """Lets go of the first so many frames."""
        count = min(count, self.frames)
        self.log, self.first = self.log[:, count:].clone(), self.first + count

    def window(self, count: int) -> Float[Tensor, "m f"]:
        """The first `count` frames as the encoder reads them."""
        out = torch.zeros(self.spectrum.mels, self.size)
        out[:, :count] = scaled(self.log[:, :count], self.loudest)
        return out


class Mouth:
    """Whether somebody speaks in what is held, and for how long nobody has since, in seconds."""

    def __init__(self, voice: Voice):
        self.voice, self.net = voice, detector()
        self.state, self.held = self.net.start(), np.zeros(0, np.float32)
        self.spoke, self.quiet = False, 0.0

    @torch.inference_mode()
    def push(self, block: Block) -> None:
        """Listens on."""
        self.held = np.concatenate([self.held, block])
        count = len(self.held) // CHUNK * CHUNK
        if not count:
            return
        chances, self.state = self.net(torch.from_numpy(self.held[:count]), self.state)
        self.held = self.held[count:]
        for chance in chances.tolist():
            if chance >= self.voice.begins:
                self.spoke, self.quiet = True, 0.0
            elif self.spoke and (self.quiet or chance < self.voice.ends):
                self.quiet += CHUNK / RATE

    def forget(self) -> None:
        """Nobody has spoken yet."""
        self.spoke, self.quiet = False, 0.0


class _Ear:
    """What is held of the sound, and of what was said."""

    def __init__(self, model: Hearing, how: How, step: float):
        self.model, self.how, self.step = model, how, int(step * SECOND)
        self.buffer = Buffer(*reads(model))
        self.mouth = None if how.voice is None else Mouth(how.voice)
        self.language, self.settled = how.language, how.language is not None
        self.seen = 0  # frames that were looked at
        words = model.spoken.words
        self.first = words.encode(" " + how.prompt.strip()) if how.prompt else []
        self.hot = words.encode(" " + how.hotwords.strip()) if how.hotwords else []
        self.ids = [] if how.carry else self.first

    def hear(self, block: Block) -> Iterator[Heard]:
        """A little more of the sound."""
        buffer, mouth = self.buffer, self.mouth
        buffer.push(buffer.spectrum.push(block))
        if mouth is not None:
            mouth.push(block)
            if not mouth.spoke:
                buffer.drop(buffer.frames - round(mouth.voice.pad * SECOND))
                return
            if mouth.quiet >= mouth.voice.pause:
                yield from self.close()
                return
        while buffer.frames >= buffer.size:
            yield from self.look(buffer.size)
        if buffer.frames - self.seen >= self.step:
            yield from self.look(None)

    def end(self) -> Iterator[Heard]:
        """No more comes."""
        buffer = self.buffer
        buffer.push(buffer.spectrum.finish())
        whole = buffer.spectrum.samples // HOP - buffer.first
        buffer.log = buffer.log[:, : max(0, whole)]
        yield from self.close()

    def close(self) -> Iterator[Heard]:
        """All that is held is final."""
        buffer, mouth, left = self.buffer, self.mouth, self.buffer.frames
        if mouth is not None:
            over = mouth.quiet - mouth.voice.pad
            left = left - max(0, round(over * SECOND)) if mouth.spoke else 0
        while left > 0:
            before = buffer.first
            yield from self.look(min(left, buffer.size))
            left -= buffer.first - before
        if mouth is not None:
            buffer.drop(buffer.frames - round(mouth.voice.pad * SECOND))
            mouth.forget()
        self.seen = 0

    def look(self, final: int | None) -> Iterator[Heard]:
        """Transcribes what is held, and lets go of what is final.

        Args:
            final: so many frames end here; None: more is to come, and what is open stays so.
        """
        model, buffer, how = self.model, self.buffer, self.how
        spoken = model.spoken
        size = buffer.frames if final is None else final
        mel, offset = buffer.window(size), buffer.first / SECOND
        if not self.settled:
            self.language, _ = told(model, mel)
        assert self.language is not None
        how = how if final is not None else how._replace(temperatures=how.temperatures[:1])
        prompt = self.prompt(spoken.start(self.language, how.task))
        answer, search = self.asked(steadied(mel, prompt, spoken, how))
        said = answer.said
        self.seen = size
        if silent(said, how):
            self.done(size if final is not None else 0)
            return
        found, after, single = sliced(said.ids, spoken.stamp, offset, size)
        text = spoken.text(said.ids).strip()
        rest = (said.mean, repetition(text), said.no_speech, search.temperature)
        segments = [Segment(a, z, spoken.text(own), tuple(own), *rest) for a, z, own in found]
        open_ids = said.ids[sum(len(own) for _, _, own in found) :]
        kept = segments
        if final is None and (single or after == size):
            kept, open_ids = segments[:-1], list(segments[-1].ids)
            after = round((kept[-1].end - offset) * SECOND) if kept else 0
        self.settled |= bool(kept) or size > SURE * SECOND
        for segment in kept:
            if speaks(segment):
                yield Heard(segment, True, self.language)
        self.done(max(1, after) if final is not None else after)
        if how.condition and search.temperature <= 0.5:
            said_now = [i for s in kept if speaks(s) for i in s.ids]
            self.ids = [*self.ids, *said_now][-model.net.length // 2 :]
        else:
            self.ids = []
        if final is None and spoken.text(open_ids).strip():
            start = offset + after / SECOND
            if open_ids[0] >= spoken.stamp:
                start = max(start, offset + (open_ids[0] - spoken.stamp) * STEP)
            end = offset + size / SECOND
            piece = Segment(start, end, spoken.text(open_ids), tuple(open_ids), *rest)
            yield Heard(piece, False, self.language)

    def done(self, frames: int) -> None:
        """Lets go of frames that were looked at."""
        self.buffer.drop(frames)
        self.seen = max(0, self.seen - frames)

    def prompt(self, start: list[int]) -> list[int]:
        """What stands before the transcript."""
        half = self.model.net.length // 2 - 1
        front = self.hot + (self.first if self.how.carry else [])
        context = joined(front[:half], self.ids, half)
        return [self.model.spoken.start_of_prev, *context, *start] if context else start

    def asked(self, steps: Generator[Ask, Answer, T]) -> T:
        """Answers what is asked, until there is a result."""
        memories: dict[int, Tensor] = {}
        ask = next(steps)
        while True:
            answer = answers(self.model, {0: ask}, memories, self.how)[0]
            try:
                ask = steps.send(answer)
            except StopIteration as end:
                return end.value
