"""One program's warden: process 1 of its namespaces, parent of the program, keeper of the tests.

The warden takes every right from itself first, so that the program, its child, has none. The tests
are read only after the program was forked: its memory never held them. As process 1 the warden
cannot be killed from inside its namespaces, and when it ends the kernel ends everything in them.
"""

import gc
import os
import resource
import signal
import types
from typing import Any, NoReturn

from sensorium.sandbox.within import kernel, program, seccomp
from sensorium.sandbox.within.frames import of, receive, send
from sensorium.sandbox.within.link import Ended, Link

LAST = 71  # exit status: there is nothing more to do
HIGHEST = 1024  # descriptors that may be open


def warden(channel: int, setup: dict[str, Any], filter_: Any) -> NoReturn:
    """Waits for one job, has it done, tells how it ended, and ends."""
    if setup["through"] != "nothing":
        size = f"size={setup['files']},nr_inodes=1024,mode=1777"
        kernel.mount("tmp", "/tmp", "tmpfs", kernel.NOSUID | kernel.NODEV, size)
        os.chdir("/tmp")
        harmless(setup, filter_)
    else:
        os.setpgid(0, 0)
    try:
        job = receive(of(channel))
    except EOFError:
        os._exit(LAST)
    send(channel, done(channel, job, setup))
    if setup["through"] == "nothing":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    os._exit(0)


def harmless(setup: dict[str, Any], filter_: Any) -> None:
    """Gives up users, groups, capabilities, resources and system calls."""
    os.setresgid(setup["id"], setup["id"], setup["id"])
    os.setresuid(setup["id"], setup["id"], setup["id"])
    kernel.drop_capabilities()
    kernel.control(kernel.DUMPABLE, 0)
    for name, most in (
        ("NOFILE", 64),
        ("CORE", 0),
        ("MSGQUEUE", 0),
        ("MEMLOCK", 0),
        ("FSIZE", setup["files"]),
        ("STACK", 64 << 20),
        ("NPROC", setup["processes"] + 1),
        ("AS", setup["memory"]),
    ):
        limit(name, most)
    seccomp.load(filter_)


def limit(name: str, most: int) -> None:
    """Lowers a limit of this process and its children."""
    which = vars(resource)[f"RLIMIT_{name}"]
    _, now = resource.getrlimit(which)
    most = most if now == resource.RLIM_INFINITY else min(most, now)
    resource.setrlimit(which, (most, most))


def done(channel: int, job: dict[str, Any], setup: dict[str, Any]) -> dict[str, Any]:
    """Does a job: the program in a process of its own, the tests here."""
    files = {"woken": -1}
    (asked, files["questions"]), (files["answers"], answered) = os.pipe(), os.pipe()
    (files["out"], out), (files["err"], err) = os.pipe(), os.pipe()
    files["woken"], woken = os.pipe()
    os.set_blocking(woken, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    source = job["program"].encode("latin-1") if job["raw"] else job["program"]
    pid = os.fork()
    if pid == 0:
        own(setup["null"], out, err, asked, answered, job["cpu"])
        program.main(job["mode"], source)
    for file in (asked, answered, out, err):
        os.close(file)
    limit("CPU", int(2 * job["cpu"] + job["wall"]) + 10)
    for file in (0, 1, 2):
        if file != channel:
            os.dup2(setup["null"], file)
    link = Link(pid, files, {name: job[name] for name in ("cpu", "wall", "output")})
    tests = receive(of(channel))
    with program.Caught() as caught:
        {"run": ended, "one": forgeable, "two": tested}[job["mode"]](link, tests)
    return outcome(link, caught.error)


def own(null: int, out: int, err: int, asked: int, answered: int, cpu: float) -> None:
    """In the program's process: its five descriptors and no other, its clock, its signals."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, file in enumerate((null, out, err, asked, answered)):
        os.dup2(file, place + 50)
    os.closerange(0, 50)
    for place in range(5):
        os.dup2(place + 50, place, inheritable=place < 3)
    os.closerange(5, HIGHEST)
    limit("CPU", int(cpu) + 1)
    gc.unfreeze()


# --- the three ways ------------------------------------------------------------------------------


def ended(link: Link, tests: Any) -> None:
    """A script: until it is dead; what it says of itself is how it ended."""
    said: dict[str, Any] = {}
    while link.code is None:
        try:
            said = link.read() | said
        except Ended:
            if link.code is None:
                raise
    link.ended = None
    if "error" in said:
        raise of_error(said)
    if said.get("ended") == os.waitstatus_to_exitcode(link.code):
        raise Ended("ended", str(said["ended"]))
    raise link.death()


def forgeable(link: Link, tests: Any) -> None:
    """Program and tests in one text: it must come to its end, and answer a number told only then.

    A program that takes its interpreter apart can do both; that is what the two-process way is for.
    """
    first = link.read()
    if "error" in first:
        raise of_error(first)
    link.write(tests["nonce"])
    if first != {"done": True} or link.read() != {"nonce": tests["nonce"]}:
        raise Ended("failed", "Answer", "the end was announced, and not known about")


def tested(link: Link, tests: Any) -> None:
    """Tests here, the program there: its functions stand in the tests as callers."""
    first = link.read()
    if "error" in first:
        raise of_error(first)
    names: dict[str, Any] = {"__name__": "tests"}
    played(tests["before"], names)
    for name in tests["names"]:
        names[name] = caller(link, name)
    played(tests["tests"], names)


def played(text: str, names: dict[str, Any]) -> None:
    """Runs trusted text over names."""
    types.FunctionType(compile(text, "<tests>", "exec", dont_inherit=True), names)()


def caller(link: Link, name: str) -> Any:
    """A function that is the program's of that name."""

    def call(*words: Any, **named: Any) -> Any:
        return link.call(name, words, named)

    call.__name__ = call.__qualname__ = name
    return call


# --- what is told --------------------------------------------------------------------------------


def of_error(said: dict[str, Any]) -> Ended:
    """The end that a program says an error was."""
    kind, text = str(said["error"]), str(said.get("text", ""))
    if kind == "MemoryError":
        return Ended("oom", kind, text)
    if said.get("compiled") is False:
        return Ended("syntax_error", kind, text)
    if kind in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        return Ended("early_exit", kind, text)
    return Ended("failed", kind, text)


def outcome(link: Link, error: BaseException | None) -> dict[str, Any]:
    """How it ended: what the link saw first counts, whatever the tests made of it."""
    found = {"status": "passed", "detail": "", "text": ""}
    if link.ended is not None:
        found = link.ended.found
    elif isinstance(error, Ended):
        found = error.found
    elif error is not None:
        with program.Caught():
            found = {"status": "failed", "detail": type(error).__name__, "text": str(error)[:500]}
    return found | link.figures()
