"""The options of `sensorium transcribe`; nothing heavy is imported, so that --help is quick."""

import argparse
import os
from pathlib import Path

FORMATS = ("txt", "json", "srt", "vtt", "tsv")
MODEL = "SENSORIUM_WHISPER"  # the environment variable that names the model to use


def transcribing(one: argparse.ArgumentParser) -> None:
    """Adds the options to the command."""
    help_of = (
        "recordings: sound or video files; - is standard input: WAV or bare samples, as it comes"
    )
    one.add_argument("files", nargs="*", help=help_of)
    help_of = f"a checkpoint, or a published model's folder or file (default: what {MODEL} names)"
    one.add_argument("--model", help=help_of)
    one.add_argument("--layout", help="of a published file, where it does not say it itself")
    one.add_argument("--language", help="a code or an English name (default: told by the model)")
    tasks = ("transcribe", "translate")
    one.add_argument("--task", choices=tasks, default=tasks[0], help="translate: into English")
    one.add_argument(
        "--output-format",
        action="append",
        choices=[*FORMATS, "all"],
        help="what to write; may be given several times (default: txt)",
    )
    one.add_argument("--output-dir", type=Path, help="where files go (default: shown, not written)")
    one.add_argument("--word-timestamps", action="store_true", help="when each word was said")
    one.add_argument("--initial-prompt", help="a text as if before the recording: names, spelling")
    one.add_argument("--carry-prompt", action="store_true", help="before every window of 30 s")
    one.add_argument("--hotwords", help="names and terms, before every window of 30 s")
    one.add_argument("--no-context", action="store_true", help="windows do not see the text before")
    one.add_argument("--beams", type=int, default=1, help="texts kept at a time (default: 1)")
    one.add_argument("--best-of", type=int, default=1, help="texts drawn where the first fails")
    one.add_argument("--line-width", type=int, help="letters a line of subtitles")
    one.add_argument("--line-count", type=int, help="lines a subtitle, with word times")
    one.add_argument("--no-voice", action="store_true", help="listen to silence and noise too")
    help_of = "no times are told: one text a window"
    one.add_argument("--without-timestamps", action="store_true", help=help_of)
    help_of = "cut at quiet moments into pieces, worked on together; faster where there are cores"
    one.add_argument("--pieces", action="store_true", help=help_of)
    help_of = "leave out what is probably made up between silences of so many seconds"
    one.add_argument("--hallucination-silence-threshold", type=float, dest="doubt", help=help_of)
    one.add_argument("--live", action="store_true", help="of - also what may still change")
    one.add_argument("--step", type=float, default=2.0, help="of -: look every so many seconds")
    one.add_argument("--rate", type=int, default=16000, help="of - : bare samples a second")
    one.add_argument("--batch", type=int, default=8, help="windows worked on together (default: 8)")
    one.add_argument("--precision", default="float32", choices=["float32", "bf16"])
    one.add_argument("--pickle", action="store_true", help="read OpenAI's .pt, in a sandbox")


def chosen_model(said: str | None) -> str:
    """The model to use: what was said, else what the environment names.

    Raises:
        ValueError: neither says one.
    """
    found = said or os.environ.get(MODEL)
    if not found:
        raise ValueError(f"which model? Give --model FOLDER, or name it in {MODEL}")
    return found
