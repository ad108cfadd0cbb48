"""The sandbox tries to break itself: hostile programs, one exact status each, and what they left.

After every program the fork server must hold the processes, mounts, files and sockets that it held
before, and an honest or a wrong program (by turns) must still get its own verdict from it; all the
while another server does the same beside it. Runs before any score.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.sandbox import hostile, hostile_more
from sensorium.sandbox.errors import SandboxError
from sensorium.sandbox.hostile import RIGHT, TESTS, WRONG, Program
from sensorium.sandbox.jobs import Job, Limits
from sensorium.sandbox.pool import Sandbox, together
from sensorium.sandbox.watch import children
from sensorium.sandbox.worker import Worker

Progress = Callable[[int, int], None]
LIMITS = Limits(cpu=0.2, wall=12.0, memory=256 << 20, files=1 << 20, processes=16, output=64 << 10)
PROGRAMS = (
    *(*hostile.TIME, *hostile.MANY, *hostile.FILES, *hostile.NETWORK),
    *(*hostile_more.KERNEL, *hostile_more.VERDICT, *hostile_more.TEXTS, *hostile_more.HONEST),
)
NEIGHBOURS = ((RIGHT, "passed"), (WRONG, "failed"))
SETTLE = 2.0  # seconds in which the kernel clears away what died
_proven: set[tuple[str, str]] = set()


class Seen(NamedTuple):
    """What a program of the self-test came to.

    Attributes:
        name, expected: the program's.
        seen: status and detail; and what it left or wrote, where that is wrong.
        contained: whether all is as it must be.
    """

    name: str
    expected: str
    seen: str
    contained: bool


class State(NamedTuple):
    """What a fork server holds between two programs."""

    processes: int
    mounts: int
    files: tuple[str, ...]
    sockets: int


def selftest(
    unsafe: bool = False, through: str = "", progress: Progress | None = None
) -> dict[str, Any]:
    """Runs every program of the self-test.

    Args:
        unsafe, through: as of `Sandbox`.
        progress: called with (programs done, all).

    Returns:
        {"holds", "programs": [{"name", "expected", "seen", "contained"}], "sandbox", "seconds"}.
    """
    began = time.monotonic()
    with Sandbox(2, LIMITS, unsafe, through) as box, Outside() as outside:
        found: dict[int, Seen] = {}
        left = iter(range(len(PROGRAMS)))
        lock, failed, servers = threading.Lock(), [], list(box.workers)

        def work() -> None:
            try:
                worker = servers.pop()
                before = state(worker)
                while not failed:
                    with lock:
                        place = next(left, None)
                    if place is None:
                        return
                    seen = one(worker, PROGRAMS[place], NEIGHBOURS[place % 2], outside, before)
                    with lock:
                        found[place] = seen
                        if progress is not None:
                            progress(len(found), len(PROGRAMS))
            except BaseException as error:
                failed.append(error)
                raise

        together(work, len(box.workers), failed)
        rows = [found[place] for place in range(len(PROGRAMS))]
        rows.append(outside.seen())
        holds = all(row.contained for row in rows)
        if holds:
            _proven.add((box.facts["version"], box.facts["through"]))
        return {
            "holds": holds,
            "programs": [row._asdict() for row in rows],
            "sandbox": box.facts,
            "seconds": round(time.monotonic() - began, 1),
        }


def proven(box: Sandbox, progress: Progress | None = None) -> None:
    """Runs the self-test of a sandbox's kind, once in the life of this process.

    SandboxError: a program was not contained; with the first of them.
    """
    if (box.facts["version"], box.facts["through"]) in _proven or box.facts["through"] == "nothing":
        return
    found = selftest(through=box.facts["through"], progress=progress)
    if not found["holds"]:
        raise SandboxError(f"the sandbox does not hold: {broken(found)}; no score is given")


def broken(found: dict[str, Any]) -> str:
    """What did not hold, in words."""
    rows = [row for row in found["programs"] if not row["contained"]]
    said = [f"{row['name']}: {row['seen']} instead of {row['expected']}" for row in rows[:5]]
    return "; ".join(said) + (f"; and {len(rows) - 5} more" if len(rows) > 5 else "")


def one(
    worker: Worker, program: Program, neighbour: tuple[str, str], outside: "Outside", before: State
) -> Seen:
    """Runs a program, what comes after it, and a neighbour: its text and what must become of it."""
    text = outside.filled(program.text)
    outcome = worker.check(job(program, text))
    seen = f"{outcome.status} {outcome.detail}".strip()
    good = seen == program.expected or outcome.status == program.expected
    said = outcome.out
    if program.then:
        after = worker.check(Job(program.then))
        good, said = good and after.status == "ended", after.out
    if program.says is not None and said != program.says:
        good, seen = False, f"{seen}, wrote {said[:80]!r}"
    text, status = neighbour
    found = worker.check(Job(text, "two", TESTS, names=("f",))).status
    if found != status:
        good, seen = False, f"{seen}, then a neighbour {found} instead of {status}"
    left = settled(worker, before)
    if left != before:
        good, seen = False, f"{seen}, left {left} of {before}"
    return Seen(program.name, program.expected, seen, good)


def job(program: Program, text: str) -> Job:
    """A program of the self-test as a job."""
    limits = {"cpu": program.cpu, "wall": program.wall}
    return Job(text, program.mode, TESTS if program.mode == "two" else "", "", ("f",), **limits)


def settled(worker: Worker, wanted: State) -> State:
    """What a server holds, once it holds what it should or has had time to."""
    began = time.monotonic()
    while (now := state(worker)) != wanted and time.monotonic() - began < SETTLE:
        time.sleep(0.005)
    return now


def state(worker: Worker) -> State:
    """What a server holds now, read from outside."""
    first = worker.first
    if first is None:
        return State(0, 0, (), 0)
    own = Path(f"/proc/{first}")
    mounts = len((own / "mountinfo").read_text().splitlines())
    files = tuple(sorted(os.listdir(own / "root/tmp")))
    sockets = 0
    for name in ("unix", "tcp", "tcp6", "udp", "udp6", "netlink", "packet", "raw"):
        if (own / "net" / name).exists():
            sockets += len((own / "net" / name).read_text().splitlines()) - 1
    return State(children(first), mounts, files, sockets)


class Outside:
    """The machine around the sandbox: listeners that nobody may reach, files nobody may make."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.name = f"sensorium-{os.getpid()}"
        self.unix.bind(f"\0{self.name}")
        self.unix.listen()
        for each in (self.tcp, self.unix):
            each.setblocking(False)
        self.mounts = self.mounted()

    def filled(self, text: str) -> str:
        """A program's text with what it is to look for."""
        words = {"port": self.tcp.getsockname()[1], "name": self.name, "most": 0.9 * LIMITS.cpu}
        words["package"] = str(Path(__file__).parent.parent)
        for name, value in words.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    @staticmethod
    def mounted() -> int:
        """Mounts of this process."""
        return len(Path("/proc/self/mountinfo").read_text().splitlines())

    def seen(self) -> Seen:
        """Whether anything came through."""
        found = []
        for name, each in (("TCP", self.tcp), ("abstract", self.unix)):
            try:
                each.accept()[0].close()
                found.append(f"a connection to the {name} socket")
            except BlockingIOError:
                pass
        if self.mounted() != self.mounts:
            found.append("mounts")
        places = ("/", "/tmp", "/usr", "/dev", "/etc")
        found += [p for p in places if os.path.exists(os.path.join(p, "sensorium-selftest"))]
        seen = ", ".join(found) or "nothing"
        return Seen("the machine outside", "nothing", seen, not found)

    def __enter__(self) -> "Outside":
        return self

    def __exit__(self, *_: object) -> None:
        self.tcp.close()
        self.unix.close()
