"""Where tasks run: here, on all cores, or on a Ray cluster; the same call for all of them."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

from sensorium.data.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
Workers = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
"""Applies a function to items and gives the results in the items' order."""

WINDOW = 4  # tasks a core that are handed to a cluster ahead of time


def here(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """One after the other, in this process."""
    return map(function, items)


def processes(count: int = 0) -> Workers:
    """On `count` processes of this machine (0: as many as cores)."""
    count = count or len(os.sched_getaffinity(0))
    if count == 1:
        return here

    def spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        with ProcessPoolExecutor(count, get_context("spawn")) as pool:
            try:
                yield from pool.map(function, items)
            except BrokenProcessPool as error:
                raise DataError(
                    "a process was ended from outside, as when memory runs out; run the same "
                    "command with fewer --workers: it goes on where it stopped"
                ) from error

    return spread


def ray_cluster(address: str = "local") -> Workers:
    """On a Ray cluster: its address, or "local" for one on this machine.

    The paths of the run must be the same on all its machines.

    Raises DataError where Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise DataError("a cluster needs Ray: pip install 'sensorium[cluster]'") from None

    def spread(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        own = not ray.is_initialized()
        if own:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        try:
            task = ray.remote(function)
            ahead = WINDOW * max(1, int(ray.cluster_resources().get("CPU", 1)))
            pending: list[Any] = []
            for item in items:
                pending.append(task.remote(item))
                if len(pending) >= ahead:
                    yield _result(ray, pending.pop(0))
            while pending:
                yield _result(ray, pending.pop(0))
        finally:
            if own:
                ray.shutdown()

    return spread


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
