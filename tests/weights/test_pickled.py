"""Pickled files: real ones come back equal, hostile ones run nothing."""

import collections
import contextlib
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sensorium.weights import pickled
from sensorium.weights.errors import WeightsError
from sensorium.weights.paper import follow
from sensorium.weights.pickled import DAMAGED
from sensorium.weights.readers import read


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3).half()
        self.register_buffer("input_resolution", torch.tensor(224))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.half()).float()


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.BatchNorm2d(2))
        self.scale = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.layers(x).mean((2, 3))) * self.scale


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype and a[k].shape == b[k].shape for k in a
    )


@pytest.fixture
def small() -> Small:
    torch.manual_seed(0)
    return Small().eval()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript_archives(tmp_path: Path, small: Small, how: str):
    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = (
            torch.jit.script(small)
            if how == "script"
            else torch.jit.trace(small, torch.ones(1, 3, 4, 4))
        )
        torch.jit.save(made, path)
        want = torch.jit.load(path).state_dict()
    tensors, info = read(path, allow_pickle=True)
    assert info.format == "torchscript"
    assert same(tensors, dict(want))


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_of_every_kind(tmp_path: Path, small: Small, zipped: bool):
    base = torch.arange(24.0)
    state = dict(small.state_dict())
    state |= {
        "parameter": nn.Parameter(torch.randn(3)),
        "turned": base.reshape(4, 6).T,
        "part": base[5:11].reshape(2, 3),
        "every second": base[::2],
        "expanded": torch.arange(3)[None].expand(2, 3),
        "empty": torch.zeros(0, 3),
        "bfloat16": torch.randn(3).bfloat16(),
        "float64": torch.randn(3).double(),
        "bool": torch.tensor([True, False]),
        "uint8": torch.arange(3, dtype=torch.uint8),
        "int32": torch.arange(3, dtype=torch.int32),
    }
    if zipped:
        state |= {"uint16": torch.tensor([1, 65535], dtype=torch.uint16)}
        state |= {"float8": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn).view(torch.uint8)}
    path = tmp_path / "w.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    tensors, info = read(path, allow_pickle=True)
    assert info.format == ("torch-zip" if zipped else "torch-legacy")
    assert same(tensors, {k: v.detach() for k, v in state.items()})
    assert same(tensors, torch.load(path, weights_only=True))


def test_tied_names_are_one_tensor_again(tmp_path: Path):
    table = torch.randn(5, 4)
    torch.save({"embed": table, "head": table}, tmp_path / "w.pt")
    tensors, info = read(tmp_path / "w.pt", allow_pickle=True)
    assert info.tied == {"head": "embed"}
    assert tensors["head"].data_ptr() == tensors["embed"].data_ptr()


def test_the_modules_own_state_dict_with_its_metadata(tmp_path: Path, small: Small):
    torch.save(small.state_dict(), tmp_path / "w.pt")  # an OrderedDict with a `_metadata` state
    assert same(read(tmp_path / "w.pt", allow_pickle=True)[0], dict(small.state_dict()))


def test_a_whole_pickled_module_is_refused_by_name(tmp_path: Path, small: Small):
    torch.save(small, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"asks for '.*Small'.*not run.*state dict"):
        read(tmp_path / "w.pt", allow_pickle=True)


# --- hostile files: the trap, if it ever ran, would leave a file ----------------------------------


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, what: Callable[..., object], *args: object):
        self.what, self.args = what, args

    def __reduce__(self):
        return self.what, self.args


def as_zip(path: Path, data: bytes, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def as_legacy(path: Path, data: bytes) -> Path:
    parts = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join(parts) + data + pickle.dumps([], 2))
    return path


def traps(folder: Path) -> dict[str, bytes]:
    sprung = str(folder / "sprung")
    touch = f"open({sprung!r}, 'w')"
    chain = (  # builtins.getattr(builtins.__import__("os"), "system")("touch ...")
        b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n(X\x02\x00\x00\x00ostRX\x06\x00\x00\x00system"
        b"tR(X" + struct.pack("<I", len(sprung) + 6) + b"touch " + sprung.encode() + b"tR."
    )
    dotted = b"\x80\x04\x8c\x05torch\x94\x8c\x10_utils.os.system\x94\x93\x94."
    inside = b"\x80\x04\x8c\x05torch\x94\x8c\x08__init__\x94\x93\x94."
    return {
        "os.system": pickle.dumps({"w": Calls(os.system, f"touch {sprung}")}),
        "eval": pickle.dumps({"w": Calls(eval, touch)}, 0),
        "exec": pickle.dumps({"w": Calls(exec, touch)}, 4),
        "open": pickle.dumps(Calls(open, sprung, "w")),
        "getattr chain": chain,
        "dotted name": dotted,
        "another name of torch": inside,
        "instance step": b"(S'touch " + sprung.encode() + b"'\nios\nsystem\n.",
        "object step": b"(cos\nsystem\nS'touch " + sprung.encode() + b"'\no.",
        "extension": b"\x80\x02\x82\x01.",
        "load from bytes": pickle.dumps(
            Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(os.system, f"touch {sprung}")))
        ),
        "map": b"\x80\x02cbuiltins\nmap\n(cos\nsystem\n](X\x01\x00\x00\x00aetR.",
    }


