"""What the benchmarks share: timing side by side, and what the machine can do at all."""

import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

Calls = dict[str, Callable[[], object]]


def clock() -> float:
    """Seconds: the process's CPU time on one thread, which a busy machine leaves as it is, else
    those of the clock on the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def side_by_side(calls: Calls, rounds: int) -> dict[str, float]:
    """Median seconds of each call: A B C, A B C, ..., after one round that is not counted."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            began = clock()
            call()
            if number:
                spent[name].append(clock() - began)
    return {name: sorted(times)[len(times) // 2] for name, times in spent.items()}


def peak(dtype: torch.dtype, rounds: int = 15) -> float:
    """FLOPs a second of the best of a few large matrix products, each at its fastest."""
    best = 0.0
    for m, k, n in ((2048, 2048, 2048), (1600, 3072, 768), (4096, 1024, 4096)):
        linear = torch.nn.Linear(k, n).to(dtype)
        x = torch.randn(m, k, dtype=dtype)
        weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        with torch.inference_mode():
            for _ in range(rounds):
                began = clock()
                torch.ops.mkldnn._linear_pointwise(x, weight, linear.bias, "none", [], "")
                best = max(best, 2 * m * k * n / (clock() - began))
    return best


def give(net: torch.nn.Module, weights: Mapping[str, torch.Tensor], but: str = "") -> None:
    """Loads a peer's weights and refuses to go on where one is missing or left over.

    Args:
        but: names that need not be there, or not be read (a pattern): buffers that count, ties.
    """
    lacking = net.load_state_dict(weights, strict=False)
    missing, over = (
        [name for name in names if not (but and re.search(but, name))]
        for names in (lacking.missing_keys, lacking.unexpected_keys)
    )
    if missing or over:
        raise SystemExit(
            f"{type(net).__name__}: {len(missing)} weights are missing ({missing[:3]}),"
            f" {len(over)} left over ({over[:3]})"
        )


def machine() -> str:
    """Processor, its units for matrices, threads, and how busy it is."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if "model name" in line]
    units = [unit for unit in ("avx512_bf16", "amx_bf16") if unit in text] or ["no bf16 units"]
    threads = torch.get_num_threads()
    return ", ".join(
        (
            names[0] if names else platform.processor(),
            f"{os.cpu_count()} cores ({', '.join(units)})",
            f"{threads} threads" if threads > 1 else "1 thread, CPU time",
            f"torch {torch.__version__}",
            f"load {' '.join(f'{x:.1f}' for x in os.getloadavg())}",
        )
    )


def table(title: str, times: dict[str, float], count: int, unit: str, ours: str) -> None:
    """Prints rates, and the ratio of `ours` to each."""
    print(f"\n{title}")
    for name, spent in times.items():
        print(
            f"  {name:44} {spent * 1e3:9.1f} ms {count / spent:9.1f} {unit}/s"
            f"   {ours} is {spent / times[ours]:5.2f} times as fast"
        )
