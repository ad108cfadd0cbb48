"""The few calls of the Linux kernel that the sandbox is made of, through ctypes.

Runs inside the sandbox's own interpreter, so it needs nothing but the standard library.
See namespaces(7), user_namespaces(7), pivot_root(2), mount_setattr(2), capabilities(7).
"""

import ctypes
import os
import platform
import signal

NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
REMOUNT, NOATIME, NODIRATIME, BIND = 32, 1024, 2048, 4096
REC, PRIVATE, RELATIME = 16384, 1 << 18, 1 << 21
DETACH = 2
PDEATHSIG, DUMPABLE, CAPBSET_DROP, NO_NEW_PRIVS = 1, 4, 24, 38
EMPTY_PATH, RECURSIVE, FDCWD = 0x1000, 0x8000, -100
NUMBERS = {
    "x86_64": {"clone": 56, "pivot_root": 155, "capset": 126, "mount_setattr": 442},
    "aarch64": {"clone": 220, "pivot_root": 41, "capset": 91, "mount_setattr": 442},
}

_libc = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock: a fork needs it


def _call(name: str, *words: object) -> int:
    """One function of the C library; its error as an OSError that names it."""
    done = getattr(_libc, name)(*words)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return done


def _system(name: str, *words: object) -> int:
    """One system call that the C library has no function for."""
    number = NUMBERS[platform.machine()][name]
    done = _libc.syscall(ctypes.c_long(number), *words)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return done


def unshare(flags: int) -> None:
    """Leaves the namespaces that the flags name for new ones."""
    _call("unshare", flags)


def fork_into(flags: int) -> int:
    """Forks into new namespaces; 0 in the child, which is process 1 when NEWPID is among them."""
    if not flags:
        return os.fork()
    hooks = ctypes.pythonapi
    hooks.PyOS_BeforeFork()
    try:
        pid = _system("clone", ctypes.c_long(flags | signal.SIGCHLD), 0, 0, 0, 0)
    except OSError:
        hooks.PyOS_AfterFork_Parent()
        raise
    if pid == 0:
        hooks.PyOS_AfterFork_Child()
    else:
        hooks.PyOS_AfterFork_Parent()
    return pid


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    words = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), data.encode() or None)


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _call("umount2", os.fsencode(target), flags)


def pivot(root: str) -> None:
    """Makes a mounted folder the root and drops the old root (pivot_root(2), the last example)."""
    os.chdir(root)
    _system("pivot_root", b".", b".")
    unmount(".", DETACH)
    os.chdir("/")


def read_only(target: str, flags: int = RDONLY | NOSUID) -> None:
    """Makes a mount and all mounts below it read-only."""
    fields = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)  # struct mount_attr: the same bits for these
    _system(
        "mount_setattr",
        ctypes.c_int(FDCWD),
        os.fsencode(target),
        ctypes.c_uint(RECURSIVE),
        ctypes.byref(fields),
        ctypes.c_size_t(32),
    )


def hostname(name: str) -> None:
    """Names the machine, in its own namespace."""
    _call("sethostname", name.encode(), len(name))


def control(option: int, value: int, pointer: object = 0) -> None:
    """prctl(2)."""
    _call("prctl", option, ctypes.c_ulong(value), pointer, 0, 0)


def drop_bounds() -> None:
    """Empties the bounding set: no program that is started can hold a capability."""
    for capability in range(64):
        try:
            control(CAPBSET_DROP, capability)
        except OSError:  # the kernel knows no more
            return


def drop_capabilities() -> None:
    """Gives up every capability of this process (capset(2), version 3 of its structures)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _system("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
