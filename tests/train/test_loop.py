"""The loop, on a training that takes a second."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.models.clip import clip_vit
from sensorium.train import checkpoint
from sensorium.train.guard import PATIENCE, Guard, TrainingStopped
from sensorium.train.loop import train
from sensorium.train.rules import AdamW
from sensorium.weights import folder as folders
from tests.train.tiny import NET, rows, squares, tiny

PROGRAM = Path(__file__).with_name("tiny.py")
REPOSITORY = PROGRAM.parents[2]


def weights(at: Path) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in folders.load(at).tensors.items()}


def equal(a: Path, b: Path) -> bool:
    x, y = weights(a), weights(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def close(a: Path, b: Path, atol: float) -> bool:
    x, y = weights(a), weights(b)
    return all(torch.allclose(x[k], y[k], atol=atol, rtol=0) for k in x)


def test_a_run_learns_and_leaves_a_record(tmp_path: Path) -> None:
    train(tiny(steps=60, batch=16, save_every=30), tmp_path)
    losses = [row["loss/contrast"] for row in rows(tmp_path)]
    assert len(losses) == 60 and np.mean(losses[-5:]) < 0.6 * losses[0]
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000030",
        "step-00000060",
    ]


def test_the_same_run_gives_the_same_bits(tmp_path: Path) -> None:
    a, b = train(tiny(), tmp_path / "a"), train(tiny(workers=2), tmp_path / "b")
    assert equal(a, b) and rows(tmp_path / "a") == rows(tmp_path / "b")


def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = train(tiny(steps=6), tmp_path / "whole")
    train(tiny(steps=6), tmp_path / "cut")  # finished: now take its last checkpoints away
    for at in (tmp_path / "cut" / "checkpoints").iterdir():
        if at.name != "step-00000004":
            for file in sorted(at.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            at.rmdir()
    resumed = train(tiny(steps=6), tmp_path / "cut")
    assert equal(whole, resumed) and rows(tmp_path / "whole") == rows(tmp_path / "cut")


@pytest.mark.parametrize("slices", [2, 4])
def test_slices_change_nothing_but_rounding(tmp_path: Path, slices: int) -> None:
    """Cached accumulation: a batch in slices has the negatives of the whole batch."""
    whole = train(tiny(), tmp_path / "whole")
    cut = train(tiny(slices=slices), tmp_path / "cut")
    assert close(whole, cut, atol=2e-5)
    for a, b in zip(rows(tmp_path / "whole"), rows(tmp_path / "cut"), strict=True):
        assert a["samples"] == b["samples"] and a["norm"] == pytest.approx(b["norm"], rel=1e-3)


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("ranks", "settings"),
    [
        (2, {"parallel": "ddp"}),
        (2, {"parallel": "fsdp"}),
        (2, {"parallel": "ddp", "slices": 2}),
        (2, {"parallel": "ddp", "slices": 2, "naming": True}),
    ],
    ids=["ddp", "fsdp", "ddp-slices", "naming"],
)
def test_ranks_change_nothing_but_rounding(tmp_path: Path, ranks: int, settings: dict) -> None:
    alone = train(tiny(naming=settings.get("naming", False)), tmp_path / "alone")
    torchrun(tmp_path / "together", ranks, settings)
    together = checkpoint.latest(tmp_path / "together")
    assert together is not None and close(alone, together, atol=2e-5)
    same_metrics(tmp_path / "alone", tmp_path / "together")


def same_metrics(a: Path, b: Path) -> None:
    """Losses and gradient norms are those of the global batch, whoever writes them down."""
    for x, y in zip(rows(a), rows(b), strict=True):
        told = [key for key in x if key.startswith("loss/")] + ["norm"]
        assert [y[key] for key in told] == pytest.approx([x[key] for key in told], rel=1e-3)


@pytest.mark.ranks
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_ranks_may_leave_parameters_out(tmp_path: Path, parallel: str) -> None:
    """Some are frozen, and in some steps one of the towers is not asked."""
    settings = {"frozen": r"image\.embed|text\..*bias", "pictures": True}
    alone = train(tiny(**settings), tmp_path / "alone")
    assert {k for row in rows(tmp_path / "alone") for k in row if k.startswith("loss/")} == {
        "loss/contrast",
        "loss/pictures",
    }
    torchrun(tmp_path / "together", 2, {**settings, "parallel": parallel})
    together = checkpoint.latest(tmp_path / "together")
    assert together is not None and close(alone, together, atol=2e-5)
    same_metrics(tmp_path / "alone", tmp_path / "together")


@pytest.mark.ranks
def test_one_rank_that_is_asked_to_stop_stops_all_after_the_same_step(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="stopped at step 3"):
        torchrun(tmp_path, 2, {"stop": 3, "save_every": 100})
    at = checkpoint.latest(tmp_path)
    assert at is not None and at.name == "step-00000003"


@pytest.mark.ranks
def test_a_run_may_be_resumed_on_another_number_of_ranks(tmp_path: Path) -> None:
    whole = train(tiny(), tmp_path / "whole")
    train(tiny(steps=4), tmp_path / "moved")
    torchrun(tmp_path / "moved", 2, {"parallel": "fsdp"})
    resumed = checkpoint.latest(tmp_path / "moved")
    assert resumed is not None and resumed.name == whole.name


def torchrun(folder: Path, ranks: int, settings: dict) -> None:
    words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *words, str(PROGRAM), str(folder), json.dumps(settings)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=300, env=env())
    assert done.returncode == 0, done.stderr.decode()[-3000:]


def env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def test_a_signal_saves_and_stops(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(PROGRAM),
        str(tmp_path),
        '{"steps": 100000, "save_every": 100000}',
    ]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=env(), stderr=subprocess.PIPE)
    while not (tmp_path / "metrics.jsonl").exists() or not rows(tmp_path):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert b"Interrupted" in error
    at = checkpoint.latest(tmp_path)
    assert at is not None and int(at.name[5:]) == rows(tmp_path)[-1]["step"]


def test_too_many_corrupt_samples_end_the_run_and_are_named(tmp_path: Path) -> None:
    data = squares()
    data[5] = data[5]._replace(image=b"not a picture")
    data[6] = data[6]._replace(image=data[6].image[:20])
    with pytest.raises(ValueError, match=r"square [56].*square [56]"):
        train(tiny(data, steps=12, corrupt_share=0.0), tmp_path)


def test_a_run_with_one_corrupt_sample_ends_and_tells(tmp_path: Path) -> None:
    data = squares()
    data[5] = data[5]._replace(image=b"not a picture")
    train(tiny(data, steps=12), tmp_path)
    assert rows(tmp_path)[-1]["corrupt"] == 1


def test_resuming_with_other_parameters_is_refused(tmp_path: Path) -> None:
    train(tiny(steps=2), tmp_path)
    with pytest.raises(ValueError, match="other parameters or rules"):
        train(tiny(steps=4, rules=((r".*", AdamW(1e-3)),)), tmp_path)


def test_resuming_with_other_sizes_is_refused(tmp_path: Path) -> None:
    train(tiny(steps=2), tmp_path)
    other = {**NET, "embed": 8}
    with pytest.raises(ValueError, match="other parameters or rules"):
        train(tiny(steps=4, net=lambda: clip_vit(**other)), tmp_path)


def test_resuming_with_or_without_averaging_is_refused(tmp_path: Path) -> None:
    """Else the trained weights would be taken from their average, or not be found."""
    train(tiny(steps=2), tmp_path / "averaged")
    with pytest.raises(ValueError, match="averaged"):
        train(tiny(steps=4, ema=None), tmp_path / "averaged")
    train(tiny(steps=2, ema=None), tmp_path / "plain")
    with pytest.raises(ValueError, match="averaged"):
        train(tiny(steps=4), tmp_path / "plain")


def test_resuming_with_other_objectives_is_refused(tmp_path: Path) -> None:
    train(tiny(steps=2), tmp_path)
    with pytest.raises(ValueError, match="other objectives"):
        train(tiny(steps=4, pictures=True), tmp_path)


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 3"):
        train(tiny(slices=3), tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_before_it_is_learned_from(tmp_path: Path) -> None:
    train(tiny(steps=2), tmp_path)
    before = weights(checkpoint.latest(tmp_path) or tmp_path)
    with pytest.raises(TrainingStopped, match="step-00000002"):
        train(tiny(steps=8, net=poisoned), tmp_path)
    after = weights(checkpoint.latest(tmp_path) or tmp_path)
    assert all(torch.equal(before[k], after[k]) for k in before)


def poisoned() -> torch.nn.Module:
    net = clip_vit(**NET)
    net.image.register_forward_hook(lambda m, x, y: y * float("nan"))
    return net


def test_a_loss_of_zero_and_a_frozen_loss_are_diagnosed() -> None:
    with pytest.raises(TrainingStopped, match="exactly 0"):
        Guard(8, 0).check(1, {"contrast": 0.0}, 1.0)
    guard = Guard(8, 0)
    with pytest.raises(TrainingStopped, match=r"ln\(batch\)"):
        for step in range(PATIENCE + 1):
            guard.check(step + 1, {"contrast": float(np.log(8))}, 1.0)
