"""Where tasks run: here, on all cores, or on a Ray cluster; the same call for all of them."""

import os
import weakref
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
STARTING = {"RAY_gcs_server_request_timeout_seconds": "300", "RAY_USAGE_STATS_ENABLED": "0"}
LOCAL = {
    "include_dashboard": False,
    "object_store_memory": 100 << 20,  # results are counts: the least that Ray takes is 75 MiB
    "_node_ip_address": "127.0.0.1",
}


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


def ray_cluster(address: str = "local", cpus: int = 0) -> "Cluster":
    """On a Ray cluster: its address, or "local" for one on this machine.

    The paths of the run must be the same on all its machines. A local one listens on the loopback
    alone and runs on `cpus` cores (0: all) without a dashboard. It starts with the first tasks and
    ends with a `with` around what this gives, or else with the program. Its services have five
    minutes to start, unless RAY_gcs_server_request_timeout_seconds says otherwise.

    Raises DataError where Ray is not installed or does not start.
    """
    for name, value in STARTING.items():
        os.environ.setdefault(name, value)  # Ray reads them when it is imported
    try:
        import ray
    except ImportError:
        raise DataError("a cluster needs Ray: pip install 'sensorium[cluster]'") from None
    return Cluster(ray, address, cpus)


class Cluster:
    """Workers on Ray (see `ray_cluster`): what `with` ends, and the end of the program."""

    def __init__(self, ray: Any, address: str, cpus: int) -> None:
        self.ray, self.address = ray, address
        self.cpus = cpus or len(os.sched_getaffinity(0))
        self.close: Callable[[], Any] = lambda: None

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        ray = self.ray
        if not ray.is_initialized():
            self._open()
        task = ray.remote(function)
        ahead = WINDOW * max(1, int(ray.cluster_resources().get("CPU", 1)))
        pending: list[Any] = []
        for item in items:
            pending.append(task.remote(item))
            if len(pending) >= ahead:
                yield _result(ray, pending.pop(0))
        while pending:
            yield _result(ray, pending.pop(0))

    def _open(self) -> None:
        self.close = weakref.finalize(self, self.ray.shutdown)
        own = {} if self.address != "local" else LOCAL | {"num_cpus": self.cpus}
        try:
            self.ray.init(address=self.address, log_to_driver=False, **own)
        except (RuntimeError, OSError) as error:
            self.close()
            raise DataError(
                f"Ray at {self.address!r} did not start: {error}; run the same command again, or "
                "without Ray: it goes on where it stopped"
            ) from error


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
