"""The plan of a training against the training itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sensorium.data.loader import Positions
from sensorium.recipes.clip import clip
from sensorium.train.cost import LARGE, Allocated, cost
from sensorium.train.parallel import Place
from tests.train.tiny import NET, tiny

CPU = Place(0, 1, torch.device("cpu"))
PLAN = "import sys; from sensorium.cli import main; sys.exit(main(sys.argv[1:]))"
TRAIN = """
import json, sys
from pathlib import Path
from sensorium import cli
from sensorium.recipes.execute import recipe, train
train(recipe("clip")(**json.loads(sys.argv[1])), Path(sys.argv[2]))
# The peak of this program alone: ru_maxrss would count that of the process which started it.
status = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) / 2**10 for line in status if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 80 captioned pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    lines = []
    for i in range(80):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        lines.append(json.dumps({"image": f"{i}.png", "text": f"noise of the kind {i}"}))
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def run(program: str, *words: str) -> str:
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="the measure is Linux's")
def test_the_peak_is_near_the_measured_one(tmp_path: Path, pictures: Path) -> None:
    words = ["--batch", "64", "--steps", "4", "--data", str(pictures)]
    said = json.loads(run(PLAN, "train", "clip", "--plan", "--json", *words))
    arguments = {"batch": 64, "steps": 4, "data": str(pictures)}
    measured = float(run(TRAIN, json.dumps(arguments), str(tmp_path / "run")))
    parts = said["memory_mib"]
    peak = parts.pop("peak")
    assert peak == pytest.approx(sum(parts.values()), abs=1)
    # The aim is 15 %; the measure itself moves by 8 % from run to run with the allocator.
    assert abs(peak - measured) <= 0.15 * measured, f"{peak} planned, {measured} measured"
    saved = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    size = sum(f.stat().st_size for f in saved.rglob("*") if f.is_file()) / 2**20
    assert said["disk_mib"]["checkpoint"] == pytest.approx(size, rel=0.02)
    assert not list(pictures.glob("runs")) and said["steps"] == 4


@pytest.mark.data
@pytest.mark.parametrize("recipe", ["uniter.pretrain", "albef.pretrain", "vqa"])
def test_what_lies_end_to_end_can_be_planned(recipe: str) -> None:
    data = ["--data", "nlvr"]
    said = json.loads(run(PLAN, "train", recipe, "--plan", "--json", "--batch", "8", *data))
    assert said["flops"]["step"] > 0 and said["memory_mib"]["activations"] > 0


def test_a_cost_counts_what_can_be_counted_by_hand() -> None:
    taken = cost(
        tiny(), {"contrast": Positions(tiny().asks["contrast"].source(), 0)[[*range(8)]]}, CPU
    )
    numbers = sum(p.numel() for p in tiny().net().parameters())
    assert taken.parameters["all"] == taken.parameters["trained"] == numbers
    assert taken.parameters["image"] + taken.parameters["text"] + 1 == numbers
    assert taken.weights == taken.average == taken.trained == 4 * numbers
    assert taken.moments == 8 * numbers


def test_operations_are_twice_the_products_forward_and_twice_that_back() -> None:
    """The tiny net: 4 patches and a class token, texts of any length, two layers, width 32.

    Of the last layer all tokens have keys and values; the rest is worked out where it is read.
    """
    loaded = Positions(tiny().asks["contrast"].source(), 0)[[*range(8)]]
    d, tokens, words = NET["image"].width, 8 * 5, len(loaded.batch.text.ids)
    layer = 12 * d * d
    last = 2 * d * d * (tokens + words) + 10 * d * d * (8 + 8)
    forward = 2 * (8 * 4 * 3 * 64 * d + layer * (tokens + words) + last + 2 * 8 * d * 16)
    taken = cost(tiny(), {"contrast": loaded}, CPU)
    least = 3 * forward - 2 * 8 * 4 * 3 * 64 * d  # the pixels need no gradient
    assert least <= taken.flops <= 1.1 * least  # attention and the loss come on top
    cached = cost(tiny(slices=2), {"contrast": loaded}, CPU)
    assert cached.flops == pytest.approx(2 * taken.flops * 4 / 3, rel=0.05)


def test_allocated_follows_storages_from_birth_to_release() -> None:
    x = torch.ones(256)
    with Allocated([x]) as live:
        view = x.view(16, 16)
        assert live.now == 0
        y = x + 1
        z = y * 2
        assert live.now == 2048
        del y
        assert live.now == 1024 and live.most == 2048
        z.add_(1)
        del z, view
        assert live.now == 0
        assert live.most < LARGE


def test_what_cannot_be_trained_cannot_be_planned(pictures: Path) -> None:
    with pytest.raises(ValueError, match="fill a batch of 192"):
        clip(data=str(pictures)).asks["contrast"].source()
    command = [sys.executable, "-c", PLAN, "train", "clip", "--plan", "--slices", "2"]
    done = subprocess.run(command, capture_output=True, timeout=300)
    assert done.returncode == 1 and b"normalises over the batch" in done.stderr
