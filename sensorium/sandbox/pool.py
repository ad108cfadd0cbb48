"""The sandbox: as many fork servers as programs are to run at once."""

import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from sensorium.sandbox.boot import version
from sensorium.sandbox.errors import SandboxError
from sensorium.sandbox.jobs import Job, Limits, Outcome
from sensorium.sandbox.watch import Watch
from sensorium.sandbox.worker import Worker

Seen = Callable[[int, Outcome], None]
ADVICE = (
    "install bubblewrap, or allow user namespaces (sysctl user.max_user_namespaces,"
    " kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that lets"
    " `unshare` pass); programs of strangers run without a sandbox only when told --unsafe"
)


class Sandbox:
    """Runs programs nobody has read, isolated from the machine, the judge and one another.

        with Sandbox() as box:
            print(box.check(Job("print(6 * 7)")))

    Args:
        workers: programs at once; 0: as many as there are cores.
        limits: of every program.
        unsafe: run without isolation where none is to be had; never with programs of strangers.
        through: "bubblewrap" or "direct"; "": bubblewrap where installed, else direct; for the
            superuser direct first, because only so are the programs nobody's.

    Raises:
        SandboxError: this machine permits no isolation; with what was tried and what to do.
    """

    def __init__(
        self,
        workers: int = 0,
        limits: Limits | None = None,
        unsafe: bool = False,
        through: str = "",
    ) -> None:
        self.limits, count = limits or Limits(), workers or len(os.sched_getaffinity(0))
        self.workers = [first_that_starts(self.limits, unsafe, through)]
        self.facts: dict[str, Any] = facts(self.workers[0])
        one = self.workers[0]
        try:
            while len(self.workers) < count:
                self.workers.append(Worker(self.limits, one.through, one.bwrap))
        except SandboxError:
            for worker in self.workers:
                worker.close()
            raise
        self.watch = self._watched()
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.workers:
            self._free.put(worker)

    def check(self, job: Job) -> Outcome:
        """Does one job with a server that is free. Threads may call it."""
        worker = self._free.get()
        try:
            return worker.check(job)
        finally:
            self._free.put(worker)

    def each(self, jobs: Sequence[Job], seen: Seen | None = None) -> list[Outcome]:
        """Does many jobs, `workers` at a time; outcomes in the order of the jobs.

        `seen(place, outcome)` is called as each is done, one at a time.
        """
        found: dict[int, Outcome] = {}
        left, lock, failed = iter(range(len(jobs))), threading.Lock(), []

        def work() -> None:
            while not failed:
                with lock:
                    place = next(left, None)
                if place is None:
                    return
                try:
                    outcome = self.check(jobs[place])
                    with lock:
                        found[place] = outcome
                        if seen is not None:
                            seen(place, outcome)
                except BaseException as error:
                    failed.append(error)
                    raise

        together(work, len(self.workers), failed)
        return [found[place] for place in range(len(jobs))]

    def _watched(self) -> Watch | None:
        """A watch over the memory of servers without control groups for it."""
        bare = [one for one in self.workers if "memory" not in one.groups.held and one.first]
        if not bare:
            return None

        def over(server: int) -> None:
            for worker in bare:
                worker.overfull |= worker.first == server

        most = self.limits.memory + (64 << 20)
        return Watch(lambda: [one.first for one in bare if one.first], most, over)

    def close(self) -> None:
        """Ends the servers and all that they started."""
        if self.watch is not None:
            self.watch.close()
        for worker in self.workers:
            worker.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def together(work: Callable[[], None], count: int, failed: list[BaseException]) -> None:
    """Runs `work` in so many threads at once, which end when `failed` holds something.

    The first error of any of them, or an interrupt, is raised when all have ended.
    """
    with ThreadPoolExecutor(count) as threads:
        running = [threads.submit(work) for _ in range(count)]
        try:
            wait(running)
        except BaseException as error:
            failed.append(error)
            raise
    if failed:
        raise failed[0]


def first_that_starts(limits: Limits, unsafe: bool, through: str) -> Worker:
    """A server of the strongest kind that this machine permits."""
    bwrap, tried, root = shutil.which("bwrap") or "", [], os.geteuid() == 0
    kinds = [through] if through else [*(["bubblewrap"] if bwrap else []), "direct"]
    if root:  # bubblewrap's programs are the superuser's outside, ours are nobody's
        kinds.reverse()
    for kind in kinds:
        try:
            worker = Worker(limits, kind, bwrap)
        except SandboxError as error:
            tried.append(str(error))
            continue
        if kind == "bubblewrap" and root and "pids" not in worker.groups.held:
            worker.close()  # the kernel does not count the superuser's processes
            tried.append("bubblewrap: as root it needs control groups to bound processes")
            if not through:
                continue
            raise SandboxError(tried[-1])
        return worker
    if unsafe:
        return Worker(limits, "nothing")
    raise SandboxError(f"no sandbox can be built here ({'; '.join(tried)}); {ADVICE}")


def facts(worker: Worker) -> dict[str, Any]:
    """What a result says of the sandbox that it came from."""
    said = worker.facts
    return {
        "through": worker.through,
        "groups": sorted(worker.groups.held),
        "memory": "control group" if "memory" in worker.groups.held else "watched",
        "version": version(),
        "python": said["ready"],
        "machine": said["machine"],
        "kernel": said["kernel"],
        "limits": worker.limits._asdict() | {"wall": worker.limits.seconds()},
    }
