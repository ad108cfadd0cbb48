"""safetensors files: sound ones read back, broken and hostile ones are named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sensorium.weights.errors import WeightsError
from sensorium.weights.header import read_safetensors
from sensorium.weights.writing import DTYPES, sha256, write

SOUND = {
    "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.half": torch.randn(3, 5).half(),
    "empty": torch.zeros(0, 4),
    "scalar": torch.tensor(3),
    "turned": torch.randn(4, 3).T,
    **{f"as.{name}": torch.ones(3).to(dtype) for name, dtype in DTYPES.items()},
}


def raw(header: object, data: bytes = b"") -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(a.double(), b.double()))


def test_what_is_written_the_safetensors_package_reads_the_same(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    written = write(path, SOUND, {"format": "pt"})
    assert written == (sha256(path), path.stat().st_size)
    theirs, (ours, metadata) = load_file(path), read_safetensors(path)
    assert metadata == {"format": "pt"}
    assert theirs.keys() == ours.keys() == SOUND.keys()
    assert all(same(theirs[name], SOUND[name]) and same(ours[name], SOUND[name]) for name in SOUND)


def test_what_the_safetensors_package_writes_is_read(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in SOUND.items()}
    save_file(tensors, path, {"by": "them"})
    read, metadata = read_safetensors(path)
    assert metadata == {"by": "them"}
    assert all(same(read[name], SOUND[name]) for name in SOUND)


def test_a_tensor_without_data_cannot_be_written(tmp_path: Path):
    with pytest.raises(WeightsError, match="w cannot be stored as safetensors: no data"):
        write(tmp_path / "a", {"w": torch.empty(2, device="meta")}, {})
    with pytest.raises(WeightsError, match=r"w cannot be stored as safetensors: torch\.complex64"):
        write(tmp_path / "b", {"w": torch.zeros(2, dtype=torch.complex64)}, {})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"abc", "announced, the file has 3"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "it is truncated or no safetensors file"),
        (raw(b"{" + b"[" * 100_000), "nested too deeply|not JSON"),
        (raw(b'{"w": \xff}'), "not JSON"),
        (raw([1]), "a JSON object is expected"),
        (raw({"w": entry([2], 0, 8)}, bytes(7)), "take 8 bytes, the file holds 7"),
        (raw({"w": entry([2], 0, 8)}, bytes(9)), "something appended"),
        (raw({"w": entry([2], 0, 8), "v": entry([2], 4, 12)}, bytes(12)), "overlaps"),
        (raw({"w": entry([2], 0, 8), "v": entry([1], 12, 16)}, bytes(16)), "leaves a gap"),
        (raw({"w": entry([3], 0, 8)}, bytes(8)), "needs 12 bytes, has 8"),
        (raw({"w": entry([1 << 40, 1 << 40], 0, 8)}, bytes(8)), "needs .* bytes, has 8"),
        (raw({"w": entry([-2], 0, 8)}, bytes(8)), "malformed shape"),
        (raw({"w": entry([2], 8, 0)}, bytes(8)), "needs 8 bytes, has -8"),
        (raw({"w": entry([2], 0, 8, "F99")}, bytes(8)), "dtype 'F99', known: BOOL"),
        (raw({"w": [1, 2]}, bytes(8)), "dtype None"),
        (raw({"w": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}, bytes(8)), "malformed"),
        (raw({"__metadata__": {"a": 1}}), "must be texts"),
        (raw({"__metadata__": [1]}), "must be texts"),
        (raw({"w": {**entry([2], 0, 8), "dtype": ["F32"]}}, bytes(8)), "dtype"),
        (raw(b'{"w": 1, "w": 2}'), "the key 'w' occurs twice"),
        (raw(b'{"w": ' + b"9" * 5000 + b"}"), "."),
    ],
)
def test_a_hostile_file_is_named_and_refused(tmp_path: Path, content: bytes, text: str):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=text) as error:
        read_safetensors(path)
    assert "hostile.safetensors" in str(error.value)


def test_a_header_bomb_is_not_even_read(tmp_path: Path):
    path = tmp_path / "bomb.safetensors"
    with path.open("wb") as file:  # sparse: takes no room on disk
        file.write((1 << 33).to_bytes(8, "little") + b"{")
        file.truncate((1 << 33) + 8)
    with pytest.raises(WeightsError, match="its header has 8589934592 bytes, the most is"):
        read_safetensors(path)
