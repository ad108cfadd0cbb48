"""The loop: one for every recipe. Knows neither models nor objectives."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_map

from sensorium.data.loader import Loaded, load, micro_batches
from sensorium.train import checkpoint
from sensorium.train.average import Average
from sensorium.train.backward import Scale, backward
from sensorium.train.compiled import compile_blocks
from sensorium.train.guard import Guard, TrainingStopped
from sensorium.train.log import Metrics, Progress
from sensorium.train.parallel import Place, anywhere, joined, spread, summed
from sensorium.train.rules import freeze, optimiser, table
from sensorium.train.run import Run
from sensorium.train.schedule import warmup_cosine
from sensorium.train.step import Step

FEW = 3  # samples that may be corrupt in a set so small that its share is less


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop (SIGINT or SIGTERM); its state is saved at `at`."""

    def __init__(self, at: Path, step: int):
        super().__init__(f"stopped at step {step}; everything is saved: sensorium resume {at}")


def train(run: Run, folder: Path) -> Path:
    """Trains from the newest checkpoint in `folder` (or from the start) and returns the last one.

    Raises:
        Interrupted: a signal came; the state is saved.
        TrainingStopped: the loss went wrong; the last good checkpoint is untouched.
        ValueError: the run does not fit the data, the ranks, or the checkpoint it goes on from.
    """
    with joined() as place, stopping() as stop:
        return _train(run, folder, place, stop)


def _train(run: Run, folder: Path, place: Place, stop: threading.Event) -> Path:
    cut(run, place)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(run.seed)
    step = Step(run.net(), {name: ask.objective for name, ask in run.asks.items()}).to(place.device)
    refuse_batch_norm(step, run, place)
    rules = table(step, run.rules)
    freeze(step, run.rules)
    root = spread(step, place, run.parallel, idle=run.draw is not None)
    learn = optimiser(step, run.rules)
    average = Average(step.net, run.ema) if run.ema is not None else None
    package = run.package()
    progress: dict[str, Any] = {"step": 0, "drawn": dict.fromkeys(run.asks, 0), "corrupt": {}}
    start = checkpoint.latest(folder)
    if start is not None:
        progress = checkpoint.load(start, step, learn, average, progress | {"table": rules})
    progress["table"] = rules
    if run.compile:
        notice = compile_blocks(step)
        if notice is not None and place.first:
            sys.stderr.write(f"{notice}\n")
    began = progress["step"]
    feeds = {name: feed(run, name, progress["drawn"][name], place) for name in run.asks}
    guard, line = Guard(run.batch, run.warmup), Progress(run.steps, began)
    metrics = Metrics(folder, began) if place.first else None
    size = {name: ask.source().data for name, ask in run.asks.items()}

    saved = began if start is not None else -1

    def save() -> Path:
        nonlocal saved  # not looked up on disk: another rank may already be further
        at = checkpoint.place_of(folder, progress["step"])
        if saved != progress["step"]:
            checkpoint.save(at, step, learn, average, progress, package, place)
            saved = progress["step"]
        return at

    try:
        while progress["step"] < run.steps:
            now = time.monotonic()
            number = progress["step"]
            asked = drawn(run, number)
            loaded = {name: [next(feeds[name]) for _ in range(run.slices)] for name in asked}
            note_corrupt(progress["corrupt"], loaded, size, run.corrupt_share)
            slices = pose(run, step, loaded, number, place)
            counts = count(run, slices, place)
            root.train()
            around = surroundings(run, number, place)
            scale = Scale(
                {a: {k: run.asks[a].weight / n for k, n in by.items()} for a, by in counts.items()}
            )
            sums = backward(root, step, slices, scale, place, around)
            losses = means(sums, counts, place)
            limit = run.clip if run.clip is not None else float("inf")
            norm = float(nn.utils.clip_grad_norm_(step.parameters(), limit))
            guard.check(number + 1, losses, norm)
            rate = warmup_cosine(number, run.steps, run.warmup)
            for group in learn.param_groups:
                group["lr"] = group["initial_lr"] * rate
            learn.step()
            learn.zero_grad()
            for name in asked:
                run.asks[name].objective.after_step(step.net)
                progress["drawn"][name] += run.batch
            progress["step"] = number + 1
            if average is not None:
                average.update(step.net, number + 1)
            if place.first and metrics is not None:
                spent = time.monotonic() - now
                metrics.write(
                    {"step": number + 1, **{f"loss/{k}": v for k, v in losses.items()}}
                    | {"norm": norm, "rate": rate, "samples_per_second": run.batch / spent}
                    | {"samples": fingerprint(loaded), "corrupt": len(progress["corrupt"])}
                    | scalars(step.net)
                )
                line.show(number + 1, sum(losses.values()), run.batch)
            if anywhere(stop.is_set(), place):  # all ranks stop after the same step
                raise Interrupted(save().parent.parent, number + 1)
            if (number + 1) % run.save_every == 0:
                save()
        return save()
    except TrainingStopped as stopped:
        last = checkpoint.latest(folder)
        good = f"The last good state is {last}." if last else "Nothing had been saved yet."
        raise TrainingStopped(f"{stopped} {good}") from None
    finally:
        if metrics is not None:
            metrics.close()


# --- the parts of a step -----------------------------------------------------------------------


def drawn(run: Run, number: int) -> list[str]:
    """The asks of a step: all of them, or one drawn in proportion to its share."""
    if run.draw is None:
        return list(run.asks)
    names, shares = list(run.draw), np.array(list(run.draw.values()), dtype=float)
    rng = np.random.default_rng([run.seed, number])
    return [names[int(rng.choice(len(names), p=shares / shares.sum()))]]


