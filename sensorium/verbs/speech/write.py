"""Transcripts as files: text, JSON, subtitles (SubRip, WebVTT), a table of milliseconds."""

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sensorium.verbs.speech.result import Segment, Transcript, Word
from sensorium.weights.atomic import write_file


class Lines(NamedTuple):
    """How wide a line of subtitles is in letters, and how many stand together; None: any."""

    width: int | None = None
    count: int | None = None


class Subtitle(NamedTuple):
    """What is shown, and from when to when, in seconds."""

    start: float
    end: float
    text: str


def subtitles(transcript: Transcript, lines: Lines) -> Iterator[Subtitle]:
    """A segment each; with word times, one of more lines than `lines` allows becomes several."""
    for segment in transcript.segments:
        if segment.words and lines.width is not None:
            yield from _by_words(segment, lines.width, lines.count)
        else:
            text = segment.text.strip().replace("-->", "->")
            if lines.width is not None:
                text = "\n".join(textwrap.wrap(text, lines.width)) or text
            yield Subtitle(segment.start, segment.end, text)


def _by_words(segment: Segment, width: int, count: int | None) -> Iterator[Subtitle]:
    shown: list[list[Word]] = [[]]
    for word in segment.words:
        length = sum(len(w.text) for w in shown[-1])
        if shown[-1] and length + len(word.text.rstrip()) > width + 1:
            shown.append([])
        shown[-1].append(word)
    step = count or len(shown)
    for at in range(0, len(shown), step):
        part = shown[at : at + step]
        text = "\n".join("".join(w.text for w in line).strip() for line in part)
        yield Subtitle(part[0][0].start, part[-1][-1].end, text.replace("-->", "->"))


def stamp(seconds: float, hours: bool, point: str) -> str:
    """A time as 01:02:03.456; hours only where there are any, unless they are always shown."""
    total = round(max(0.0, seconds) * 1000)
    whole, thousandth = divmod(total, 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    before = f"{hour:02d}:" if hours or hour else ""
    return f"{before}{minute:02d}:{second:02d}{point}{thousandth:03d}"


def as_txt(transcript: Transcript, lines: Lines) -> str:
    """A segment a line."""
    return "".join(f"{s.text.strip()}\n" for s in transcript.segments)


def as_json(transcript: Transcript, lines: Lines) -> str:
    """Everything that is known."""
    return json.dumps(transcript.told(), ensure_ascii=False, indent=1) + "\n"


def as_srt(transcript: Transcript, lines: Lines) -> str:
    """SubRip."""
    shown = enumerate(subtitles(transcript, lines), 1)
    return "".join(f"{i}\n{_times(s, True, ',')}\n{s.text}\n\n" for i, s in shown)


def as_vtt(transcript: Transcript, lines: Lines) -> str:
    """WebVTT."""
    shown = subtitles(transcript, lines)
    return "WEBVTT\n\n" + "".join(f"{_times(s, False, '.')}\n{s.text}\n\n" for s in shown)


def as_tsv(transcript: Transcript, lines: Lines) -> str:
    """Start, end (milliseconds) and text, tabs between."""
    rows = ["start\tend\ttext"]
    for s in transcript.segments:
        text = s.text.strip().replace("\t", " ")
        rows.append(f"{round(1000 * s.start)}\t{round(1000 * s.end)}\t{text}")
    return "\n".join(rows) + "\n"


def _times(shown: Subtitle, hours: bool, point: str) -> str:
    return f"{stamp(shown.start, hours, point)} --> {stamp(shown.end, hours, point)}"


FORMATS: dict[str, Callable[[Transcript, Lines], str]] = {
    "txt": as_txt,
    "json": as_json,
    "srt": as_srt,
    "vtt": as_vtt,
    "tsv": as_tsv,
}


def written(
    transcript: Transcript, name: str, folder: Path, formats: Sequence[str], lines: Lines
) -> list[Path]:
    """Writes a transcript beside its fellows, named after its recording.

    Raises:
        ValueError: a format that is not known.
        OSError: the folder cannot be written to.
    """
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise ValueError(f"format {unknown[0]!r} is not known; there are {', '.join(FORMATS)}")
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for one in formats:
        at = folder / f"{Path(name).stem}.{one}"
        write_file(at, FORMATS[one](transcript, lines).encode())
        out.append(at)
    return out
