"""Full disks, read-only folders, kills: the old checkpoint or the new one, never half of one."""

import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from sensorium.weights import atomic
from sensorium.weights.atomic import replacing, write_file
from sensorium.weights.errors import WeightsError
from sensorium.weights.folder import load, save

PROCESSES = multiprocessing.get_context("fork")  # torch need not be imported again


def generation(folder: Path) -> int:
    """Which save stands in the folder, all of its tensors agreeing."""
    checkpoint = load(folder, full_check=True)
    seen = {int(tensor.max()) for tensor in checkpoint.tensors.values()}
    seen |= {int(tensor.min()) for tensor in checkpoint.tensors.values()}
    assert seen == {checkpoint.manifest["generation"]}
    return seen.pop()


def put(folder: Path, number: int, size: int = 1000) -> None:
    tensors = {f"w{i}": torch.full((size,), float(number)) for i in range(3)}
    save(folder, tensors, {"generation": number})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 256 KiB, where the system lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs rights that this machine does not give")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_one(small_disk: Path):
    put(small_disk / "run", 1)
    with pytest.raises(OSError, match=r"the disk is full.*nothing was changed"):
        put(small_disk / "run", 2, size=100_000)
    assert generation(small_disk / "run") == 1
    assert names(small_disk) == ["run"]


def test_a_read_only_disk(small_disk: Path):
    put(small_disk / "run", 1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match=r"read-only; save elsewhere .nothing was changed") as error:
        put(small_disk / "run", 2)
    assert str(small_disk / "run") in str(error.value)
    assert generation(small_disk / "run") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission(tmp_path: Path):
    put(tmp_path / "run", 1)
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="no permission to write there"):
        put(tmp_path / "run", 2)
    tmp_path.chmod(0o700)
    assert generation(tmp_path / "run") == 1


def save_under_a_limit(folder: Path, said: Connection) -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        put(folder, 2, size=100_000)
    except OSError as error:
        said.send(str(error))


def test_a_limit_on_file_size_leaves_the_old_one(tmp_path: Path):
    """The same as a full disk, wherever no disk can be mounted."""
    put(tmp_path / "run", 1)
    hear, said = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=save_under_a_limit, args=(tmp_path / "run", said))
    child.start()
    text = hear.recv()
    child.join()
    assert "larger than this system or process may write (nothing was changed)" in text
    assert generation(tmp_path / "run") == 1
    assert names(tmp_path) == ["run"]


def test_an_error_while_filling_leaves_the_old_one(tmp_path: Path):
    put(tmp_path / "run", 1)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "run") as new:
        (new / "half").write_text("x")
        raise KeyboardInterrupt
    assert generation(tmp_path / "run") == 1
    assert names(tmp_path) == ["run"]


def save_for_ever(folder: Path, number: int, said: Connection) -> None:
    torch.set_num_threads(1)
    said.send("ready")
    while True:
        number += 1
        put(folder, number, size=200_000)


def test_kills_at_random_moments(tmp_path: Path):
    """Saves for ever in a process that is killed: what stands is always whole."""
    folder = tmp_path / "run"
    rng = random.Random(0)
    put(folder, 0)
    last = 0
    for _ in range(8):
        hear, said = PROCESSES.Pipe(duplex=False)
        child = PROCESSES.Process(target=save_for_ever, args=(folder, last, said))
        child.start()
        assert hear.recv() == "ready"
        time.sleep(rng.uniform(0.0, 0.3))
        child.kill()
        child.join()
        now = generation(folder)
        assert now >= last
        last = now
    assert last > 0
    put(folder, last + 1)  # and the next save clears what the kills left
    assert generation(folder) == last + 1
    assert names(tmp_path) == ["run"]


def test_where_names_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On such file systems the old one stands under another name between two renames."""
    monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    for number in (1, 2, 3):
        put(tmp_path / "run", number)
        assert generation(tmp_path / "run") == number
    assert names(tmp_path) == ["run"]


def test_a_save_cut_off_between_two_renames(tmp_path: Path):
    put(tmp_path / "run", 1)
    (tmp_path / "run").rename(tmp_path / ".run.old")
    with pytest.raises(WeightsError, match=r"the last good one is .*\.run\.old: rename it back"):
        load(tmp_path / "run")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "run"):
        raise ZeroDivisionError
    assert generation(tmp_path / "run") == 1


def test_two_savers_of_one_folder(tmp_path: Path):
    with replacing(tmp_path / "run") as new:
        (new / "a").write_text("first")
        with (
            pytest.raises(WeightsError, match="another process is saving"),
            replacing(tmp_path / "run"),
        ):
            pass
    assert (tmp_path / "run" / "a").read_text() == "first"


def test_tensors_loaded_before_stay_when_the_folder_is_replaced(tmp_path: Path):
    put(tmp_path / "run", 1)
    before = load(tmp_path / "run").tensors["w0"]
    put(tmp_path / "run", 2)
    assert before.eq(1).all()


def test_single_files(tmp_path: Path):
    write_file(tmp_path / "run.json", b"1")
    write_file(tmp_path / "run.json", b"2")
    assert (tmp_path / "run.json").read_bytes() == b"2"
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)
    with pytest.raises(OSError, match="could not be saved"):
        write_file(tmp_path / "gone" / "run.json", b"1")
    assert names(tmp_path) == ["run.json"]
