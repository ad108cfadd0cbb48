"""CTranslate2's and whisper.cpp's files: written as documented, read back, damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from sensorium.models.whisper import Size, whisper
from sensorium.models.whisper_rules import CT2_MAP, GGML_MAP
from sensorium.weights.ct2 import is_ct2, read_ct2
from sensorium.weights.errors import WeightsError
from sensorium.weights.whisper_ggml import is_ggml, read_ggml
from tests.models.drawn import state

CODES = {np.dtype("f4"): 0, np.dtype("i1"): 1, np.dtype("i2"): 2, np.dtype("f2"): 4}


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def ct2(arrays: dict[str, np.ndarray], aliases: dict[str, str], version: int = 6) -> bytes:
    out = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    for name, array in arrays.items():
        out += text(name) + struct.pack("<B", array.ndim)
        out += struct.pack(f"<{array.ndim}I", *array.shape)
        out += struct.pack("<BI", CODES[array.dtype], array.nbytes) + array.tobytes()
    out += struct.pack("<I", len(aliases))
    return out + b"".join(text(a) + text(b) for a, b in aliases.items())


def net():
    made = whisper(Size(64, 2, 1), 2, 80, 96, 10, 16)
    made.load_state_dict(state({k: v.shape for k, v in made.state_dict().items()}))
    return made


def stored(kind: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """A net's tensors as CTranslate2 stores them."""
    theirs = CT2_MAP.save(net().state_dict())
    projection = theirs.pop("decoder/projection/weight", None)
    assert projection is not None
    arrays: dict[str, np.ndarray] = {"encoder/num_heads": np.array(1, np.int16)}
    for name, tensor in theirs.items():
        value = tensor.numpy()
        if kind.startswith("int8") and value.ndim >= 2 and "position" not in name:
            flat = np.abs(value.reshape(len(value), -1)).max(axis=1)
            scale = (127 / flat).astype(np.float32)
            by_row = scale.reshape(-1, *[1] * (value.ndim - 1))
            arrays[name] = np.rint(value * by_row).astype(np.int8)
            arrays[f"{name}_scale"] = scale
        else:
            half = kind.endswith("float16")
            arrays[name] = value.astype(np.float16 if half else np.float32)
    aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
    if kind.startswith("int8"):
        aliases["decoder/projection/weight_scale"] = "decoder/embeddings/weight_scale"
    return arrays, aliases


@pytest.mark.parametrize(
    ("kind", "off"), [("float32", 0.0), ("float16", 1e-3), ("int8", 6e-3), ("int8_float16", 6e-3)]
)
def test_every_type_is_read_as_the_net_it_was(kind: str, off: float, tmp_path: Path) -> None:
    at = tmp_path / "model.bin"
    at.write_bytes(ct2(*stored(kind)))
    assert is_ct2(at) and not is_ggml(at)
    tensors, header = read_ct2(at)
    assert header.spec == "WhisperSpec"
    own = net().state_dict()
    found = CT2_MAP.load(
        {k: v.float() for k, v in tensors.items()}, {k: tuple(v.shape) for k, v in own.items()}
    )
    for name, value in own.items():
        assert (found[name] - value).abs().max() <= off * value.abs().max()


def test_a_bias_of_keys_is_refused() -> None:
    arrays, _ = stored("float32")
    name = "decoder/layer_0/self_attention/linear_0/bias"
    arrays[name] = arrays[name] + 1
    tensors = {k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}
    expected = {k: tuple(v.shape) for k, v in net().state_dict().items()}
    with pytest.raises(WeightsError, match="bias for keys"):
        CT2_MAP.load(tensors, expected)


def test_damage_is_told(tmp_path: Path) -> None:
    arrays, aliases = stored("float32")
    whole = ct2(arrays, aliases)
    at = tmp_path / "model.bin"
    for data, why in (
        (whole[: len(whole) // 2], "truncated"),
        (whole + b"x", "left over"),
        (ct2(arrays, {"a": "nothing"}), "cannot be"),
        (ct2({**arrays, "w": np.zeros((2, 2), np.int8)}, aliases), "without its scale"),
        (b"\x09\0\0\0" + whole[4:], "version 9"),
        (whole[:21] + b"\xff\xff\xff\x7f" + whole[25:], "damaged|truncated"),
    ):
        at.write_bytes(data)
        with pytest.raises(WeightsError, match=why):
            read_ct2(at)


def ggml(tensors: dict[str, np.ndarray], words: list[bytes]) -> bytes:
    sizes = (96, 10, 64, 1, 2, 16, 64, 1, 2, 80, 0)
    out = struct.pack("<I11i", 0x67676D6C, *sizes)
    out += struct.pack("<2i", 80, 3) + np.zeros((80, 3), np.float32).tobytes()
    out += struct.pack("<i", len(words)) + b"".join(struct.pack("<i", len(w)) + w for w in words)
    for name, value in tensors.items():
        shape = value.shape[::-1]
        out += struct.pack("<3i", value.ndim, len(name), 0 if value.dtype == np.float32 else 1)
        out += struct.pack(f"<{value.ndim}i", *shape) + name.encode() + value.tobytes()
    return out


def test_whisper_cpp_files_are_read_and_damage_is_told(tmp_path: Path) -> None:
    own = net().state_dict()
    arrays = {k: v.numpy() for k, v in GGML_MAP.save(own).items()}
    assert arrays["encoder.conv1.bias"].shape == (64, 1)
    at = tmp_path / "ggml-tiny.bin"
    at.write_bytes(ggml(arrays, [b"a", b"bc"]))
    assert is_ggml(at)
    tensors, header = read_ggml(at)
    assert header.words == [b"a", b"bc"] and header.sizes["width"] == 64
    found = GGML_MAP.load(tensors, {k: tuple(v.shape) for k, v in own.items()})
    assert all(torch.equal(found[k], own[k]) for k in own)
    whole = at.read_bytes()
    for data, why in (
        (whole[:-5], "truncated"),
        (whole + bytes(40), "damaged"),
        (b"lmgg", "trunc"),
    ):
        at.write_bytes(data)
        with pytest.raises(WeightsError, match=why):
            read_ggml(at)
