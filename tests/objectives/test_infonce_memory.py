"""The tiled loss holds tiles, not the B x B logits: measured in a fresh process."""

import subprocess
import sys

import pytest

MEASURE = """
import math, sys, torch
from sensorium.objectives.infonce import dense_symmetric, symmetric

MB = 1e6

def resident(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

def leaves(rows, width):
    g = torch.Generator().manual_seed(0)
    both = []
    for _ in range(2):
        x = torch.randn(rows, width, generator=g)
        both.append(x.div_(x.norm(dim=1, keepdim=True)).requires_grad_())
    return both + [torch.full((1,), math.log(100.0)).requires_grad_()]

rows, width = int(sys.argv[1]), int(sys.argv[2])
loss = {"dense": dense_symmetric, "tiled": symmetric}[sys.argv[3]]
torch.set_num_threads(int(sys.argv[4]))
inputs = leaves(rows, width)
sum(loss(*leaves(64, width))).backward()  # what libraries set up on their first use
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = resident("VmRSS")
sum(loss(*inputs)).backward()
gradients = sum(x.grad.nbytes for x in inputs)
print((resident("VmHWM") - before - gradients) / MB)
"""


def extra(rows: int, width: int, loss: str, threads: int = 1) -> float:
    """Megabytes at the peak of loss and gradients, beyond inputs and gradients."""
    arguments = [sys.executable, "-c", MEASURE, str(rows), str(width), loss, str(threads)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_memory_is_a_tile_where_the_dense_loss_is_quadratic():
    """One copy of the logits is 151 MB here; a tile 4 MB."""
    assert extra(6144, 32, "tiled") < 60
    assert extra(6144, 32, "dense") > 300


@linux
@pytest.mark.slow
def test_a_batch_of_32768_within_300_megabytes():
    """One copy of the logits would be 4.3 GB."""
    assert extra(32768, 512, "tiled", threads=2) < 300
