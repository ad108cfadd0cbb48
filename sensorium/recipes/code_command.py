"""What `sensorium code`, `sensorium score` and `sensorium sandbox` do."""

import argparse
from collections.abc import Callable
from typing import Any

from sensorium.recipes.code_data import learned, prepared
from sensorium.recipes.code_samples import Asking, write_samples
from sensorium.tasks.code import command as judging
from sensorium.tasks.code.command import coding
from sensorium.tasks.records import Progress
from sensorium.verbs.open import load

Show = Callable[[dict[str, Any], bool], None]


def programs(options: argparse.Namespace, show: Show, progress: Progress) -> None:
    """Does one of them. ValueError, OSError: something failed."""
    if options.command == "code" and options.act == "data":
        show(prepared(options, progress), options.json)
    elif options.command == "code" and options.act == "tokenizer":
        show(learned(options, progress), options.json)
    elif options.command == "code":
        show(sampled(options, progress), options.json)
    else:
        judging.programs(options, show, progress)


def sampled(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Does `sensorium code sample`."""
    o = options
    asked = Asking(o.n, o.temperature, o.top_p, o.max_tokens, o.seed, o.prompt, o.template)
    data = coding(o.data, o.folder)
    model = load(o.checkpoint, o.layout, precision=o.precision)
    data = data._replace(problems=data.problems[: o.first])
    return write_samples(model, data, asked, o.out, o.bits, o.rows, progress)
