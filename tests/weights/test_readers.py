"""Which file is what, what is unwrapped, and what is refused."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sensorium.weights.errors import WeightsError
from sensorium.weights.readers import read

W = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a
    )


def test_content_counts_not_the_name(tmp_path: Path):
    save_file(W, tmp_path / "weights.bin", {"epoch": "3"})
    tensors, info = read(tmp_path / "weights.bin")
    assert same(tensors, W)
    assert info.format == "safetensors" and info.metadata == {"epoch": "3"}


@pytest.mark.parametrize("length", [0x3C, 0x0280, 0x4B50])
def test_a_header_length_that_looks_like_another_format(tmp_path: Path, length: int):
    """The first bytes of these files are those of HTML, a pickle and a zip."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    assert len(head) <= length
    data = length.to_bytes(8, "little") + head + b" " * (length - len(head)) + b"\x05"
    (tmp_path / "w").write_bytes(data)
    assert read(tmp_path / "w")[0]["w"].tolist() == [5]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\x03\x00", "GGUF"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04broken", "damaged or truncated zip"),
        (b"hello, world", "of no known format"),
        (pickle.dumps({"a": 1}), r"a pickled PyTorch file \(pickle\)"),
    ],
)
def test_other_files_are_recognised(tmp_path: Path, content: bytes, text: str):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=text):
        read(path)


def test_a_pickle_renamed_safetensors(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    torch.save(W, path)
    with pytest.raises(WeightsError, match=r"whatever its name says.*allow_pickle=True"):
        read(path)
    path.write_bytes(pickle.dumps(dict.fromkeys("abc", 1)))
    with pytest.raises(WeightsError, match="whatever its name says"):
        read(path)


def test_pickles_are_read_only_when_allowed(tmp_path: Path):
    torch.save(W, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"Take the same weights as safetensors.*--allow-pickle"):
        read(tmp_path / "w.pt")
    assert same(read(tmp_path / "w.pt", allow_pickle=True)[0], W)


def test_a_folder_and_a_missing_file(tmp_path: Path):
    save_file(W, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"is a folder; .*\(it has: w.safetensors\)"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.safetensors")


def test_not_a_number_is_named(tmp_path: Path):
    spoilt = {"good": torch.ones(2), "bad": torch.tensor([1.0, float("nan")])}
    spoilt |= {"low": torch.tensor([float("-inf")]).half()}
    save_file(spoilt, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="2 tensors hold NaN or infinity: bad, low"):
        read(tmp_path / "w.safetensors")
    assert len(read(tmp_path / "w.safetensors", check_finite=False)[0]) == 3


def test_a_prefix_goes_only_when_every_name_has_it(tmp_path: Path):
    save_file({f"module.{k}": v for k, v in W.items()}, tmp_path / "all.safetensors")
    tensors, info = read(tmp_path / "all.safetensors")
    assert same(tensors, W)
    assert info.notes == ("removed the prefix 'module.' from every name",)
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    save_file(mixed, tmp_path / "some.safetensors")
    tensors, info = read(tmp_path / "some.safetensors")
    assert tensors.keys() == mixed.keys() and info.notes == ()


# --- shards ---------------------------------------------------------------------------------------


def shards(folder: Path, weight_map: dict[str, str]) -> Path:
    for number, (name, tensor) in enumerate(W.items()):
        save_file({name: tensor}, folder / f"m-{number}.safetensors")
    path = folder / "m.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


GOOD = {"a.weight": "m-0.safetensors", "a.bias": "m-1.safetensors"}


def test_shards_are_read_through_their_index(tmp_path: Path):
    tensors, info = read(shards(tmp_path, GOOD))
    assert same(tensors, W) and info.format == "safetensors"


@pytest.mark.parametrize(
    ("weight_map", "text"),
    [
        ({**GOOD, "a.bias": "../m-1.safetensors"}, "no plain file name"),
        ({**GOOD, "a.bias": "/etc/passwd"}, "no plain file name"),
        ({**GOOD, "a.bias": "m-2.safetensors"}, "m-2.safetensors is missing; fetch it"),
        ({**GOOD, "a.scale": "m-1.safetensors"}, "disagree on 1: a.scale"),
        ({"a.weight": "m-0.safetensors", "b": "m-1.safetensors"}, "disagree on 2: a.bias, b"),
        ({}, "no 'weight_map'"),
    ],
)
def test_an_index_that_does_not_fit(tmp_path: Path, weight_map: dict[str, str], text: str):
    with pytest.raises(WeightsError, match=text):
        read(shards(tmp_path, weight_map))


def test_pickled_shards(tmp_path: Path):
    torch.save({"a.weight": W["a.weight"]}, tmp_path / "p-0.bin")
    torch.save({"a.bias": W["a.bias"]}, tmp_path / "p-1.bin")
    index = tmp_path / "p.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a.weight": "p-0.bin", "a.bias": "p-1.bin"}}))
    with pytest.raises(WeightsError, match="pickled PyTorch file"):
        read(index)
    assert same(read(index, allow_pickle=True)[0], W)


# --- wrappers in pickled files --------------------------------------------------------------------


def saved(path: Path, what: object) -> Path:
    torch.save(what, path / "w.pt")
    return path / "w.pt"


@pytest.mark.parametrize("name", ["state_dict", "model", "ema"])
def test_one_wrapper_is_taken_off_and_noted(tmp_path: Path, name: str):
    what = {"epoch": 3, name: OrderedDict(W), "optimizer": {"state": {0: {"m": torch.ones(2)}}}}
    tensors, info = read(saved(tmp_path, what), allow_pickle=True)
    assert same(tensors, W) and info.notes == (f"unwrapped {name!r}",)


def test_two_candidates_are_never_chosen_between(tmp_path: Path):
    path = saved(tmp_path, {"model": W, "model_ema": {k: v + 1 for k, v in W.items()}})
    with pytest.raises(WeightsError, match=r"several things.*'model', 'model_ema'; say which"):
        read(path, allow_pickle=True)
    tensors, _ = read(path, allow_pickle=True, inside="model_ema")
    assert torch.equal(tensors["a.bias"], W["a.bias"] + 1)
    with pytest.raises(
        WeightsError, match="there is no dictionary 'teacher' in it; it has: 'model'"
    ):
        read(path, allow_pickle=True, inside="teacher")
    save_file(W, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="holds no dictionaries; leave out inside="):
        read(tmp_path / "w.safetensors", inside="model")
    with pytest.raises(WeightsError, match="'model' and the file itself"):
        read(saved(tmp_path, {"model": W, "scale": torch.ones(1)}), allow_pickle=True)


def test_what_is_no_tensor_is_left_out_and_noted(tmp_path: Path):
    tensors, info = read(saved(tmp_path, {**W, "epoch": 3, "name": "x"}), allow_pickle=True)
    assert same(tensors, W)
    assert info.notes == ("left out what is no tensor: 'epoch', 'name'",)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ([torch.ones(1)], "no dictionary of tensors"),
        ({"a": {"b": {"c": torch.ones(1)}}}, "no tensors at its top or one level below"),
        ({"epoch": 1}, "no tensors at its top"),
        ({0: torch.ones(1)}, "key is no text"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, what: object, text: str):
    with pytest.raises(WeightsError, match=text):
        read(saved(tmp_path, what), allow_pickle=True)
