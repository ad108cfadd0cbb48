"""Memory of all processes of a program, where no control group counts it.

A limit of a process is no limit of thirty of them. This thread adds up the resident memory below
each fork server five times a second and ends the program that holds too much. Pages that processes
share are counted for each, so that it errs on the side of the machine.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

EVERY = 0.2  # seconds
PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(NamedTuple):
    """A line of the table of processes."""

    pid: int
    parent: int
    resident: int


class Watch(threading.Thread):
    """Watches servers until it is closed.

    Args:
        servers: gives the process 1 of each server that has no control group for memory.
        most: bytes below each.
        over: told the server whose program is about to be ended.
    """

    def __init__(
        self, servers: Callable[[], Iterable[int]], most: int, over: Callable[[int], None]
    ) -> None:
        super().__init__(daemon=True)
        self.servers, self.most, self.over = servers, most, over
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        """Looks, waits, looks again."""
        while not self.done.wait(EVERY):
            table = processes()
            for server in self.servers():
                held = below(table, server)
                if sum(one.resident for one in held) > self.most:
                    self.over(server)
                    for one in held:
                        if one.parent == server:  # the warden: with it goes its whole namespace
                            with contextlib.suppress(ProcessLookupError):
                                os.kill(one.pid, 9)

    def close(self) -> None:
        """Stops watching."""
        self.done.set()
        self.join()


def processes() -> list[Process]:
    """Every process of the machine that this one may see."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found.append(Process(int(folder.name), int(fields[1]), int(fields[21]) * PAGE))
    return found


def below(table: list[Process], root: int) -> list[Process]:
    """The children of a process, theirs, and so on; without itself."""
    found, near = [], {root}
    while near:
        new = [one for one in table if one.parent in near]
        found += new
        near = {one.pid for one in new}
    return found


def children(root: int) -> int:
    """How many processes are below one."""
    own = Path(f"/proc/{root}/task/{root}/children")
    if not own.exists():  # a kernel without these lists
        return len(below(processes(), root))
    try:
        near = [int(pid) for pid in own.read_text().split()]
    except OSError:  # it ended meanwhile
        return 0
    return len(near) + sum(map(children, near))
