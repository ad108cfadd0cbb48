"""What this machine can do, and what is missing: printed by `sensorium doctor`."""

import importlib
import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

CORE = ("torch", "numpy", "pillow", "simplejpeg", "safetensors", "tokenizers", "ftfy", "regex")
EXTRAS = {"track": "tensorboard", "data": "pyarrow", "index": "faiss", "draw": "cairosvg"}
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def examine() -> dict[str, Any]:
    """Versions, processor, memory, accelerator, extras, and the speed of a matrix product."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": {name: found(name) for name in CORE},
        "extras": {extra: importable(module) for extra, module in EXTRAS.items()},
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "units": units(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "compiler": compiler(),
        "teraflops": {
            "float32": round(matrix_product(torch.float32), 3),
            "bf16": round(matrix_product(torch.bfloat16), 3),
        },
    }


def found(package: str) -> str | None:
    """The installed version of a package, None if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def importable(module: str) -> bool:
    """Whether an optional module can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def units() -> list[str]:
    """The vector and matrix units of the processor that matter for speed (Linux only)."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    return [unit for unit in UNITS if unit in flags]


def compiler() -> str | None:
    """The C++ compiler that torch.compile would use on a CPU; without one everything is eager."""
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        for folder in os.environ.get("PATH", "").split(os.pathsep):
            if name and (Path(folder) / name).is_file():
                return name
    return None


def matrix_product(dtype: torch.dtype, seconds: float = 0.5, n: int = 2048) -> float:
    """The rate of an n x n matrix product, in 10^12 operations a second, best of those tried."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        float((a @ b)[0, 0])
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best / 1e12
