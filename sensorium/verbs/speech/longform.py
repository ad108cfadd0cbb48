"""Whisper's way through a recording longer than a window (Radford et al. 2022, section 4.5).

One recording is one generator: it asks for windows to be transcribed and is sent what was said, so
that the windows of many recordings can be transcribed together.
"""

import zlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from sensorium.data.tokenizers.spoken import STEP, Spoken
from sensorium.nn.hear.search import Said, Search
from sensorium.nn.mel import HOP, RATE
from sensorium.verbs.speech.doubt import Place, doubted
from sensorium.verbs.speech.result import Segment
from sensorium.verbs.speech.voice import Voice
from sensorium.verbs.speech.words import Aligner, timed

SECOND = RATE // HOP  # frames in a second
STRIDE = 2  # frames in a step of timestamps
STEADY = 0.5  # the highest temperature whose text is taken as context


class How(NamedTuple):
    """How recordings are transcribed; the defaults are the paper's, greedy.

    Attributes:
        language: a code; None: told from the first 30 s.
        task: "transcribe", or "translate" into English.
        temperatures: tried one after the other, until a text is neither repetitive nor unlikely.
        beams: of beam search at temperature 0; 1: greedy.
        best_of: texts drawn at temperatures above 0.
        patience, alpha: see `nn.hear.search.Search`.
        prompt: a text that seems to come before the recording: names, spelling, style.
        carry: `prompt` stands before every window, not the first alone.
        hotwords: names and terms that stand before the text of every window, as if they had just
            been said; with them and `carry` what was said before has less room.
        condition: each window is given the text before it.
        words: word times are worked out.
        stamps: times are told; without them a window's text is one segment.
        cut: the recording is cut at quiet moments into pieces of at most a window, which are worked
            on together; a piece does not see the text before it.
        doubt: with `words`, segments that are probably made up are left out where they stand
            between silences of so many seconds (see `doubt`). None: none is.
        ratio, logprob, silence: a text that packs better than `ratio` or whose tokens are less
            likely than `logprob` (log p, the mean) is tried again; one likelier silent than
            `silence` and less likely than `logprob` is none. None: not looked at.
        suppress: ids that are never said; -1 stands for symbols that nobody speaks.
        first: the latest start of a window's text in seconds; 0: any.
        seed: of the draws.
        voice: when it counts as speech; what is none is left out. None: all is listened to.
    """

    language: str | None = None
    task: str = "transcribe"
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    beams: int = 1
    best_of: int = 1
    patience: float = 1.0
    alpha: float | None = None
    prompt: str | None = None
    carry: bool = False
    hotwords: str | None = None
    condition: bool = True
    words: bool = False
    stamps: bool = True
    cut: bool = False
    doubt: float | None = None
    ratio: float | None = 2.4
    logprob: float | None = -1.0
    silence: float | None = 0.6
    suppress: tuple[int, ...] = (-1,)
    first: float = 1.0
    seed: int = 0
    voice: Voice | None = None


def settings(said: Mapping[str, Any]) -> How:
    """Settings by name.

    Raises:
        ValueError: one is not known; the message lists those there are.
    """
    if unknown := sorted(set(said) - set(How._fields)):
        known = ", ".join(How._fields)
        raise ValueError(f"unknown settings {', '.join(unknown)}; there are: {known}")
    return How(**said)


class Ask(NamedTuple):
    """A window to be transcribed; `mel` None: the last one again, otherwise searched."""

    mel: Float[Tensor, "m f"] | None
    prompt: list[int]
    search: Search


class Answer(NamedTuple):
    """What was said, and the memory of the window, which word times are read off."""

    said: Said
    memory: Float[Tensor, "1 n d"]


Listening = Generator[Ask, Answer, list[Segment]]


