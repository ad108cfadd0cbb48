"""A checkpoint that cannot be written costs nothing that was saved before."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sensorium.train import checkpoint
from sensorium.train.loop import train
from tests.train.test_loop import REPOSITORY, equal, weights
from tests.train.tiny import rows, tiny

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from sensorium.train.loop import train
from tests.train.tiny import tiny
torch.set_num_threads(1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))  # the kernel then refuses larger files
train(tiny(), Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_disk_that_takes_no_more_leaves_the_last_good_state(tmp_path: Path) -> None:
    whole = train(tiny(), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(checkpoint.place_of(tmp_path / "cut", 6))
    good = checkpoint.place_of(tmp_path / "cut", 4)
    before = weights(good)
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "cut")]
    done = subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, timeout=300)
    assert done.returncode == 1 and b"nothing was changed" in done.stderr, done.stderr.decode()
    assert list(good.parent.iterdir()) == [good]
    after = weights(good)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert equal(train(tiny(), tmp_path / "cut"), whole)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
