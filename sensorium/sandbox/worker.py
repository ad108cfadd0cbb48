"""One fork server, from the judge's side: started, asked, watched, ended and started again."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from sensorium.sandbox.boot import NOBODY, code, environment, interpreter, wrapping
from sensorium.sandbox.cgroups import Groups
from sensorium.sandbox.errors import SandboxError
from sensorium.sandbox.jobs import BROKEN, Job, Limits, Outcome
from sensorium.sandbox.within.frames import packed, receive

PATIENCE = 20.0  # seconds beyond its limits that a warden may take before its server is ended
MODULES = (
    *("bisect", "collections", "copy", "functools", "heapq", "itertools", "math", "operator"),
    *("random", "re", "string", "typing", "json", "traceback"),
)


class Worker:
    """A fork server in its own namespaces, for one program at a time.

    Args:
        limits: of every program.
        through: "bubblewrap", "direct", or "nothing" (not isolated).
        bwrap: bubblewrap's file, where it is used.

    Raises:
        SandboxError: it does not start; with what it said.
    """

    def __init__(self, limits: Limits, through: str, bwrap: str = "") -> None:
        self.limits, self.through, self.bwrap = limits, through, bwrap
        self.facts: dict[str, Any] = {}
        self.overfull = False  # set by the watch, where there is one
        self._start()

    def _start(self) -> None:
        limits, spare = self.limits, 64 << 20
        self.groups = Groups(limits.memory + limits.files + spare, limits.processes + 8)
        self.first: int | None = None  # process 1 of the server's namespaces
        self.socket, inner = socket.socketpair()
        self.process: subprocess.Popen[bytes] | None = None
        self.said = tempfile.TemporaryFile()  # noqa: SIM115
        doors = self.groups.doors()
        information, told = os.pipe()
        try:
            self.process = subprocess.Popen(
                self._words(told),
                stdin=inner.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self.said,
                pass_fds=(*doors, *([told] if self.through == "bubblewrap" else [])),
                env=environment(),
                cwd="/",
                start_new_session=True,
            )
            os.close(told)
            setup = limits._asdict() | {"through": self.through, "code": code()}
            setup |= {"cgroups": doors, "modules": MODULES, "id": NOBODY}
            self.socket.settimeout(PATIENCE)
            self._say(setup)
            if self.through == "direct":
                self._map(self._hear()["map"])
                self._say(True)
                self.first = self._hear()["pid"]
            elif self.through == "bubblewrap":
                self.first = self._told(information)
            self.facts = self._hear()
        except (OSError, EOFError, ValueError, KeyError) as error:
            why = self._why(error)
            self.close()
            raise SandboxError(why) from error
        finally:
            inner.close()
            os.close(information)
            for door in doors:
                os.close(door)

    def _words(self, told: int) -> list[str]:
        if self.through != "bubblewrap":
            return interpreter()
        return [self.bwrap, "--info-fd", str(told), *wrapping(), "--", *interpreter()]

    def _told(self, information: int) -> int:
        """Process 1 of bubblewrap's namespaces, from what it says when it has made them."""
        text = b""
        while not text.rstrip().endswith(b"}"):
            part = os.read(information, 4096)
            if not part:
                raise EOFError("bubblewrap ended")
            text += part
        return json.loads(text)["child-pid"]

    def _map(self, pid: int) -> None:
        """Gives the server's users: nobody, and where we are the superuser, that one as well."""
        own, group = os.geteuid(), os.getegid()
        kept = "0 0 1\n" if own == 0 else ""
        if own:
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        theirs = (own, group) if own else (NOBODY, NOBODY)
        Path(f"/proc/{pid}/uid_map").write_text(f"{kept}{NOBODY} {theirs[0]} 1\n")
        Path(f"/proc/{pid}/gid_map").write_text(f"{kept}{NOBODY} {theirs[1]} 1\n")

    # --- one job ---------------------------------------------------------------------------------

    def check(self, job: Job) -> Outcome:
        """Does a job. A server that fails is replaced, and the outcome says so."""
        cpu = job.cpu or self.limits.cpu
        wall = job.wall or (3 * cpu if job.cpu else self.limits.seconds())
        raw = isinstance(job.program, bytes)
        text = job.program.decode("latin-1") if isinstance(job.program, bytes) else job.program
        head = {"mode": job.mode, "program": text, "raw": raw, "cpu": cpu, "wall": wall}
        head["output"] = self.limits.output
        tests: dict[str, Any] = {"nonce": secrets.token_hex(16)}
        if job.mode == "two":
            tests = {"tests": job.tests, "before": job.before, "names": job.names}
        began, verdict = time.monotonic(), None
        try:
            self.socket.settimeout(2 * cpu + 4 * wall + PATIENCE)
            self._say(head)
            self._say(tests)
            while True:
                heard = self._hear()
                if "exit" in heard:
                    break
                verdict = heard
        except (OSError, EOFError, ValueError, KeyError) as error:
            ran_out = self._ran_out()
            why = self._why(error)
            self.close()
            self._start()
            if ran_out:
                return Outcome("oom", "SIGKILL", forgeable=job.mode == "one")
            return Outcome(BROKEN, type(error).__name__, why, wall=time.monotonic() - began)
        ran_out, own = self._ran_out(), job.mode == "one"
        if verdict is None:
            return self._unsaid(heard, ran_out, time.monotonic() - began, own)
        if ran_out:
            verdict |= {"status": "oom", "detail": "SIGKILL"}
        return Outcome(**verdict, forgeable=own)

    def _unsaid(self, heard: dict[str, Any], ran_out: bool, wall: float, own: bool) -> Outcome:
        """The warden died before it said anything: of memory, of its own clock, or of a fault."""
        cpu, code = float(heard["cpu"]), int(heard["exit"])
        if ran_out:
            return Outcome("oom", "SIGKILL", "in the tests", cpu, wall, forgeable=own)
        if code == -9:
            return Outcome("timeout_cpu", "in the tests", "", cpu, wall, forgeable=own)
        return Outcome(BROKEN, f"exit {code}", "the warden ended early", cpu, wall)

    def _ran_out(self) -> bool:
        """Whether a process was ended for want of memory since the last look."""
        over, self.overfull = self.overfull, False
        return self.groups.killed() or over

    def _say(self, message: Any) -> None:
        self.socket.sendall(packed(message))

    def _hear(self) -> dict[str, Any]:
        return receive(self.socket.recv)

    def _why(self, error: Exception) -> str:
        """What a server said before it died, or how it is silent."""
        self.said.seek(0)
        lines = self.said.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
        return f"{self.through}: {lines[-1] if lines else f'{type(error).__name__}: {error}'}"

    def close(self) -> None:
        """Ends the server and with it everything it started."""
        self.socket.close()
        if self.first is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first, 9)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.said.close()
        self.groups.close()
