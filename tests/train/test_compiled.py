"""Compiling where it works, and training all the same where it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sensorium.train import checkpoint
from sensorium.train.compiled import compile_blocks
from sensorium.train.loop import train
from tests.train.test_loop import PROGRAM, REPOSITORY, equal
from tests.train.tiny import tiny


@pytest.mark.compiled
def test_without_a_compiler_a_run_says_so_and_is_the_eager_one(tmp_path: Path) -> None:
    nowhere = tmp_path / "bin"
    nowhere.mkdir()
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    env |= {"PATH": str(nowhere), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    env.pop("CXX", None)
    command = [sys.executable, str(PROGRAM), str(tmp_path / "run"), '{"compile": true, "steps": 2}']
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert b"everything runs eagerly" in done.stderr and b"C++ compiler" in done.stderr
    last = checkpoint.latest(tmp_path / "run")
    assert last is not None and equal(train(tiny(steps=2), tmp_path / "eager"), last)


def test_a_net_without_blocks_has_nothing_to_compile() -> None:
    assert compile_blocks(nn.Linear(2, 2)) is None


@pytest.mark.compiled
def test_an_unknown_backend_is_a_notice_too() -> None:
    net = tiny().net()
    notice = compile_blocks(net, backend="no such backend")
    assert notice is not None and "no such backend" in notice
    assert all(module._compiled_call_impl is None for module in net.modules())
    torch._dynamo.reset()
