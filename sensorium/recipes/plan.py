"""What a recipe would take, before it is started: `sensorium train RECIPE --plan`.

Nothing is trained and nothing is written. One micro-batch of the recipe's own data is read; its
shapes pass a net of fake tensors, which gives operations and memory (see `train.cost`). For the
time, a few rows of it pass the real net, forward, backward and through the optimiser, where they
fit into memory and take seconds.
"""

import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sensorium.data.loader import Loaded, Positions, micro_batches
from sensorium.recipes.find import recipe
from sensorium.train.backward import Scale, backward
from sensorium.train.checkpoint import KEPT
from sensorium.train.cost import Cost, cost
from sensorium.train.loop import cut, pose, refuse_batch_norm, surroundings
from sensorium.train.parallel import Place
from sensorium.train.rules import optimiser
from sensorium.train.run import Run
from sensorium.train.step import Step

# What a process takes beyond its tensors, read off trainings of the clip recipe on Linux with glibc
# (batch 64 and 256, float32 and bf16): kernels and threads come with the first step, and the heap,
# where pieces under 32 MiB lie, outgrows what is alive in it: freed activations leave gaps.
KERNELS = 80 << 20
HEAP = 1.45
TIMED_ROWS = 64  # rows that are timed, fewer where so many would take long
TIMED_FLOPS = 2e11  # forward and backward: a second or two on a laptop
ROW_BYTES = 250  # of metrics.jsonl and of TensorBoard, a step


def plan(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Parameters, operations, memory, time and files of a recipe, as plain JSON.

    Memory is in MiB, at the moment when most of it is used. Figures are those of one process.

    Raises:
        ValueError: the recipe refuses its arguments or its data, as it would when started.
    """
    run = recipe(name)(**given)
    place = Place(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    cut(run, place)
    process = resident()
    sources = {ask: posed.source() for ask, posed in run.asks.items()}
    data = resident() - process
    rows = run.batch // run.slices
    began = time.perf_counter()
    loaded = {ask: read(run, ask, rows) for ask in sources}
    reading = (time.perf_counter() - began) * run.slices
    with torch.device("meta"):
        refuse_batch_norm(Step(run.net(), {}), run, place)
    taken = cost(run, loaded, place)
    batch = sum(x.numel() * x.element_size() for x in tree_leaves(loaded) if isinstance(x, Tensor))
    parts = memory(taken, 2 * batch, process, data, place)
    computing = timed(run, taken, loaded, place)
    step = None if computing is None else pace(computing, reading, run.workers)
    return {
        "recipe": name,
        "device": torch.cuda.get_device_name() if place.device.type == "cuda" else "cpu",
        "steps": run.steps,
        "batch": run.batch,
        "parameters": taken.parameters,
        "flops": {"step": taken.flops, "run": taken.flops * run.steps},
        "memory_mib": {part: round(size / 2**20, 1) for part, size in parts.items()},
        "seconds": {
            "step": None if step is None else round(step, 4),
            "training": None if step is None else round(step * run.steps, 1),
            "measured": f"{timed_rows(run, taken)} of a micro-batch's {rows} rows, once warm"
            if step is not None
            else "not: the net does not fit into the memory that is free here",
        },
        "disk_mib": {k: round(v / 2**20, 1) for k, v in files(run, taken).items()},
    }


def memory(taken: Cost, batches: int, process: int, data: int, place: Place) -> dict[str, int]:
    """Bytes by part at the peak; they add up to "peak".

    On a CPU the peak is that of the process: within a step, or while a checkpoint is written, which
    holds two copies of the optimiser's moments. On a GPU it is that of the GPU's memory.
    """
    parts = {
        "weights": taken.weights,
        "moments": taken.moments,
        "averaged weights": taken.average,
        "gradients": taken.gradients,
        "activations": taken.activations,
        "largest temporary": taken.temporary,
        "batches": batches,
    }
    if place.device.type == "cpu":
        spare = max((HEAP - 1) * taken.small, 2 * taken.moments)
        parts |= {"data": data, "process": process + KERNELS, "heap and saving": int(spare)}
    return parts | {"peak": sum(parts.values())}


def files(run: Run, taken: Cost) -> dict[str, int]:
    """Bytes of a checkpoint that can be resumed, of the finished one, and of the run's folder."""
    state = taken.weights + taken.moments + taken.average
    saves = -(-run.steps // run.save_every)
    whole = min(saves, KEPT + 1) * state  # the new one is whole before the oldest goes
    whole += taken.weights + run.steps * ROW_BYTES
    return {"checkpoint": state, "finished checkpoint": taken.weights, "run": whole}


# --- measuring ----------------------------------------------------------------------------------


def read(run: Run, ask: str, rows: int) -> Loaded:
    """The first rows of an ask, as the first rank's first micro-batch holds them."""
    positions = next(micro_batches(0, rows, 0, 1, 1))
    return Positions(run.asks[ask].source(), run.seed)[positions]


def timed(run: Run, taken: Cost, loaded: dict[str, Loaded], place: Place) -> float | None:
    """Seconds a step computes, from a few rows; None where the net would not fit."""
    few, rows = timed_rows(run, taken), run.batch // run.slices
    needed = taken.lasting + taken.trained + taken.activations * few / rows * HEAP
    if 1.2 * needed > free(place):
        return None
    if few < rows:
        loaded = {ask: read(run, ask, few) for ask in loaded}
    torch.manual_seed(run.seed)
    asked = {ask: posed.objective for ask, posed in run.asks.items()}
    step = Step(run.net(), asked).to(place.device)
    learn = optimiser(step, run.rules)
    small = {ask: [one] for ask, one in loaded.items()}
    passes = updates = 0.0
    for _ in range(2):  # the first one warms up
        start = clock(place)
        questions = pose(run, step, small, 0, place)[:1]
        counts = {a: asked[a].count(q) for a, q in questions[0].items()}
        scale = Scale({a: {k: 1 / max(n, 1) for k, n in by.items()} for a, by in counts.items()})
        backward(step, step, questions, scale, place, surroundings(run, 0, place))
        middle = clock(place)
        nn.utils.clip_grad_norm_(step.parameters(), run.clip or float("inf"))
        learn.step()
        learn.zero_grad()
        passes, updates = middle - start, clock(place) - middle
    again = 4 / 3 if run.slices > 1 and any(asked[a].coupled for a in asked) else 1.0
    return passes * run.batch / few * again + updates * (1.5 if run.ema is not None else 1.0)


def timed_rows(run: Run, taken: Cost) -> int:
    """How many rows are timed: as many as take a second or two, at least two."""
    rows = run.batch // run.slices
    one = taken.flops / run.batch
    return max(min(rows, TIMED_ROWS, int(TIMED_FLOPS / max(one, 1))), min(rows, 2))


def pace(computing: float, reading: float, workers: int) -> float:
    """Seconds a step: workers read ahead while the step computes."""
    return max(computing, reading / workers) if workers else computing + reading


def clock(place: Place) -> float:
    """Now, once the device has done what it was asked."""
    if place.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where the system does not tell."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0


def free(place: Place) -> float:
    """Bytes that can still be taken on the device; without limit where the system does not tell."""
    if place.device.type == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    told = Path("/proc/meminfo")
    lines = told.read_text().splitlines() if told.exists() else []
    sizes = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable")]
    return float(sizes[0]) if sizes else float("inf")
