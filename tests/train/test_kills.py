"""A run killed again and again is, bit for bit, the run that nobody disturbed."""

import multiprocessing
import os
import socket
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.train import checkpoint
from sensorium.train.loop import train
from tests.train.test_loop import equal
from tests.train.tiny import rows, tiny

STEPS = 40
SETTINGS = {"steps": STEPS, "save_every": 2}  # a good part of the time goes into saving
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.train.tiny"])


def one(folder: Path, settings: dict, place: dict[str, str]) -> None:
    """The training process: a rank where `place` says so."""
    multiprocessing.set_start_method("fork", force=True)  # of the loader's workers, as in a program
    torch.set_num_threads(1)
    os.environ |= place
    train(tiny(**settings), folder)


def started(folder: Path, settings: dict, ranks: int = 1) -> list[ForkServerProcess]:
    """As many processes as ranks, which find each other as `torchrun`'s do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    places = [{}] if ranks == 1 else [common | {"RANK": str(rank)} for rank in range(ranks)]
    made = [CONTEXT.Process(target=one, args=(folder, settings, place)) for place in places]
    for process in made:
        process.start()
    return made


def reached(folder: Path) -> int:
    """The number of lines in the record."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def disturbed(folder: Path, kills: int, ranks: int, settings: dict) -> dict[str, int]:
    """Trains to the end although it is killed at seeded moments; counts what was hit.

    A kill falls some steps after the run went on (none: while it starts), and a few milliseconds
    later. It goes on with another number of workers each time.
    """
    rng = np.random.default_rng(kills)
    hit = {"kills": 0, "while saving": 0, "before a step": 0, "steps lost": 0}
    for kill in range(kills):
        run = started(folder, settings | {"workers": kill % 3}, ranks)
        before, pause = reached(folder), float(rng.uniform(0, 0.06))
        share = STEPS / (kills + 1)
        further = int(rng.integers(0, max(2, int(2 * share))))
        began = time.monotonic()
        while further and all(process.is_alive() for process in run):
            now = reached(folder)
            if now < before:  # the record was cut back to the checkpoint
                before = now
            if now >= min(before + further, STEPS - 1) or time.monotonic() - began > 120:
                break
            time.sleep(0.001)
        time.sleep(pause)
        order = rng.permutation(len(run))
        alive = [process.is_alive() for process in run]
        for rank in order:
            run[rank].kill()
            time.sleep(float(rng.uniform(0, 0.01)))
        for process in run:
            process.join(60)
        hit["kills"] += all(alive)
        hit["while saving"] += any(folder.glob("checkpoints/.*.saving"))
        hit["before a step"] += reached(folder) <= before
        last = checkpoint.latest(folder)
        hit["steps lost"] += reached(folder) - (int(last.name[5:]) if last else 0)
    for process in (run := started(folder, settings, ranks)):
        process.join(300)
    assert [process.exitcode for process in run] == [0] * ranks
    return hit


@pytest.mark.parametrize("kills", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_kills_change_nothing(tmp_path: Path, kills: int) -> None:
    whole = train(tiny(**SETTINGS), tmp_path / "whole")
    hit = disturbed(tmp_path / "killed", kills, 1, SETTINGS)
    print(hit)
    last = checkpoint.latest(tmp_path / "killed")
    assert last is not None and equal(whole, last) and last.name == whole.name
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")
    assert hit["kills"] >= kills - 1


@pytest.mark.ranks
@pytest.mark.parametrize("kills", [2, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_kills_of_two_ranks_change_nothing(tmp_path: Path, how: str, kills: int) -> None:
    settings = SETTINGS | {"parallel": how}
    for process in started(tmp_path / "whole", settings, 2):
        process.join(300)
        assert process.exitcode == 0
    print(disturbed(tmp_path / "killed", kills, 2, settings))
    a, b = (checkpoint.latest(tmp_path / name) for name in ("whole", "killed"))
    assert a is not None and b is not None and equal(a, b) and a.name == b.name
    assert rows(tmp_path / "whole") == rows(tmp_path / "killed")
