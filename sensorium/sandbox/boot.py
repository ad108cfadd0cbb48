"""The interpreter of a fork server: its first words, its code, what it is given of this machine."""

import hashlib
import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from sensorium.sandbox.errors import SandboxError
from sensorium.sandbox.within import start
from sensorium.sandbox.within.frames import packed, receive

PARTS = ("frames", "plain", "kernel", "seccomp", "program", "link", "warden", "start")
NOBODY = 65534
BOOT = """
import json, os, struct, sys, types
def exactly(count):
    text = b""
    while len(text) < count:
        part = os.read(0, count - len(text))
        if not part:
            os._exit(1)
        text += part
    return text
setup = json.loads(exactly(struct.unpack("<I", exactly(4))[0]))
for name, text in setup.pop("code"):
    module = sys.modules[name] = types.ModuleType(name)
    above, _, last = name.rpartition(".")
    above and setattr(sys.modules[above], last, module)
    exec(compile(text, name, "exec"), vars(module))
sys.modules["sensorium.sandbox.within.start"].main(setup)
"""


@cache
def code() -> tuple[tuple[str, str], ...]:
    """The modules that run inside, in the order in which they need each other."""
    folder, above = Path(start.__file__).parent, "sensorium.sandbox.within"
    empty = [(name, "") for name in ("sensorium", "sensorium.sandbox", above)]
    own = [(f"{above}.{part}", (folder / f"{part}.py").read_text("utf-8")) for part in PARTS]
    return (*empty, *own)


@cache
def version() -> str:
    """A short hash of what runs inside: results of another version are other results."""
    return hashlib.sha256(json.dumps([BOOT, code()]).encode()).hexdigest()[:12]


def interpreter() -> list[str]:
    """The words that start it: isolated from the environment, without installed packages."""
    return [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", BOOT]


def environment() -> dict[str, str]:
    """The environment of every program: nothing of ours."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    own = {"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/bin", "PYTHONHASHSEED": "0"}
    return own | dict.fromkeys(threads, "1")


@cache
def wrapping() -> list[str]:
    """Bubblewrap's options: namespaces, and a read-only root that holds the interpreter alone.

    What the interpreter is made of is asked of a fresh one, which has loaded nothing else.
    """
    own, theirs = socket.socketpair()
    with own, theirs:
        asked = subprocess.Popen(interpreter(), stdin=theirs.fileno(), env=environment(), cwd="/")
        theirs.close()
        own.settimeout(20)
        try:
            own.sendall(packed({"through": "asked", "code": code()}))
            found = receive(own.recv)
        except (OSError, EOFError) as error:
            raise SandboxError(f"{interpreter()[0]} does not start: {error}") from error
        finally:
            asked.wait()
    words = [f"--unshare-{name}" for name in ("user", "pid", "net", "uts", "ipc")]
    words += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "sandbox"]
    words += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    for place in found["places"]:
        words += ["--ro-bind", place, place]
    for folder in found["masked"]:
        words += ["--size", "4096", "--tmpfs", folder, "--remount-ro", folder]
    for name in start.DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for loader in start.links(found["places"]):
        words += ["--symlink", os.path.realpath(loader), loader]
    return [*words, "--symlink", "/tmp", "/dev/shm", "--dir", "/tmp", "--remount-ro", "/"]