@pytest.mark.parametrize("name", traps(Path("/")).keys())
@pytest.mark.parametrize("wrap", [as_zip, as_legacy])
def test_a_trap_is_named_and_not_sprung(tmp_path: Path, name: str, wrap):
    path = wrap(tmp_path / "evil.pt", traps(tmp_path)[name])
    with pytest.raises(WeightsError, match=r"asks for|uses the pickle step"):
        read(path, allow_pickle=True)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "deed",
    [
        "os.system('touch sprung')",
        "subprocess.run(['touch', 'sprung'])",
        "socket.create_connection(('127.0.0.1', 9))",
        "os.execv('/bin/touch', ['touch', 'sprung'])",
        "__import__('webbrowser')",
        "eval('1')",
        "os.remove('victim')",
        "bytearray(3 << 30)",
        "open('large', 'wb').write(bytes(80 << 20))",
    ],
)
def test_the_child_could_do_little_harm_even_if_something_ran(tmp_path: Path, deed: str):
    (tmp_path / "victim").write_text("")
    root = Path(pickled.__file__).parents[2]
    code = (
        f"import os, socket, subprocess, sys; sys.path.insert(0, {str(root)!r});"
        f"from sensorium.weights.pickled import confine; confine(0); {deed}; print('done')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False
    )
    assert run.returncode != 0 and b"done" not in run.stdout
    assert (tmp_path / "victim").exists() and not (tmp_path / "sprung").exists()


def test_the_traps_are_real(tmp_path: Path):
    """What the standard pickle module does with one of them, for comparison."""
    pickle.loads(traps(tmp_path)["os.system"])
    assert (tmp_path / "sprung").exists()


def tensor_bytes(storage: tuple, offset: object, shape: object, stride: object) -> bytes:
    """A pickle of {"w": tensor} with any description of it."""

    class Pickler(pickle._Pickler):  # the pure-Python one can write a persistent id
        def persistent_id(self, obj: object):
            return obj.args if isinstance(obj, Stored) else None

    class Stored:
        def __init__(self, args: tuple):
            self.args = args

    class Rebuilt:
        def __reduce__(self):
            args = (Stored(storage), offset, shape, stride, False, collections.OrderedDict())
            return torch._utils._rebuild_tensor_v2, args  # pyright: ignore

    out = io.BytesIO()
    Pickler(out, 2).dump({"w": Rebuilt()})
    return out.getvalue()


FLOATS = ("storage", torch.FloatStorage, "0", "cpu", 4)


def test_tensors_described_honestly(tmp_path: Path):
    data = tensor_bytes(FLOATS, 1, (3,), (1,))
    tensors, _ = read(
        as_zip(tmp_path / "w.pt", data, **{"0": struct.pack("<4f", 1, 2, 3, 4)}), allow_pickle=True
    )
    assert tensors["w"].tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (tensor_bytes(FLOATS, 0, (5,), (1,)), "reaches past its storage"),
        (tensor_bytes(FLOATS, 2, (3,), (1,)), "reaches past its storage"),
        (tensor_bytes(FLOATS, 0, (2,), (9,)), "reaches past its storage"),
        (tensor_bytes(FLOATS, -1, (2,), (1,)), "described wrongly"),
        (tensor_bytes(FLOATS, 0, (2,), (-1,)), "described wrongly"),
        (tensor_bytes(FLOATS, 0, (2, 2), (1,)), "described wrongly"),
        (tensor_bytes(FLOATS, 0, ("2",), (1,)), "described wrongly"),
        (tensor_bytes(FLOATS, 0, (1,) * 40, (1,) * 40), "more than 32 axes"),
        (tensor_bytes(FLOATS, 0, (1 << 40,), (0,)), "far more than the file has"),
        (tensor_bytes(FLOATS, 0, (1 << 30, 1 << 30), (0, 0)), "far more than the file has"),
        (tensor_bytes((*FLOATS[:4], 1 << 40), 0, (1 << 33,), (1,)), "far more than the file has"),
        (tensor_bytes((*FLOATS[:4], 8), 0, (8,), (1,)), "shorter than its tensors need"),
        (tensor_bytes(("storage", torch.FloatStorage, "1", "cpu", 4), 0, (4,), (1,)), "is missing"),
        (tensor_bytes(("storage", torch.FloatStorage, "../x", "cpu", 4), 0, (4,), (1,)), "missing"),
        (
            tensor_bytes(("shelf", torch.FloatStorage, "0", "cpu", 4), 0, (4,), (1,)),
            "no torch storage",
        ),
    ],
)
def test_tensors_that_lie_about_themselves(tmp_path: Path, data: bytes, text: str):
    with pytest.raises(WeightsError, match=text):
        read(as_zip(tmp_path / "w.pt", data, **{"0": bytes(16)}), allow_pickle=True)


