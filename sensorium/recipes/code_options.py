"""The options of `sensorium code`, light, so that --help is quick."""

import argparse
from collections.abc import Callable
from pathlib import Path

from sensorium.corpus.options import learning, preparing
from sensorium.sandbox import commands as sandbox


def adding(command: Callable[..., argparse.ArgumentParser], run: Callable[..., None]) -> None:
    """Adds `sensorium sandbox`, `sensorium score` and `sensorium code`."""
    sandbox.adding(command, run)
    one = command("code", run, "code models: prepare data, learn a tokenizer, write samples")
    acts = one.add_subparsers(dest="act", metavar="ACT", required=True)
    for name, options, text in (
        ("data", preparing, "turn repositories into training data, with a ledger and a report"),
        ("tokenizer", learning, "learn a tokenizer with StarCoder's special tokens from it"),
        ("sample", sampling, "write samples for programming problems with a model"),
    ):
        act = acts.add_parser(name, help=text, description=text)
        help_of = "print one JSON object at the end"
        act.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=help_of)
        options(act)


def sampling(one: argparse.ArgumentParser) -> None:
    """Adds the options of `sensorium code sample`."""
    one.add_argument("checkpoint", help="a checkpoint folder, or a published file")
    one.add_argument("--layout", help="of a published file")
    one.add_argument("--precision", default="bf16", choices=["float32", "bf16"])
    one.add_argument("--bits", type=int, choices=[4, 8], help="keep the weights in so few bits")
    help_of = "humaneval, mbpp or mbpp-sanitized; mbpp:train, :validation, :prompt, :all (test)"
    one.add_argument("--data", default="humaneval", help=help_of)
    help_of = "where its files lie (default: code/ in SENSORIUM_DATA)"
    one.add_argument("--folder", type=Path, help=help_of)
    help_of = "the file of samples; run again to go on"
    one.add_argument("--out", type=Path, required=True, help=help_of)
    one.add_argument("-n", type=int, default=10, help="samples a problem")
    one.add_argument("--temperature", type=float, default=0.2, help="0: the most likely token")
    one.add_argument("--top-p", type=float, default=0.95, help="the share that is drawn from")
    one.add_argument("--max-tokens", type=int, default=512, help="new tokens a sample, at most")
    one.add_argument("--seed", type=int, default=0, help="of the draws")
    help_of = "file: prompts as they are; strip: without the newline at their end; chat: in words,"
    help_of += " by the chat template"
    one.add_argument("--prompt", default="file", choices=["file", "strip", "chat"], help=help_of)
    one.add_argument("--template", help="the chat template, where the checkpoint names none")
    one.add_argument("--rows", type=int, default=48, help="samples that are written together")
    one.add_argument("--first", type=int, help="only so many problems, the first")
