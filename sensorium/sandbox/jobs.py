"""What is asked of the sandbox and what it answers."""

from typing import NamedTuple

PASSED, ENDED = "passed", "ended"
FAILED = ("failed", "syntax_error", "early_exit", "crashed")
STOPPED = ("timeout_cpu", "timeout_wall", "oom", "output_limit")
BROKEN = "infrastructure_error"
STATUSES = (PASSED, ENDED, *FAILED, *STOPPED, BROKEN)


class Limits(NamedTuple):
    """What one program may use.

    Attributes:
        cpu: seconds of CPU time of the program's process.
        wall: seconds on the clock in which it sleeps (three times as many in all, so that a busy
            machine does not decide); 0: three times `cpu`.
        memory: bytes of address space a process, and of memory for all where groups hold.
        files: bytes of the private folder /tmp, and of one file.
        processes: processes and threads at once.
        output: bytes written to standard output and error.
    """

    cpu: float = 3.0
    wall: float = 0.0
    memory: int = 1 << 30
    files: int = 16 << 20
    processes: int = 32
    output: int = 1 << 20

    def seconds(self) -> float:
        """The limit on the clock."""
        return float(self.wall or 3 * self.cpu)


class Job(NamedTuple):
    """A program and how it is judged.

    Attributes:
        program: its text; bytes are read as Python reads a file, with its coding line.
        mode: "two": `tests` run in another process and call the program's functions `names`;
            "one": the program holds its tests and passes when it comes to its end (forgeable);
            "run": a script.
        before: trusted text that the tests need, run before them.
        cpu, wall: its own seconds of CPU and on the clock; 0: the sandbox's, three times `cpu`.
    """

    program: str | bytes
    mode: str = "run"
    tests: str = ""
    before: str = ""
    names: tuple[str, ...] = ()
    cpu: float = 0.0
    wall: float = 0.0


class Outcome(NamedTuple):
    """How a program ended.

    Attributes:
        status: one of `STATUSES`.
        detail: the error's type, the signal, the exit code, or the limit that was met.
        text: the error's words, which are the program's own.
        cpu, wall: seconds.
        out, err: the first 64 KiB of standard output and error.
        forgeable: whether a program that takes its interpreter apart could have made this itself.
    """

    status: str
    detail: str = ""
    text: str = ""
    cpu: float = 0.0
    wall: float = 0.0
    out: str = ""
    err: str = ""
    forgeable: bool = False
