"""The options of `sensorium code data` and `sensorium code tokenizer`, light for a quick --help."""

import argparse
from pathlib import Path

NAMES = ("sensorium", "starcoder", "the-stack", "codex")


def preparing(one: argparse.ArgumentParser) -> None:
    """Adds the options of `sensorium code data`."""
    help_of = "folders, git checkouts, tar, zip, Parquet or JSON lines; folders full of these"
    one.add_argument("sources", nargs="+", help=help_of)
    help_of = "the run's folder; run again to go on. clean/, ledger/, report.html"
    one.add_argument("--out", type=Path, required=True, help=help_of)
    one.add_argument("--preset", default=NAMES[0], choices=NAMES, help="which pipeline")
    help_of = "languages to keep, by The Stack's names (left out: all of the preset's)"
    one.add_argument("--only", nargs="+", metavar="LANGUAGE", help=help_of)
    help_of = "a file of owners or owner/name who asked to be left out, one a line"
    one.add_argument("--opt-out", type=Path, help=help_of)
    help_of = "the folder with HumanEval's and MBPP's files: what holds them is dropped"
    one.add_argument("--benchmarks", type=Path, help=help_of)
    one.add_argument("--any-licence", action="store_true", help="do not look at licences")
    one.add_argument("--keep-personal", action="store_true", help="do not replace personal data")
    help_of = "the Jaccard index above which files are near duplicates"
    one.add_argument("--threshold", type=float, default=0.7, help=help_of)
    one.add_argument("--largest", type=int, default=1_000_000, help="bytes of a file, at most")
    one.add_argument("--shard", type=int, default=32, help="MiB of text in a shard")
    one.add_argument("--workers", type=int, default=0, help="processes (0: as many as cores)")
    help_of = "a Ray cluster's address, or local: run there instead"
    one.add_argument("--ray", metavar="ADDRESS", help=help_of)


def learning(one: argparse.ArgumentParser) -> None:
    """Adds the options of `sensorium code tokenizer`."""
    help_of = "a folder of shards, as `sensorium code data` leaves them in clean/"
    one.add_argument("corpus", type=Path, help=help_of)
    one.add_argument("--out", type=Path, required=True, help="the tokenizer.json to write")
    one.add_argument("--vocab", type=int, default=49152, help="ids, special tokens included")
    one.add_argument("--only", help="learn from one language alone")
