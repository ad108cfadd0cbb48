"""What every system must do. A new module of `sensorium.models` is tested by being there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sensorium.data.ragged import lay, unlay
from sensorium.models.declaration import declared
from sensorium.train.parallel import Place
from sensorium.train.rules import AdamW, optimiser
from sensorium.types import Embeds
from sensorium.weights import folder as folders
from tests.models.nets import (
    PUBLISHED,
    SYSTEMS,
    TINY,
    count,
    filled,
    halved,
    marked,
    outputs,
    part,
    posed,
)
from tests.models.together import ROWS, step

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
EXEMPLARS = ["vit.TINY", "clip.TINY", "clip.TINY_RESNET"]  # one a form and kind of tower
ONE_A_FORM = ["vit.TINY", "clip.TINY", "uniter.TINY", "lxmert.TINY", "albef.TINY", "llama.TINY"]
BF16 = 0.05  # of the largest output: 8 bits of mantissa through a net of few layers


def test_every_system_says_what_it_is_and_has_a_small_one() -> None:
    for name, module in SYSTEMS.items():
        assert module.SIZES and any(tiny.startswith(f"{name}.") for tiny in TINY)
        assert all(module.PAPER[:8]) and module.__doc__  # what follows, the notes, may be none


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_built_without_memory_and_survive_json(name: str) -> None:
    declaration = PUBLISHED[name]
    again = declared(json.loads(json.dumps(declaration.spec())))
    with torch.device("meta"):
        net, twin = declaration.build(), again.build()
    assert all(t.is_meta for t in (*net.parameters(), *net.buffers()))
    shapes = {n: t.shape for n, t in net.state_dict().items()}
    assert shapes == {n: t.shape for n, t in twin.state_dict().items()}
    assert declaration.parameters() == sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_learns(name: str) -> None:
    net = filled(TINY[name])
    asked = posed(TINY[name], net)
    learn = optimiser(net, ((r".*", AdamW(1e-3)),))
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    marked(net.train(), asked).backward()
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient reaches {still}"
    for group in learn.param_groups:
        group["lr"] = group["initial_lr"]
    learn.step()
    same = [n for n, p in net.named_parameters() if torch.equal(p, before[n])]
    assert not same, f"a step does not change {same}"


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_gives_the_same_outputs(name: str, tmp_path: Path) -> None:
    net = filled(TINY[name]).eval()
    batch = posed(TINY[name], net).batch
    folders.save(tmp_path / "it", net.state_dict(), {"model": TINY[name].spec()})
    saved = folders.load(tmp_path / "it", full_check=True)
    with torch.device("meta"):
        again = declared(saved.manifest["model"]).build()
    again.load_state_dict(saved.tensors, assign=True)
    with torch.no_grad():
        for a, b in zip(outputs(net, batch), outputs(again.eval(), batch), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", TINY)
def test_one_by_one_is_all_together(name: str) -> None:
    net = filled(TINY[name]).eval()
    batch = posed(TINY[name], net).batch
    with torch.no_grad():
        together = outputs(net, batch)
        alone = [outputs(net, part(batch, torch.tensor([i]))) for i in range(count(batch))]
        for place, rows in enumerate(together):
            row_by_row = torch.cat([row[place] for row in alone])
            assert float((rows - row_by_row).abs().max()) <= 1e-5 * float(rows.abs().max())


@pytest.mark.parametrize("name", TINY)
def test_texts_end_to_end_are_the_same_texts_filled_up(name: str) -> None:
    net = filled(TINY[name]).eval()
    if not isinstance(net, Embeds):
        pytest.skip("reads no texts")
    text = posed(TINY[name], net).batch.text._replace(kind=None)
    with torch.no_grad():
        ragged = net.embed_text(text)
        for length in (16, 24):
            rows = [net.embed_text(lay([ids], round_length=length)) for ids in unlay(text)]
            assert float((torch.cat(rows) - ragged).abs().max()) <= 1e-5
        rounded = net.embed_text(lay(unlay(text), round_tokens=64, round_length=16))
        assert float((rounded - ragged).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", TINY)
def test_bf16_is_close_to_float32(name: str) -> None:
    net = filled(TINY[name]).eval()
    batch = posed(TINY[name], net).batch
    with torch.no_grad():
        exact = outputs(net, batch)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = outputs(net, batch)
        half = outputs(net.to(torch.bfloat16), halved(batch))
    for a, b, c in zip(exact, mixed, half, strict=True):
        for rough in (b.float(), c.float()):
            assert rough.isfinite().all()
            assert float((a - rough).abs().max()) <= BF16 * float(a.abs().max())


@pytest.mark.ranks
def test_two_ranks_are_one(tmp_path: Path) -> None:
    """Gradients and the state after a step, wrapped in DDP and sharded by FSDP2."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = program([*words, str(HERE / "together.py"), str(tmp_path)])
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    for name in TINY:
        alone = step(name, "ddp", Place(0, 1, torch.device("cpu")))
        largest = max(float(v.abs().max()) for n, v in alone.items() if n.startswith("grad"))
        for how in ("ddp", "fsdp"):
            both = torch.load(tmp_path / f"{name}-{how}.pt", weights_only=True)
            assert both.keys() == alone.keys()
            for key, value in alone.items():
                off = float((both[key] - value).abs().max())
                limit = 1e-9 * (largest if key.startswith("grad") else 1)
                assert off <= limit, f"{name} {how} {key}: off by {off:.1e}, batch of {ROWS}"


OTHERS = [name for name in TINY if name not in ONE_A_FORM]


@pytest.mark.compiled
@pytest.mark.parametrize(
    "names",
    [ONE_A_FORM, pytest.param(OTHERS, marks=pytest.mark.slow)],
    ids=["one a form", "all others"],
)
def test_compiled_blocks_are_the_eager_ones(names: list[str]) -> None:
    """The cheap backend, which traces and differentiates but generates no code."""
    assert_compiles("blocks", "aot_eager", names)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", EXEMPLARS)
@pytest.mark.parametrize("how", ["whole", "blocks"])
def test_inductor_gives_what_eager_gives(how: str, name: str) -> None:
    assert_compiles(how, "inductor", [name])


def assert_compiles(how: str, backend: str, names: list[str]) -> None:
    done = program([str(HERE / "compiling.py"), how, backend, *names])
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    errors = json.loads(done.stdout.decode().splitlines()[-1])
    assert list(errors) == names and all(off <= 1e-4 for off in errors.values()), errors


def program(words: list[str]) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=560, env=env)
