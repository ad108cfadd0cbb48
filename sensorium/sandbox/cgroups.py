"""Control groups: memory, processes and CPU of a fork server and all that it starts.

Both versions are served where this process may make groups below its own (version 2) or below its
own in each hierarchy (version 1); where it may not, the limits of single processes stand alone.
See cgroups(7).
"""

import contextlib
import os
import time
import uuid
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
OWN = Path("/proc/self/cgroup")
PERIOD = 100_000  # microseconds
STALE = 60  # seconds


class Groups:
    """The groups of one fork server: folders of the control-group file systems."""

    def __init__(self, memory: int, processes: int, cores: float = 1.0) -> None:
        self.folders: list[Path] = []
        self.held: set[str] = set()
        self.seen = 0
        quota = str(int(cores * PERIOD))
        for kind, parent in _parents().items():
            wanted = {
                "memory": {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory},
                "pids": {"pids.max": processes},
                "cpu": {"cpu.cfs_period_us": PERIOD, "cpu.cfs_quota_us": quota},
                "": {
                    "memory.max": memory,
                    "memory.swap.max": 0,
                    "pids.max": processes,
                    "cpu.max": f"{quota} {PERIOD}",
                },
            }[kind]
            _swept(parent)
            self._make(kind, parent / f"sensorium-{os.getpid()}-{uuid.uuid4().hex[:8]}", wanted)
        self.seen = self.kills()

    def _make(self, kind: str, folder: Path, wanted: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # not allowed: told in `held`
            folder.mkdir()
            self.folders.append(folder)
            done = set()
            for name, value in wanted.items():
                with contextlib.suppress(OSError):
                    (folder / name).write_text(str(value))
                    done.add(name.split(".")[0])
            self.held |= done
            if not done:
                self._leave(folder)

    def doors(self) -> list[int]:
        """Descriptors; a process that writes "0" to them is in the groups."""
        return [os.open(folder / "cgroup.procs", os.O_WRONLY) for folder in self.folders]

    def killed(self) -> bool:
        """Whether the kernel has ended a process for want of memory since the last call."""
        before, self.seen = self.seen, self.kills()
        return self.seen > before

    def kills(self) -> int:
        """How often that has happened in all."""
        count = 0
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                with contextlib.suppress(OSError):
                    for line in (folder / name).read_text().splitlines():
                        word, _, number = line.partition(" ")
                        count += int(number) if word == "oom_kill" else 0
        return count

    def close(self) -> None:
        """Takes the groups away; their processes must be gone."""
        for folder in tuple(self.folders):
            self._leave(folder)

    def _leave(self, folder: Path) -> None:
        self.folders.remove(folder)
        for wait in (0.0, 0.01, 0.05, 0.2, 1.0):
            time.sleep(wait)
            with contextlib.suppress(OSError):
                folder.rmdir()
            if not folder.exists():
                return


def _swept(parent: Path) -> None:
    """Takes away what a judge that was killed left; the kernel keeps groups that hold a process."""
    for folder in parent.glob("sensorium-*-*"):
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_mtime > STALE
            if old and not Path("/proc", folder.name.split("-")[1]).exists():
                folder.rmdir()


def _parents() -> dict[str, Path]:
    """Where groups may be made: {"": folder} of version 2, or {controller: folder} of version 1."""
    if not (MOUNTS.exists() and OWN.exists()):
        return {}
    own = {}
    for line in OWN.read_text().splitlines():
        _, names, path = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), path)
    found: dict[str, Path] = {}
    for line in MOUNTS.read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, at = before.split()[3:5]
        kind, _, options = after.split(maxsplit=2)
        if kind == "cgroup2" and "" in own:
            folder = _below(root, at, own[""])
            # a group with processes has no groups below it: then those beside it, where allowed
            for one in (folder, *folder.parents) if folder else ():
                if _delegated(one) and Path(at) in (one, *one.parents):
                    return {"": one}
        elif kind == "cgroup":
            for name in {"memory", "pids", "cpu"} & set(options.split(",")) & own.keys():
                folder = _below(root, at, own[name])
                if folder and os.access(folder, os.W_OK):
                    found[name] = folder
    return found


def _below(root: str, at: str, path: str) -> Path | None:
    """A group's folder under a mount that shows the hierarchy from `root` on."""
    if root != "/" and path != root and not path.startswith(f"{root}/"):
        return None
    return Path(at) / path.removeprefix(root).lstrip("/")


def _delegated(folder: Path) -> bool:
    """Whether groups with limits on memory and processes may be made here."""
    names = folder / "cgroup.subtree_control"
    doors = (folder, folder / "cgroup.procs")
    if not names.exists() or not all(os.access(door, os.W_OK) for door in doors):
        return False
    return {"memory", "pids"} <= set(names.read_text().split())
