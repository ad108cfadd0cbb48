"""A training, declared: frozen, without behaviour."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from torch import nn

from sensorium.data.loader import Source
from sensorium.train.rules import Rules
from sensorium.types import Objective


class Ask(NamedTuple):
    """An objective, the data it is posed on (opened on first use), and the weight of its losses."""

    objective: Objective
    source: Callable[[], Source]
    weight: float = 1.0


class Package(NamedTuple):
    """What a checkpoint carries beside its weights.

    `manifest` without the values that saving adds; `files` by name (a tokenizer, say).
    """

    manifest: dict[str, Any]
    files: dict[str, bytes]


@runtime_checkable
class Finish(Protocol):
    """What is asked of a finished checkpoint."""

    def samples(self) -> Sequence[Any]:
        """Raw samples that training did not see, for scores and for probes."""
        ...

    def scores(self, model: Any, records: Path, say: Callable[[int, int], None]) -> dict[str, Any]:
        """Scores as plain JSON; the per-sample records are written into the folder `records`."""
        ...


@dataclass(frozen=True)
class Run:
    """What is trained, on what, how, and what is asked of the result.

    Args:
        net: builds the net; called once the seed is set.
        asks: the objectives by name. All of them are summed at every step, or, where `draw` gives
            each a share, one is drawn at every step.
        rules: learning rate and decay of every parameter, by name.
        steps: optimiser steps.
        batch: samples a step, over all ranks and slices.
        package: what its checkpoints carry; called with nothing, once.
        finish: what is asked of the finished checkpoint.
        slices: micro-batches a step and rank; the result does not depend on it.
        ema: decay of the averaged weights, which are then the ones that are saved; None for none.
    """

    net: Callable[[], nn.Module]
    asks: Mapping[str, Ask]
    rules: Rules
    steps: int
    batch: int
    package: Callable[[], Package]
    finish: Finish | None = None
    draw: Mapping[str, float] | None = None
    warmup: int = 0
    clip: float | None = None
    slices: int = 1
    ema: float | None = None
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    seed: int = 0
    workers: int = 0
    save_every: int = 500
    corrupt_share: float = 0.01
