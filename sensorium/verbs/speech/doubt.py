"""What is probably made up, around silence: the rule of Whisper's released code.

A segment is odd when its first words are improbable, very short or very long. One with silence on
both sides is left out, and the recording is listened to again from behind the silence. It needs
word times.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.nn.mel import HOP, RATE
from sensorium.verbs.speech.result import Segment, Word
from sensorium.verbs.speech.words import AFTER, BEFORE

SECOND = RATE // HOP  # frames in a second
LOOKED = 8  # words of a segment
UNLIKELY, SHORT, LONG = 0.15, 0.133, 2.0  # a probability, seconds
EDGE = 2.0  # seconds at the ends of a window that count as silence beside it


class Place(NamedTuple):
    """Where the window is: its first frame, how many of its frames are of the recording, how many
    it has, how many the recording has; and when the last word before it ended, in seconds."""

    start: int
    size: int
    window: int
    total: int
    spoke: float


def oddness(word: Word) -> float:
    """How odd a word is; 0 where nothing is."""
    long = word.end - word.start
    return (
        float(word.probability < UNLIKELY)
        + max(0.0, SHORT - long) * 15
        + (long - LONG if long > LONG else 0.0)
    )


def odd(segment: Segment | None) -> bool:
    """Whether a segment is probably made up."""
    if segment is None or not segment.words:
        return False
    words = [w for w in segment.words if w.text not in BEFORE + AFTER][:LOOKED]
    score = sum(map(oddness, words))
    return score >= 3 or score + 0.01 >= len(words)


def spoken(segments: Sequence[Segment]) -> Segment | None:
    """The first segment that has words."""
    return next((s for s in segments if s.words), None)


def doubted(
    segments: Sequence[Segment], seek: int, single: bool, at: Place, least: float
) -> tuple[list[Segment], int, bool]:
    """What is left of a window's segments, the frame to go on from, and whether all was dropped.

    Args:
        seek: the frame to go on from where nothing is doubted.
        single: whether the text ended with a single timestamp.
        least: seconds from which silence counts.
    """
    offset, end = at.start / SECOND, (at.start + at.window) / SECOND
    words = [w for s in segments for w in s.words]
    if not single and words and words[-1].end > offset:
        late = end - words[-1].end > least
        seek = round(words[-1].end * SECOND) if late else at.start + at.size
    first = spoken(segments)
    if first is not None and odd(first) and first.start - offset > least:
        return [], at.start + round((first.start - offset) * SECOND), True
    before = at.spoke
    for number, one in enumerate(segments):
        if not one.words:
            continue
        if odd(one):
            after = spoken(segments[number + 1 :])
            begins = after.words[0].start if after is not None else offset + at.size / SECOND
            quiet_before = one.start - before > least or one.start < least
            quiet_after = begins - one.end > least or odd(after) or end - one.end < EDGE
            if (quiet_before or one.start - offset < EDGE) and quiet_after:
                seek = round(max(offset + 1, one.start) * SECOND)
                if at.total / SECOND - one.end < least:
                    seek = at.total
                return list(segments[:number]), seek, False
        before = one.end
    return list(segments), seek, False
