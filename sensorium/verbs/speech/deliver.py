"""What `sensorium transcribe` does: files in, transcripts shown or written, failures listed."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.media.audio_stream import Coming, coming_blocks
from sensorium.verbs.model import Model
from sensorium.verbs.speech.options import FORMATS
from sensorium.verbs.speech.result import Failure
from sensorium.verbs.speech.voice import VOICE
from sensorium.verbs.speech.write import FORMATS as WRITERS
from sensorium.verbs.speech.write import Lines, written


class Delivered(NamedTuple):
    """What is to be shown, what to be told as JSON, and which files failed and why."""

    shown: str
    told: dict[str, Any]
    failures: list[str]


def deliver(
    model: Model,
    options: argparse.Namespace,
    progress: Callable[[int, int], None],
    typed: Callable[[str], None],
) -> Delivered:
    """Transcribes the files that the options name; standard input as it comes, through `typed`.

    Raises:
        ValueError: settings that the model has not; two files would be written to one.
        OSError: nothing can be written to the folder.
    """
    if options.live or "-" in options.files:
        pipe: Any = sys.stdin.buffer  # it has `read1`, which its type does not say
        return coming(model, options, pipe, typed)
    if not options.files:
        raise ValueError("which recordings? Name files, or - for standard input")
    formats = options.output_format or ["txt"]
    formats = list(FORMATS) if "all" in formats else formats
    twice = doubled(options.files)
    if options.output_dir is not None and twice:
        raise ValueError(f"{twice[0]} and {twice[1]} would be written to one file: rename one")
    lines = Lines(options.line_width, options.line_count)
    model.prepare()
    if min(options.line_width or 1, options.line_count or 1, options.batch) < 1:
        raise ValueError("--line-width, --line-count and --batch are at least 1")
    found = model.transcribe(
        options.files,
        options.batch,
        progress,
        **said(options),
    )
    shown, told, failures = [], {}, []
    for name, one in zip(options.files, found, strict=True):
        if isinstance(one, Failure):
            failures.append(one.reason)
            told[name] = {"failed": one.reason}
            continue
        told[name] = one.told()
        if options.output_dir is not None:
            files = written(one, name, options.output_dir, formats, lines)
            shown += [f"{file}\n" for file in files]
            told[name] = {"files": [str(file) for file in files], "text": one.text}
        else:
            if len(options.files) > 1:
                shown.append(f"== {name}\n")
            shown += [WRITERS[kind](one, lines) for kind in formats]
    return Delivered("".join(shown), told, failures)


def doubled(files: list[str]) -> tuple[str, str] | None:
    """Two files whose transcripts would have the same name."""
    seen: dict[str, str] = {}
    for name in files:
        stem = Path(name).stem
        if stem in seen:
            return seen[stem], name
        seen[stem] = name
    return None


def said(options: argparse.Namespace) -> dict[str, Any]:
    """The options as settings (`longform.How`)."""
    return dict(
        language=options.language,
        task=options.task,
        words=options.word_timestamps,
        prompt=options.initial_prompt,
        carry=options.carry_prompt,
        hotwords=options.hotwords,
        condition=not options.no_context,
        beams=options.beams,
        best_of=options.best_of,
        stamps=not options.without_timestamps,
        cut=options.pieces,
        doubt=options.doubt,
        voice=None if options.no_voice else VOICE,
    )


def coming(
    model: Model, options: argparse.Namespace, file: Coming, typed: Callable[[str], None]
) -> Delivered:
    """Transcribes what comes from a pipe: a line a segment, as JSON where that was asked for; with
    `--live` what may still change goes to standard error.

    Raises:
        ValueError: options that mean nothing here; no sound came, or it cannot be read.
    """
    if options.files not in ([], ["-"]) or options.output_dir or options.output_format:
        raise ValueError("standard input is read alone, and shown as text: redirect it into a file")
    model.prepare()
    blocks = coming_blocks(file, "standard input", options.rate)
    count, shown = 0, ""
    for one in model.live(blocks, options.step, **said(options)):
        text = one.segment.text.strip()
        if one.final:
            count += 1
            start, end = round(one.segment.start, 2), round(one.segment.end, 2)
            row = {"start": start, "end": end, "text": text, "language": one.language}
            typed(json.dumps(row, ensure_ascii=False) + "\n" if options.json else text + "\n")
        if options.live:
            now = "" if one.final else f"... {text}"
            sys.stderr.write("\r" + now.ljust(len(shown)) + ("\r" if one.final else ""))
            sys.stderr.flush()
            shown = now
    return Delivered("", {"-": {"segments": count}}, [])