def repetition(text: str) -> float:
    """How many times shorter a text is when packed; 0 for none."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


@runtime_checkable
class Windows(Protocol):
    """What is gone through: frames, and windows of `size` of them."""

    frames: int
    size: int

    def window(self, start: int, count: int) -> Float[Tensor, "m f"]: ...


def listening(
    track: Windows, spoken: Spoken, language: str, how: How, length: int, aligner: Aligner | None
) -> Listening:
    """Goes through a recording window by window; gives its segments.

    Args:
        length: the decoder's context.
        aligner: works out word times; None: none are wanted.
    """
    start = [*spoken.start(language, how.task), *([] if how.stamps else [spoken.no_stamps])]
    first = spoken.words.encode(" " + how.prompt.strip()) if how.prompt else []
    half = length // 2 - 1
    hot = spoken.words.encode(" " + how.hotwords.strip())[:half] if how.hotwords else []
    ids, since, seek, spoke = list(first), 0, 0, 0.0
    out: list[Segment] = []
    while seek < track.frames:
        size = min(track.size, track.frames - seek)
        context = ids[since:]
        if how.carry:
            context = joined(first, ids[max(len(first), since) :], half)
        context = joined(hot, context, half)
        prompt = [spoken.start_of_prev, *context, *start] if context else start
        answer, search = yield from steadied(track.window(seek, size), prompt, spoken, how)
        said = answer.said
        if silent(said, how):
            seek += size
            continue
        offset = seek / SECOND
        found, after, single = sliced(said.ids, spoken.stamp, offset, size)
        text = spoken.text(said.ids).strip()
        segments = [
            Segment(
                a,
                z,
                spoken.text(own),
                tuple(own),
                said.mean,
                repetition(text),
                said.no_speech,
                search.temperature,
            )
            for a, z, own in found
        ]
        before, seek = seek, seek + after
        if aligner is not None:
            segments = timed(aligner, answer.memory, segments, language, offset, size, spoke)
            ends = [s.words[-1].end for s in segments if s.words]
            if ends and not single and ends[-1] > offset:
                seek = round(ends[-1] * SECOND)
            if how.doubt is not None:
                place = Place(before, size, track.size, track.frames, spoke)
                segments, seek, dropped = doubted(segments, seek, single, place, how.doubt)
                if dropped:
                    seek = max(seek, before + 1)
                    continue
                ends = [s.words[-1].end for s in segments if s.words]
            spoke = ends[-1] if ends else spoke
        seek = max(seek, before + 1)
        segments = [s if speaks(s) else s._replace(text="", ids=(), words=()) for s in segments]
        out += segments
        ids += [i for s in segments for i in s.ids]
        if not how.condition or search.temperature > STEADY:
            since = len(ids)
    return [s for s in out if s.text]


def joined(front: Sequence[int], rest: Sequence[int], most: int) -> list[int]:
    """What stands in front, whole where it fits, and as much as has room of the end of the rest."""
    front = list(front[-most:])
    room = most - len(front)
    return front + (list(rest[-room:]) if room else [])


def speaks(segment: Segment) -> bool:
    """Whether a segment has a length and a text."""
    return segment.start != segment.end and bool(segment.text.strip())


def steadied(
    mel: Float[Tensor, "m f"], prompt: list[int], spoken: Spoken, how: How
) -> Generator[Ask, Answer, tuple[Answer, Search]]:
    """Tries temperatures until a text is good enough; the last one's where none is."""
    window: Float[Tensor, "m f"] | None = mel
    found: tuple[Answer, Search] | None = None
    for temperature in how.temperatures:
        if temperature > 0:
            search = Search(temperature, best_of=how.best_of, alpha=how.alpha, seed=how.seed)
        else:
            search = Search(beams=how.beams, patience=how.patience, alpha=how.alpha)
        answer = yield Ask(window, prompt, search)
        window, found = None, (answer, search)
        said = answer.said
        again = how.ratio is not None and repetition(spoken.text(said.ids).strip()) > how.ratio
        if how.logprob is not None and said.mean < how.logprob:
            again = how.silence is None or said.no_speech <= how.silence
        if not again:
            break
    assert found is not None, "at least one temperature is tried"
    return found


def silent(said: Said, how: How) -> bool:
    """Whether what was said is taken for silence."""
    if how.silence is None or said.no_speech <= how.silence:
        return False
    return how.logprob is None or said.mean <= how.logprob


Piece = tuple[float, float, list[int]]


def sliced(
    ids: Sequence[int], stamp: int, offset: float, size: int
) -> tuple[list[Piece], int, bool]:
    """A window's tokens cut at pairs of timestamps.

    Args:
        offset: where the window starts, in seconds.
        size: its frames.

    Returns:
        The pieces with their start and end in seconds; how many frames to go on; whether the text
        ended with a single timestamp: nothing was said after it.
    """
    marks = [i >= stamp for i in ids]
    single = marks[-2:] == [False, True]
    cuts = [i for i in range(1, len(ids)) if marks[i - 1] and marks[i]]
    if not cuts:
        end = size / SECOND
        stamps = [i for i in ids if i >= stamp]
        if stamps and stamps[-1] != stamp:
            end = (stamps[-1] - stamp) * STEP
        return [(offset, offset + end, list(ids))], size, single
    if single:
        cuts.append(len(ids))
    pieces: list[Piece] = []
    last = 0
    for cut in cuts:
        own = list(ids[last:cut])
        times = (offset + (own[0] - stamp) * STEP, offset + (own[-1] - stamp) * STEP)
        pieces.append((*times, own))
        last = cut
    return pieces, size if single else min(size, (ids[last - 1] - stamp) * STRIDE), single
