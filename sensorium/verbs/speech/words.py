"""Word times: tokens aligned with the sound, joined to words, and the odd ones set right.

After the released code of Whisper, whose rules of thumb these are.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.data.tokenizers.spoken import STEP, Spoken
from sensorium.nn.generate.speaks import laid
from sensorium.nn.hear.align import looked, path
from sensorium.types import Ids
from sensorium.verbs.speech.result import Segment, Word

BEFORE = "\"'“¿([{-"  # punctuation that belongs to the next word
AFTER = "\"'.。,，!！?？:：”)]}、"  # and to the one before
ENDS = ".。!！?？"
LONGEST_MEDIAN = 0.7  # seconds


class Looks(Protocol):
    """Says what a text's tokens looked at in a memory."""

    def looks(
        self, memory: Float[Tensor, "1 n d"], text: Ids, heads: Sequence[tuple[int, int]]
    ) -> tuple[Float[Tensor, "t v"], Float[Tensor, "a t n"]]: ...


class Aligner(NamedTuple):
    """What word times are read off."""

    net: Looks
    spoken: Spoken
    heads: tuple[tuple[int, int], ...]
    task: str


class _Timing:
    """A word with its tokens and times in the window; emptied when it is joined to another."""

    def __init__(self, text: str, ids: list[int], start: float, end: float, chance: float):
        self.text, self.ids, self.start, self.end, self.chance = text, ids, start, end, chance

    @property
    def length(self) -> float:
        return self.end - self.start


@torch.inference_mode()
def aligned(
    aligner: Aligner,
    memory: Float[Tensor, "1 n d"],
    ids: Sequence[int],
    language: str,
    frames: int,
) -> list[_Timing]:
    """The words of a window's text with their times in it.

    Args:
        frames: of the window that hold sound.
    """
    spoken = aligner.spoken
    if not ids:
        return []
    start = spoken.start(language, aligner.task)
    whole = [*start, spoken.no_stamps, *ids, spoken.eot]
    text = laid([whole], memory.device)
    logits, scores = aligner.net.looks(memory, text, aligner.heads)
    chances = logits[len(start) :, : spoken.eot].float().softmax(-1)
    said = chances[torch.arange(len(ids)), torch.tensor(ids)].tolist()
    matrix = looked(scores[:, :, : frames // 2])[len(start) : -1]
    tokens, steps = path(-matrix.double().cpu().numpy())
    words, parts = spoken.split([*ids, spoken.eot], language)
    if len(parts) <= 1:
        return []
    bounds = np.cumsum([0, *(len(part) for part in parts[:-1])])
    moved = np.diff(tokens, prepend=-1).astype(bool)
    times = steps[moved] * STEP
    return [
        _Timing(word, part, float(times[a]), float(times[z]), float(np.mean(said[a:z])))
        for word, part, a, z in zip(words[:-1], parts[:-1], bounds[:-1], bounds[1:], strict=True)
    ]


def timed(
    aligner: Aligner,
    memory: Float[Tensor, "1 n d"],
    segments: Sequence[Segment],
    language: str,
    offset: float,
    frames: int,
    spoke: float,
) -> list[Segment]:
    """Segments of one window with their words; their ends are moved to those of their words.

    Args:
        offset: where the window starts, in seconds.
        spoke: when the last word before it ended.
    """
    eot = aligner.spoken.eot
    texts = [[i for i in segment.ids if i < eot] for segment in segments]
    timings = aligned(aligner, memory, [i for text in texts for i in text], language, frames)
    lengths = [t.length for t in timings if t.length]
    median = min(LONGEST_MEDIAN, float(np.median(lengths))) if lengths else 0.0
    if lengths:
        _cut(timings, 2 * median)
    _joined(timings)
    out, at = [], 0
    for segment, text in zip(segments, texts, strict=True):
        count, words = 0, []
        while at < len(timings) and count < len(text):
            one = timings[at]
            if one.text:
                times = round(offset + one.start, 2), round(offset + one.end, 2)
                words.append(Word(one.text, *times, one.chance))
            count += len(one.ids)
            at += 1
        out.append(_edged(segment, words, median, spoke))
        spoke = out[-1].end if words else spoke
    return out


def _cut(timings: Sequence[_Timing], most: float) -> None:
    """The end of a sentence, and the word after it, are no longer than twice the median word."""
    for before, one in pairwise(timings):
        if one.length > most:
            if one.text in ENDS:
                one.end = one.start + most
            elif before.text in ENDS:
                one.start = one.end - most


def _joined(timings: Sequence[_Timing]) -> None:
    """Punctuation becomes part of its word."""
    after = len(timings) - 1
    for at in range(len(timings) - 2, -1, -1):
        one, next_one = timings[at], timings[after]
        if one.text.startswith(" ") and one.text.strip() in BEFORE:
            next_one.text, next_one.ids = one.text + next_one.text, one.ids + next_one.ids
            one.text, one.ids = "", []
        else:
            after = at
    before = 0
    for at in range(1, len(timings)):
        one, last = timings[at], timings[before]
        if not last.text.endswith(" ") and one.text in AFTER:
            last.text, last.ids = last.text + one.text, last.ids + one.ids
            one.text, one.ids = "", []
        else:
            before = at


def _edged(segment: Segment, words: list[Word], median: float, spoke: float) -> Segment:
    """The segment with its words: the first ones after a pause shortened, ends made to agree."""
    if not words:
        return segment
    most = 2 * median
    first = words[0]
    pause = first.end - spoke > 4 * median
    two = len(words) > 1 and words[1].end - first.start > 2 * most
    if pause and (first.end - first.start > most or two):
        if len(words) > 1 and words[1].end - words[1].start > most:
            border = max(words[1].end / 2, words[1].end - most)
            first, words[1] = first._replace(end=border), words[1]._replace(start=border)
        first = first._replace(start=max(0, first.end - most))
    start, end = segment.start, segment.end
    if start < first.end and start - 0.5 > first.start:
        first = first._replace(start=max(0, min(first.end - median, start)))
    else:
        start = first.start
    words[0] = first
    last = words[-1]
    if end > last.start and end + 0.5 < last.end:
        words[-1] = last._replace(end=max(last.start + median, end))
    else:
        end = last.end
    return segment._replace(start=start, end=end, words=tuple(words))
