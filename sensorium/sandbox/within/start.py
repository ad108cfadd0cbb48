"""The start of a fork server: its namespaces, its root, then a warden for every job.

A fresh interpreter (isolated, without site) is given this code over its standard input. It leaves
the machine's namespaces for its own, builds a root that holds the interpreter and nothing else, and
forks one warden after the other; each goes into process, message and mount namespaces of its own.
"""

import contextlib
import gc
import importlib
import os
import platform
import signal
import sys
import sysconfig
from pathlib import Path
from typing import Any, NoReturn

from sensorium.sandbox.within import kernel, seccomp
from sensorium.sandbox.within.frames import of, receive, send
from sensorium.sandbox.within.warden import LAST, warden

CHANNEL = 0
NEW = kernel.NEWPID | kernel.NEWIPC | kernel.NEWNS
OUTER = NEW | kernel.NEWNET | kernel.NEWUTS
DEVICES = ("null", "zero", "urandom", "random")
ROOT = "/tmp"  # where the new root is mounted until it is the root


def main(setup: dict[str, Any]) -> NoReturn:
    """Builds what `setup` says and serves until the judge is gone."""
    if setup["through"] == "asked":
        send(CHANNEL, {"places": places(), "masked": masked()})
        os._exit(0)
    if setup["through"] == "direct":
        outer(places(), masked())
    if setup["through"] == "bubblewrap":  # it leaves device files writable: their modes and times
        kernel.unshare(kernel.NEWNS)
        kernel.read_only("/")
    for file in setup["cgroups"]:
        os.write(file, b"0")
        os.close(file)
    for name in setup["modules"]:
        importlib.import_module(name)
    setup["null"] = os.open("/dev/null", os.O_RDWR)
    serve(setup)


def serve(setup: dict[str, Any]) -> NoReturn:
    """One warden after the other."""
    filter_, flags = None, 0
    if setup["through"] != "nothing":
        filter_, flags = seccomp.made(), NEW
        kernel.control(kernel.NO_NEW_PRIVS, 1)
        kernel.drop_bounds()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no handler: process 1 then cannot be interrupted
    gc.collect()
    gc.freeze()  # pages that no collection touches stay shared
    version = f"{platform.python_implementation()} {platform.python_version()}"
    send(CHANNEL, {"ready": version, "machine": platform.machine(), "kernel": platform.release()})
    while True:
        pid = kernel.fork_into(flags)
        if pid == 0:
            try:
                warden(CHANNEL, setup, filter_)
            finally:
                os._exit(70)
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == LAST:
            os._exit(0)
        with contextlib.suppress(BrokenPipeError):
            send(CHANNEL, {"exit": code, "cpu": usage.ru_utime + usage.ru_stime})


# --- what the root holds -------------------------------------------------------------------------


def places() -> list[str]:
    """What the interpreter is made of: its file, its library, the folders of shared objects."""
    found = {os.path.realpath(sys.executable)}
    found |= {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = line.split(maxsplit=5)[5] if line.count("/") > 0 else ""
        if ".so" in os.path.basename(file):
            found.add(os.path.dirname(os.path.realpath(file)))
    return sorted(p for p in found if not any(p.startswith(q + "/") for q in found))


def masked() -> list[str]:
    """Folders of installed packages inside those places: shown empty."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders |= {f"{sysconfig.get_path('stdlib')}/site-packages"}
    found = {os.path.realpath(folder) for folder in folders if os.path.isdir(folder)}
    return sorted(f for f in found if any(f.startswith(place + "/") for place in places()))


def outer(held: list[str], hidden: list[str]) -> None:
    """Goes into new namespaces and a new root; the process that comes back is their process 1."""
    kernel.unshare(kernel.NEWUSER)
    send(CHANNEL, {"map": os.getpid()})
    receive(of(CHANNEL))
    with contextlib.suppress(PermissionError):  # an ordinary user has no right to, and no need
        os.setgroups([])
    kernel.unshare(OUTER)
    pid = os.fork()
    if pid:
        send(CHANNEL, {"pid": pid})
        os.closerange(0, 3)
        os.waitpid(pid, 0)
        os._exit(0)
    kernel.control(kernel.PDEATHSIG, signal.SIGKILL)
    kernel.hostname("sandbox")
    files = [os.open(place, os.O_PATH) for place in held]
    nodes = [os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES]
    kernel.mount(None, "/", None, kernel.REC | kernel.PRIVATE)
    flags = kernel.NOSUID | kernel.NODEV
    kernel.mount("root", ROOT, "tmpfs", flags, "size=1m,nr_inodes=1024,mode=755")
    for place, file in zip(held, files, strict=True):
        put(file, ROOT + place)
    for name, file in zip(DEVICES, nodes, strict=True):
        put(file, f"{ROOT}/dev/{name}")
    for folder in hidden:
        kernel.mount("none", ROOT + folder, "tmpfs", flags, "size=4k,nr_inodes=2,mode=755")
    loaders(held)
    os.mkdir(f"{ROOT}/tmp")
    os.symlink("/tmp", f"{ROOT}/dev/shm")
    kernel.read_only(ROOT)
    kernel.pivot(ROOT)
    for file in (*files, *nodes):
        os.close(file)


def put(file: int, at: str) -> None:
    """Shows what a descriptor stands for at a path of the new root."""
    source = f"/proc/self/fd/{file}"
    if os.path.isdir(source):
        os.makedirs(at, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(at), exist_ok=True)
        Path(at).touch()
    kernel.mount(source, at, None, kernel.BIND | kernel.REC)


def loaders(held: list[str]) -> None:
    """Links to the dynamic loader, under the name that programs know it by."""
    for loader in links(held):
        os.makedirs(os.path.dirname(ROOT + loader), exist_ok=True)
        os.symlink(os.path.realpath(loader), ROOT + loader)


def links(held: list[str]) -> list[str]:
    """The names of the dynamic loader that are not in the places themselves."""
    names = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
    return [n for n in names if os.path.exists(n) and not any(n.startswith(p + "/") for p in held)]
