"""The warden's hold on a program: its clocks, its pipes, its questions and answers."""

import builtins
import json
import os
import select
import signal
import struct
import time
from typing import Any

from sensorium.sandbox.within.frames import packed
from sensorium.sandbox.within.plain import Handle, decode, encode

KEPT = 64 << 10  # bytes of output that are kept of each stream
ANSWER = 16 << 20  # bytes of one answer
LOOK = 0.2  # seconds between two looks at the clocks
DYING = 5  # seconds that a program may take to die after it closed its answers
IDLE = 0.02  # of a core: what uses less of it sleeps, what uses more may be kept waiting by others
BUSY = 3  # times the limit on the wall for what does not sleep
CORES = os.cpu_count() or 1
PLAIN = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception)
}
ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
MANY = ("UnicodeDecodeError", "UnicodeEncodeError", "UnicodeTranslateError", "ExceptionGroup")


class Ended(BaseException):
    """The program is at its end: a status, its detail, and words."""

    def __init__(self, status: str, detail: str = "", text: str = "") -> None:
        super().__init__(status, detail, text)
        self.found = {"status": status, "detail": detail, "text": text}


class ProgramError(Exception):
    """An error of the program's whose type is none of Python's own."""


class Link:
    """Asks a program and watches it; every wait is on all its pipes and both its clocks.

    `cpu` is seconds, `wall` seconds in which neither program nor tests run (three times as much in
    all: a verdict must not depend on what else the machine does), `output` bytes of both streams.
    """

    def __init__(self, pid: int, files: dict[str, int], limits: dict[str, float]) -> None:
        self.pid, self.files, self.limits = pid, files, limits
        self.began, self.code, self.ended = time.monotonic(), None, None
        self.idle, self.last = 0.0, (self.began, time.process_time())
        self.streams = {files["out"]: bytearray(), files["err"]: bytearray()}
        self.written, self.unread, self.cpu = 0, bytearray(), 0.0
        self.poll, self.open = select.poll(), {"answers", "out", "err"}
        for name in ("answers", "out", "err", "woken"):
            os.set_blocking(files[name], False)
            self.poll.register(files[name], select.POLLIN)
        os.set_blocking(files["questions"], False)

    # --- asking ------------------------------------------------------------------------------

    def call(self, name: str, words: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Calls a function of the program. Raises its error, or Ended."""
        if self.ended is not None:
            raise self.ended
        ask = {"name": name, "words": encode(words, given), "named": encode(named, given)}
        self.write(ask)
        answer = self.read()
        if "error" in answer:
            if answer["error"] == "MemoryError":
                raise self.end(Ended("oom", "MemoryError"))
            if answer["error"] in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
                raise self.end(Ended("early_exit", answer["error"], answer.get("text", "")))
            kind = ProgramError if answer["error"] in MANY else PLAIN.get(answer["error"])
            raise (kind or ProgramError)(str(answer.get("text")))
        if "value" not in answer:
            raise self.end(Ended("failed", "Answer", "the program answered what nobody asked"))
        try:
            return decode(answer["value"], lambda sent: Handle(sent["h"][0], str(sent["h"][1])))
        except ODD as error:
            raise self.end(Ended("failed", "Answer", f"no plain value: {error}")) from error

    def write(self, message: Any) -> None:
        """Sends a question, reading on meanwhile."""
        rest, file = memoryview(packed(message)), self.files["questions"]
        self.poll.register(file, select.POLLOUT)
        try:
            while rest:
                try:
                    rest = rest[os.write(file, rest) :]
                except BlockingIOError:
                    self.wait()
                except BrokenPipeError:
                    break  # it is at its end: reading says how
        finally:
            self.poll.unregister(file)

    def read(self) -> dict[str, Any]:
        """The next answer. Raises Ended when the program ends, stops or floods first."""
        while True:
            if len(self.unread) >= 4:
                (length,) = struct.unpack("<I", self.unread[:4])
                if length > ANSWER:
                    raise self.end(Ended("failed", "Answer", f"an answer of {length} bytes"))
                if len(self.unread) >= 4 + length:
                    return self.understood(length)
            if self.code is not None:
                raise self.end(self.death())
            if "answers" not in self.open:  # it died, or it closed the pipe and lives on
                self.limits["wall"] = min(self.limits["wall"], self.idle + DYING)
            self.wait()

    def understood(self, length: int) -> dict[str, Any]:
        """An answer that has come whole."""
        text = bytes(self.unread[4 : 4 + length])
        del self.unread[: 4 + length]
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.end(Ended("failed", "Answer", f"no answer: {error}")) from error
        if not isinstance(answer, dict):
            raise self.end(Ended("failed", "Answer", "no answer"))
        return answer

    # --- watching ----------------------------------------------------------------------------

    def wait(self) -> None:
        """Until something happens; what happened is taken in. Raises Ended when a limit is met."""
        self.cpu = max(self.cpu, clock(self.pid) if self.code is None else 0.0)
        now, worked = time.monotonic(), self.cpu + time.process_time()
        if worked - self.last[1] < IDLE * (now - self.last[0]):
            self.idle += now - self.last[0]
        self.last, wall = (now, worked), self.limits["wall"]
        left = min(wall - self.idle, BUSY * wall - (now - self.began))
        spare = self.limits["cpu"] - self.cpu
        if spare <= 0:
            raise self.end(Ended("timeout_cpu", f"{self.limits['cpu']:g} s"))
        if left <= 0:
            raise self.end(Ended("timeout_wall", f"{wall:g} s"))
        ready = self.poll.poll(max(2.0, min(left, spare / CORES, LOOK) * 1000))
        for file, _ in ready:
            if file == self.files["woken"]:
                while piece(file):
                    pass
                self.reap()
        for name in tuple(self.open):
            self.take(name)

    def reap(self) -> None:
        """Collects what died: the program, and orphans that have become the warden's."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.code = status
                self.cpu = max(self.cpu, usage.ru_utime + usage.ru_stime)

    def take(self, name: str) -> None:
        """Takes in all that has come: answers whole; of output the beginning, and its length."""
        file = self.files[name]
        while part := piece(file):
            if name == "answers":
                self.unread += part
                if len(self.unread) > ANSWER + 8:
                    break
                continue
            self.written += len(part)
            kept = self.streams[file]
            kept += part[: KEPT - len(kept)]
            if self.written > self.limits["output"]:
                raise self.end(Ended("output_limit", f"{int(self.limits['output'])} bytes"))
        if part is None:
            self.poll.unregister(file)
            self.open.remove(name)

    # --- ends --------------------------------------------------------------------------------

    def end(self, ended: Ended) -> Ended:
        """Remembers the first end: tests that swallow errors do not change it."""
        self.ended = self.ended or ended
        return self.ended

    def death(self) -> Ended:
        """How a program that is dead died."""
        status = self.code or 0
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            if name in ("SIGXCPU", "SIGKILL") and self.cpu >= self.limits["cpu"]:
                return Ended("timeout_cpu", f"{self.limits['cpu']:g} s")
            return Ended("crashed", name)
        return Ended("early_exit", str(os.WEXITSTATUS(status)))

    def figures(self) -> dict[str, Any]:
        """Seconds and output so far."""
        self.reap()
        if self.code is None:
            self.cpu = max(self.cpu, clock(self.pid))
        for name in ("out", "err"):
            if name in self.open and self.written <= self.limits["output"]:
                self.take(name)
        out, err = (bytes(kept).decode("latin-1") for kept in self.streams.values())
        seconds = {"cpu": self.cpu, "wall": time.monotonic() - self.began}
        return seconds | {"out": out, "err": err}


def piece(file: int) -> bytes | None:
    """What a descriptor holds now, at most 64 KiB; b"" when nothing, None when it is at its end."""
    try:
        return os.read(file, 64 << 10) or None
    except BlockingIOError:
        return b""


def clock(pid: int) -> float:
    """CPU seconds of another process; its clock's number as clock_getcpuclockid(3) makes it."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # it has just been collected
        return 0.0


def given(value: Any) -> Any:
    """A value of the tests that is no plain value: only what came from the program may go back."""
    if isinstance(value, Handle):
        return {"h": [value.number]}
    kind = type(value).__name__
    text = f"a test hands the program a {kind}, which cannot be sent: check it in one process"
    raise Ended("infrastructure_error", "Argument", text)
