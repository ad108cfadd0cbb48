"""Ctrl-C at any time of `sensorium train`: nothing is half-written, and `resume` goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium.train.log import read_metrics

CLI = [sys.executable, "-c", "import sys; from sensorium.cli import main; sys.exit(main())"]
STOPPED = (130, -signal.SIGINT)  # the latter before Python has begun to listen
SMALL = ["train", "clip", "--batch", "16", "--seed", "1"]


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What runs in a shell's background is told to ignore SIGINT, and so would its children be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        lines.append(json.dumps({"image": f"{i}.png", "text": f"noise of the kind {i}"}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def interrupted(words: list[str], log: Path, when: Callable[[], bool]) -> int:
    """Sends what Ctrl-C sends, to the process and its workers, once `when` is true."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*CLI, *words],
            stdout=file,
            stderr=file,
            env=env,
            start_new_session=True,
        )
        while not when():
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(timeout=120)


def resumed(run: Path) -> dict:
    done = subprocess.run(
        [*CLI, "resume", str(run), "--json"], capture_output=True, timeout=300, env=os.environ
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.decode().splitlines()[-1])


def whole(folder: Path) -> bool:
    """Every JSON file can be read, and nothing was left aside."""
    for file in folder.rglob("*.json"):
        json.loads(file.read_text())
    return not [p for p in folder.rglob("*") if p.name.endswith((".aside", ".saving", ".old"))]


@pytest.mark.parametrize("moment", [0.05, 0.8, pytest.param(2.0, marks=pytest.mark.slow)])
def test_while_it_starts(tmp_path: Path, pictures: Path, moment: float) -> None:
    out, began = tmp_path / "run", time.monotonic()
    words = [*SMALL, "--steps", "4000", "--data", str(pictures), "--out", str(out)]
    log = tmp_path / "log"
    code = interrupted(words, log, lambda: time.monotonic() - began > moment)
    early = code == 1 and log.read_text().rstrip().endswith(
        "KeyboardInterrupt"
    )  # Python's own start
    assert (code in STOPPED or early) and whole(tmp_path), log.read_text()


@pytest.mark.slow
def test_while_it_trains(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "run"
    words = [*SMALL, "--steps", "6", "--data", str(pictures), "--out", str(out)]
    code = interrupted(
        words, tmp_path / "log", lambda: len(read_metrics(out / "metrics.jsonl")) > 0
    )
    assert code in STOPPED and whole(tmp_path)
    assert "everything is saved: sensorium resume" in (tmp_path / "log").read_text()
    assert list((out / "checkpoints").iterdir()) and not (out / "scores.json").exists()
    assert "scores" in resumed(out) and whole(tmp_path)
    assert [row["step"] for row in read_metrics(out / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize("later", [0.0, 0.3])
def test_while_it_is_scored(tmp_path: Path, pictures: Path, later: float) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    words = [*SMALL, "--steps", "2", "--data", str(pictures), "--out", str(out)]

    def scoring() -> bool:
        now = log.exists() and "scoring" in log.read_text()
        time.sleep(later if now else 0)
        return now

    code = interrupted(words, log, scoring)
    assert code in (*STOPPED, 0) and whole(tmp_path)
    assert "scores" in resumed(out) and whole(tmp_path)
