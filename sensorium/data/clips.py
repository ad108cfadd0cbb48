"""Recordings with what is said in them as a speech model is taught: its tokens, and which of them
are learnt (Radford et al. 2022, sections 2.1 and 2.3)."""

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.data.errors import DataError
from sensorium.data.tokenizers.spoken import STAMPS, STEP, WHOLE, Spoken


class Piece(NamedTuple):
    """What is said from `start` to `end`, in seconds of its window.

    `end` None: it is cut off by the end of the window, and only its start is told.
    """

    start: float
    end: float | None
    text: str


class Clip(NamedTuple):
    """A window of a recording, as the undecoded bytes of the whole, and what is said in it.

    Attributes:
        pieces: in their order; none where nobody speaks. One with `end` None is the last, and was
            cut.
        timed: whether the pieces' times are known; else there is one piece, which is the window.
        begin, end: the window in seconds of the recording; `end` None: to its end.
        task: "transcribe", or "translate" where the text is English and the sound is not.
        before: what was said before it, "" where that is not known.
        speaker: "" where that is not known.
    """

    sound: bytes
    pieces: tuple[Piece, ...]
    timed: bool
    begin: float
    end: float | None
    language: str
    task: str
    before: str
    speaker: str
    id: str


class Script(NamedTuple):
    """The tokens of a window, and which of them are learnt: not the text before, not the start."""

    ids: list[int]
    learnt: list[bool]


def script(
    spoken: Spoken,
    pieces: Sequence[Piece],
    start: Sequence[int],
    stamps: bool,
    before: Sequence[int],
    length: int,
) -> Script:
    """The tokens of a window: [previous text,] start, language, task, text or stamps, end.

    Args:
        pieces: none: nobody speaks, which is told by the token for that behind the start.
        start: what a transcript begins with (`Spoken.start`), the start itself first.
        stamps: whether times are told.
        before: ids of the text before; the last of them are taken that have a place.
        length: of the decoder's context.

    Raises:
        DataError: the text alone is longer than the context, or a time is outside the window.
    """
    body = [*start]
    if not pieces:
        body = [start[0], spoken.no_speech]
    elif stamps:
        for piece in pieces:
            body.append(stamp(spoken, piece.start))
            if piece.end is None:
                break
            body += [*encoded(spoken, piece.text, start), stamp(spoken, piece.end)]
    else:
        whole = " ".join(piece.text.strip() for piece in pieces if piece.end is not None)
        body += [spoken.no_stamps, *encoded(spoken, whole, start)]
    body.append(spoken.eot)
    if len(body) > length:
        raise DataError(
            f"its text has {len(body)} tokens, and the model reads {length}: cut it into pieces"
        )
    rest = min(len(before), length // 2 - 1, length - len(body) - 1)
    front = [spoken.start_of_prev, *before[len(before) - rest :]] if rest > 0 else []
    ids = [*front, *body]
    return Script(ids, [place > len(front) for place in range(len(ids))])


def encoded(spoken: Spoken, text: str, start: Sequence[int]) -> list[int]:
    """A text's ids; a space stands before it where its language has spaces between words."""
    codes = {i: code for code, i in spoken.languages.items()}
    lone = len(start) > 1 and codes.get(start[1]) in WHOLE and start[2] == spoken.transcribe
    return spoken.words.encode(text.strip() if lone else f" {text.strip()}")


def stamp(spoken: Spoken, time: float) -> int:
    """The token of a time in a window.

    DataError: no window has it.
    """
    step = round(time / STEP)
    if not 0 <= step < STAMPS:
        raise DataError(f"a time of {time:.2f} s: a window is from 0 to {(STAMPS - 1) * STEP:g} s")
    return spoken.stamp + step
