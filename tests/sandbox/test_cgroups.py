"""Control groups of both versions, on folders that look like them."""

import os
import time
from pathlib import Path

import pytest

from sensorium.sandbox import cgroups
from sensorium.sandbox.cgroups import Groups

MOUNT = "30 24 0:26 {root} {at} rw,relatime shared:4 - {kind} {kind} rw,{options}\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for both lists of the kernel."""
    monkeypatch.setattr(cgroups, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(cgroups, "OWN", tmp_path / "own")
    return tmp_path


def test_version_2_beside_the_own_group_where_it_holds_processes(tree: Path) -> None:
    slice_, scope = tree / "fs/app.slice", tree / "fs/app.slice/run.scope"
    scope.mkdir(parents=True)
    (scope / "cgroup.subtree_control").write_text("")
    (slice_ / "cgroup.subtree_control").write_text("cpu memory pids\n")
    for folder in (slice_, scope):
        (folder / "cgroup.procs").write_text("")
    (tree / "own").write_text("0::/app.slice/run.scope\n")
    (tree / "mounts").write_text(MOUNT.format(root="/", at=tree / "fs", kind="cgroup2", options=""))
    groups = Groups(1 << 30, 40)
    (made,) = groups.folders
    assert made.parent == slice_ and groups.held == {"memory", "pids", "cpu"}
    limits = {name: (made / name).read_text() for name in ("memory.max", "pids.max", "cpu.max")}
    assert limits == {"memory.max": str(1 << 30), "pids.max": "40", "cpu.max": "100000 100000"}
    assert (made / "memory.swap.max").read_text() == "0"
    assert not groups.killed()
    (made / "memory.events").write_text("low 0\noom 3\noom_kill 1\noom_group_kill 0\n")
    assert groups.killed() and not groups.killed()


def test_version_1_with_the_hierarchy_shown_from_below(tree: Path) -> None:
    mounts = ""
    for name in ("memory", "pids", "freezer"):
        (tree / name / "job").mkdir(parents=True)
        mounts += MOUNT.format(root="/box/7", at=tree / name, kind="cgroup", options=name)
    (tree / "mounts").write_text(mounts)
    (tree / "own").write_text("3:memory:/box/7/job\n2:pids:/box/7\n1:freezer:/\n")
    groups = Groups(4096, 5)
    assert {folder.parent for folder in groups.folders} == {tree / "memory/job", tree / "pids"}
    assert groups.held == {"memory", "pids"}


def test_none_where_nothing_may_be_made(tree: Path) -> None:
    assert Groups(1, 1).held == set()
    (tree / "own").write_text("0::/a\n")
    (tree / "mounts").write_text(MOUNT.format(root="/b", at=tree, kind="cgroup2", options=""))
    assert Groups(1, 1).folders == [] and Groups(1, 1).doors() == []


def test_groups_of_the_dead_are_swept_and_no_others(tree: Path) -> None:
    (tree / "memory").mkdir()
    (tree / "own").write_text("1:memory:/\n")
    mount = MOUNT.format(root="/", at=tree / "memory", kind="cgroup", options="memory")
    (tree / "mounts").write_text(mount)
    dead, new, alive = (
        tree / "memory" / f"sensorium-{n}-x" for n in ("99999999", "99999998", os.getpid())
    )
    for folder in (dead, new, alive):
        folder.mkdir()
    for folder in (dead, alive):
        os.utime(folder, (0, time.time() - 999))
    Groups(1, 1)
    assert not dead.exists() and new.exists() and alive.exists()
