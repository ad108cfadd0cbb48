"""NumPy archives, as Google publishes ViT."""

import contextlib
import io
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.weights import npz
from sensorium.weights.errors import WeightsError
from sensorium.weights.npz import read_npz
from sensorium.weights.readers import read

RNG = np.random.default_rng(0)


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


@pytest.mark.parametrize("how", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path: Path, how):
    arrays = {
        "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel": RNG.normal(size=(4, 6)),
        "cls": np.zeros((1, 1, 3), np.float32),
        "half": np.ones(3, np.float16),
        "step": np.array(7),
        "big": np.arange(5, dtype=">f4"),
        "fortran": np.asfortranarray(RNG.normal(size=(3, 4))),
        "truth": np.array([True, False]),
        "none": np.zeros((0, 3), np.float32),
    }
    path = tmp_path / "ViT.npz"
    how(path, **arrays)
    tensors, info = read(path)
    assert info.format == "npz" and info.notes == ()
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tensors[name].shape == array.shape
        np.testing.assert_array_equal(
            tensors[name].numpy(), array.astype(array.dtype.newbyteorder("="))
        )


def test_jaxs_bfloat16_is_read_and_noted(tmp_path: Path):
    want = torch.tensor([1.5, -2.0, 3.25]).bfloat16()
    void = want.view(torch.int16).numpy().view("V2")
    tensors, info = read(zipped(tmp_path / "a.npz", w=npy(void)))
    assert torch.equal(tensors["w"], want)
    assert info.notes == ("2-byte void arrays read as bfloat16: w",)


def test_an_object_array_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    data = npy(np.array([Trap()], dtype=object))
    with pytest.raises(WeightsError, match="w is an object array, that is a pickle"):
        read(zipped(tmp_path / "a.npz", w=data), allow_pickle=True)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"no array", "w is no NumPy array"),
        (npy(np.zeros(4))[:-3], "does not have the bytes"),
        (npy(np.zeros(4)) + b"more", "does not have the bytes"),
        (npy(np.zeros(4)).replace(b"(4,)", b"(-4,)"[:4] + b" "), "w "),
        (npy(np.array(["text"])), "dtype <U4, which is no tensor's"),
        (npy(np.zeros(2, np.complex64)), "dtype complex64"),
        (npy(np.zeros(1, [("a", "i1"), ("b", "i1")])), "which is no tensor's"),
    ],
)
def test_members_that_are_no_tensors(tmp_path: Path, data: bytes, text: str):
    with pytest.raises(WeightsError, match=text):
        read_npz(zipped(tmp_path / "a.npz", w=data))


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(npz, "FREE", 1 << 20)
    bomb = zipped(tmp_path / "bomb.npz", w=npy(np.zeros(1 << 22)))
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(WeightsError, match=r"33554560. it is taken for a bomb"):
        read(bomb)


def test_a_member_that_lies_about_its_size(tmp_path: Path):
    header = npy(np.zeros(0, np.uint8)).replace(b"(0,)", b"(%d,)" % (1 << 45))
    with pytest.raises(WeightsError, match=r"does not have the bytes|no NumPy array"):
        read(zipped(tmp_path / "a.npz", w=header))


def test_random_damage_is_refused_never_crashes(tmp_path: Path):
    rng = random.Random(0)
    base = npy(np.arange(12.0).reshape(3, 4))
    for _ in range(300):
        data = bytearray(base)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(128)] = rng.randrange(256)
        with contextlib.suppress(WeightsError):
            read_npz(zipped(tmp_path / "a.npz", w=bytes(data)))


def test_a_truncated_archive(tmp_path: Path):
    path = zipped(tmp_path / "a.npz", w=npy(RNG.normal(size=100)))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WeightsError, match="damaged or truncated zip"):
        read(path)


def test_two_members_of_one_name(tmp_path: Path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy(np.zeros(2)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("w.npy", npy(np.ones(2)))
    with pytest.raises(WeightsError, match="two members"):
        read(path)