def feed(run: Run, name: str, start: int, place: Place) -> Iterator[Loaded]:
    """This rank's micro-batches of an ask, from a position on."""
    positions = micro_batches(start, run.batch, place.rank, place.world, run.slices)
    return load(run.asks[name].source(), positions, run.seed, run.workers)


def pose(
    run: Run, step: Step, loaded: Mapping[str, list[Loaded]], number: int, place: Place
) -> list[dict[str, Any]]:
    """The questions of a step, slice by slice, on the device."""
    out = []
    for piece in range(run.slices):
        questions = {}
        for i, (name, batches) in enumerate(loaded.items()):
            batch = to_device(batches[piece].batch, place.device)
            g = torch.Generator().manual_seed(seeded(run.seed, number, place.rank, piece, i))
            questions[name] = run.asks[name].objective.pose(step.net, batch, g)
        out.append(questions)
    return out


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with every tensor on the device: the only place where anything is moved."""
    return tree_map(lambda x: x.to(device) if isinstance(x, torch.Tensor) else x, batch)


def count(run: Run, slices: list[dict[str, Any]], place: Place) -> dict[str, dict[str, float]]:
    """What each loss is divided by, over slices and ranks."""
    totals: dict[tuple[str, str], float] = {}
    for questions in slices:
        for ask, question in questions.items():
            for name, n in run.asks[ask].objective.count(question).items():
                totals[ask, name] = totals.get((ask, name), 0.0) + float(n)
    values = torch.tensor(list(totals.values()), dtype=torch.float64, device=place.device)
    out: dict[str, dict[str, float]] = {}
    for (ask, name), n in zip(totals, summed(values, place).tolist(), strict=True):
        out.setdefault(ask, {})[name] = max(n, 1.0)
    return out


def surroundings(run: Run, number: int, place: Place):
    """The context of a slice's forward pass: dropout seeded by step, rank and slice; precision."""

    @contextmanager
    def around(piece: int) -> Iterator[None]:
        torch.manual_seed(seeded(run.seed, number, place.rank, piece, 1 << 20))
        half = torch.autocast(place.device.type, torch.bfloat16)
        with half if run.precision == "bf16" else nullcontext():
            yield

    return around


def means(sums, counts, place: Place) -> dict[str, float]:
    """The losses of the global batch, by name (`ask/name` where there are several asks)."""
    names = [(ask, name) for ask, losses in sums.items() for name in losses]
    values = torch.stack([sums[ask][name].double().reshape(()) for ask, name in names])
    values = summed(values, place).tolist()
    several = len(counts) > 1
    return {
        f"{ask}/{name}" if several else name: value / counts[ask][name]
        for (ask, name), value in zip(names, values, strict=True)
    }


def note_corrupt(
    seen: dict[str, str],
    loaded: Mapping[str, list[Loaded]],
    data: Mapping[str, Any],
    share: float,
) -> None:
    """Counts and names samples that could not be read; stops above the share that is allowed."""
    for name, batches in loaded.items():
        found = {f"{name}/{c.index}": c.named() for b in batches for c in b.corrupt}
        fresh = found.keys() - seen.keys()
        seen |= found
        bad = [reason for key, reason in seen.items() if key.rpartition("/")[0] == name]
        allowed = max(FEW if share > 0 else 1, int(share * len(data[name])))
        if fresh and len(bad) > allowed:
            raise ValueError(
                f"{len(bad)} of {len(data[name])} samples cannot be read, more than the {allowed} "
                f"that are allowed: {'; '.join(bad[:5])}. Mend them or take them out"
            )


def fingerprint(loaded: Mapping[str, list[Loaded]]) -> str:
    """A short digest of the indices of a step, so that a record shows what was seen when."""
    indices = [i for batches in loaded.values() for b in batches for i in b.indices]
    return f"{np.random.SeedSequence(indices).generate_state(1)[0]:08x}"


def scalars(net: nn.Module) -> dict[str, float]:
    """What the net has learnt as single numbers: a temperature, a gate."""
    return {n: p.item() for n, p in net.named_parameters() if p.numel() == 1}


def seeded(*parts: int) -> int:
    """A seed for torch from several numbers."""
    return int(np.random.SeedSequence(list(parts)).generate_state(1, np.uint64)[0] >> 1)


# --- what is checked before anything is trained ---------------------------------------------------


def cut(run: Run, place: Place) -> None:
    """Refuses a batch that ranks and slices cannot share evenly."""
    pieces = place.world * run.slices
    if run.batch % pieces:
        raise ValueError(
            f"a batch of {run.batch} cannot be cut evenly for {place.world} ranks x {run.slices} "
            f"slices: choose a multiple of {pieces}"
        )
    if run.steps < 1 or run.batch < 1:
        raise ValueError(f"steps and batch must be at least 1, not {run.steps} and {run.batch}")


def refuse_batch_norm(step: nn.Module, run: Run, place: Place) -> None:
    """Refuses slices with batch normalisation, whose statistics would depend on the cut."""
    norms = [n for n, m in step.named_modules() if isinstance(m, nn.BatchNorm2d)]
    if norms and run.slices > 1:
        raise ValueError(
            f"{norms[0]} normalises over the batch: cut into slices, its statistics would be those "
            "of a slice and the result would depend on the cut. Use --slices 1, or another tower."
        )


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    stop = threading.Event()

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON aside, then puts it in place."""
    aside = path.with_name(path.name + ".aside")
    with aside.open("w") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