def laughs(levels: int) -> bytes:
    """Lists of ten references to the list before: small, but endless when walked."""
    steps = b"\x80\x02]q\x00K\x01a0"
    for _ in range(levels):
        steps += b"](" + b"h\x00" * 10 + b"eq\x000"
    return steps + b"h\x00."


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (laughs(200), "no dictionary of tensors"),
        (b"\x80\x02" + b"]" * 60_000 + b"a" * 59_999 + b".", "no dictionary of tensors"),
        (b"\x80\x02" + b")" + b"\x85" * 60_000 + b".", "no dictionary of tensors"),
        (b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.", "no tensors at its top"),  # contains itself
        (b"\x80\x02]r\xff\xff\xff\x7f.", "no dictionary of tensors"),  # a far memo place
        (b"\x80\x04\x96" + struct.pack("<Q", 1 << 40) + b"x.", "damaged|pickle step|memory"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.", "damaged|memory"),
        (b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFFF) + b"x.", "damaged|memory"),
        (b"I" + b"9" * 10_000 + b"\n.", "damaged"),
        (b"\x80\x02}" + b")" + b"\x85" * 60_000 + b"K\x01s.", "key is no text or number"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x020.", "damaged"),
        (b"\x80\x02", "damaged"),
        (b"", "damaged"),
        (b"\x80\x02K\x01)R.", "calls what is no name"),
        (b"\x80\x02K\x01K\x02b.", "gives a state to what has none"),
        (b"\x80\x02K\x01K\x02a.", "appends to what is no list"),
    ],
)
def test_bombs_and_nonsense(tmp_path: Path, data: bytes, text: str):
    with pytest.raises(WeightsError, match=text):
        read(as_zip(tmp_path / "w.pt", data), allow_pickle=True)


def test_a_module_that_contains_itself(tmp_path: Path):
    loop = b"\x80\x02c__torch__\nM\nq\x00)\x81q\x01}X\x01\x00\x00\x00ah\x01sb."
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", loop)
        archive.writestr("m/constants.pkl", b"\x80\x02).")
    with pytest.raises(WeightsError, match="contain themselves"):
        read(path, allow_pickle=True)


def test_following_on_paper_changes_nothing_global():
    """A pickle that would set attributes on a class of ours finds only notes to set them on."""
    step = b"\x80\x02cargparse\nNamespace\nq\x00)R}X\x01\x00\x00\x00xK\x01sb."
    noted = follow(io.BytesIO(step))
    assert noted.state == {"x": 1} and noted.name == ("argparse", "Namespace")


def test_damaged_files_are_refused_never_crash(tmp_path: Path, small: Small):
    """Bytes changed, cut and moved at random: an answer or a WeightsError, nothing else."""
    rng = random.Random(0)
    path = tmp_path / "w.pt"
    torch.save(small.state_dict(), path, _use_new_zipfile_serialization=False)
    legacy = path.read_bytes()
    torch.save(small.state_dict(), path)
    zipped = path.read_bytes()
    for _ in range(12):
        data = bytearray(rng.choice([legacy, zipped]))
        for _ in range(rng.randint(1, 20)):
            data[rng.randrange(200, len(data))] = rng.randrange(256)
        path.write_bytes(
            data[: rng.randint(len(data) // 2, len(data))] if rng.random() < 0.3 else data
        )
        try:
            read(path, allow_pickle=True, check_finite=False)
        except WeightsError as error:
            assert str(path) in str(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_machine_itself_under_random_steps():
    """Many more random pickles, followed here: only errors that the child reports as damage."""
    rng = random.Random(1)
    torch_file = io.BytesIO()
    torch.save({"w": torch.ones(2, 3), "n": 1}, torch_file)
    with zipfile.ZipFile(torch_file) as archive:
        base = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    known = (*DAMAGED, MemoryError)
    for _ in range(1500):
        data = bytearray(base)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(*known):
            follow(io.BytesIO(data))
