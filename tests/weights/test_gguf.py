"""GGUF files, written here byte by byte: what they hold comes out, and what is wrong is named."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sensorium
from sensorium.models import llama
from sensorium.models.layouts import layout
from sensorium.models.llama_layouts import stretched
from sensorium.nn.rope import Rope, Scaling
from sensorium.weights.errors import WeightsError
from sensorium.weights.ggml import PACKINGS
from sensorium.weights.gguf import read_gguf, read_header
from tests.data.test_chat import SMOL
from tests.data.test_words import PAIRS
from tests.models.drawn import state

WORDS = PAIRS["digits"][1]
DECLARATION = llama.TINY._replace(args=llama.TINY.args | dict(vocab=WORDS.vocab))
Tensors = dict[str, tuple[tuple[int, ...], int, bytes]]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value(given: Any) -> bytes:
    """A value with its type."""
    if isinstance(given, bool):
        return struct.pack("<I?", 7, given)
    if isinstance(given, int):
        return struct.pack("<II", 4, given)
    if isinstance(given, float):
        return struct.pack("<If", 6, given)
    if isinstance(given, str):
        return struct.pack("<I", 8) + text(given)
    inner = [value(one) for one in given]
    return (
        struct.pack("<I", 9)
        + inner[0][:4]
        + struct.pack("<Q", len(inner))
        + b"".join(one[4:] for one in inner)
    )


def gguf(values: dict[str, Any], tensors: Tensors, version: int = 3) -> bytes:
    """A file."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values))
    head += b"".join(text(key) + value(one) for key, one in values.items())
    body = b""
    for name, (shape, kind, data) in tensors.items():
        head += text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(shape))
        head += struct.pack("<IQ", kind, len(body))
        body += data + bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + body


def model_file(**change: Any) -> bytes:
    """A tiny LLaMA with a tokenizer and a template, in float32."""
    net = DECLARATION.build()
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    theirs = layout("gguf-llama").keymap(DECLARATION).save(net.state_dict())
    tensors = {n: (tuple(t.shape), 0, t.numpy().tobytes()) for n, t in theirs.items()}
    size, table = DECLARATION.args["size"], WORDS.table
    special = set(table.specials.values())
    values = {
        "general.architecture": "llama",
        "llama.block_count": size.layers,
        "llama.attention.head_count": size.heads,
        "llama.attention.head_count_kv": size.groups,
        "llama.rope.freq_base": 10000.0,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.context_length": 64,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": list(table.names),
        "tokenizer.ggml.token_type": [3 if i in special else 1 for i in range(len(table.names))],
        "tokenizer.ggml.merges": list(table.merges),
        "tokenizer.ggml.eos_token_id": table.eos,
        "tokenizer.chat_template": SMOL,
    }
    return gguf(values | change, tensors)


@torch.no_grad()
def test_a_model_comes_with_its_tokenizer_and_template(tmp_path: Path) -> None:
    at = tmp_path / "tiny.gguf"
    at.write_bytes(model_file())
    model = sensorium.load(at)
    net = DECLARATION.build()
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    for name, tensor in net.state_dict().items():
        assert torch.equal(model.net.state_dict()[name], tensor), name
    assert model.words is not None and model.words.encode("it's 2024") == WORDS.encode("it's 2024")
    assert model.manifest["chat"] == "smollm2" and model.words.specials == WORDS.specials
    at.write_bytes(model_file(**{"tokenizer.chat_template": SMOL + "{{ evil }}"}))
    other = sensorium.load(at).manifest
    assert "chat" not in other and "never run" in other["imported"]["notes"][-1]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"general.architecture": "mamba"}, "mamba"),
        ({"llama.attention.head_count": 3}, "heads"),
        ({"llama.rope.scaling.type": "longrope"}, "longrope"),
        ({"tokenizer.ggml.pre": "mine"}, "mine"),
        ({"tokenizer.ggml.model": "rwkv"}, "rwkv"),
        ({"tokenizer.ggml.merges": ["a"]}, "merge 0"),
    ],
)
def test_what_a_file_asks_for_that_is_not_known_is_named(
    change: dict[str, Any], word: str, tmp_path: Path
) -> None:
    at = tmp_path / "odd.gguf"
    at.write_bytes(model_file(**change))
    with pytest.raises(WeightsError, match=word):
        sensorium.load(at)


def test_a_damaged_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole, at = model_file(), tmp_path / "cut.gguf"
    for end in [4, 8, 20, 100, *range(200, len(whole), 1777), len(whole) - 64]:
        at.write_bytes(whole[:end])
        with pytest.raises(WeightsError, match=r"truncated|damaged|overlaps"):
            read_header(at)
    one = {"a": ((4,), 0, bytes(16))}
    for data, word in (
        (b"GGML" + whole[4:], "begin with GGUF"),
        (gguf({}, one, version=9), "version 9"),
        (gguf({}, {"a": ((32,), 20, bytes(64))}), "IQ4_NL"),
        (gguf({}, {"a": ((32,), 99, bytes(64))}), "number 99"),
        (gguf({}, {"a": ((5,), 8, bytes(34))}), "whole blocks"),
        (gguf({}, {"a": ((1 << 40,), 0, bytes(16))}), "truncated"),
        (gguf({"x": "y" * (2 << 20)}, one), "most is"),
        (gguf({"general.alignment": 3}, one), "alignment"),
    ):
        at.write_bytes(data)
        with pytest.raises(WeightsError, match=word):
            read_header(at)


def scalar(kind: int, block: bytes) -> list[float]:
    """Q4_0, Q4_1 and Q8_0 as their definitions say, number by number."""
    d = struct.unpack("<e", block[:2])[0]
    if kind == 8:
        return [d * q for q in struct.unpack("<32b", block[2:])]
    skip = 4 if kind == 3 else 2
    least = struct.unpack("<e", block[2:4])[0] if kind == 3 else -8 * d
    nibbles = [b & 15 for b in block[skip:]] + [b >> 4 for b in block[skip:]]
    return [d * q + least for q in nibbles]


@pytest.mark.parametrize("kind", PACKINGS)
def test_packed_numbers_are_unpacked(kind: int, tmp_path: Path) -> None:
    packing, rng = PACKINGS[kind], np.random.default_rng(kind)
    raw = rng.integers(0, 255, (6, packing.bytes), dtype=np.uint8)
    raw[:, list(range(1, packing.bytes, 2))] &= 0x3B  # no half or float is infinite
    at = tmp_path / "packed.gguf"
    at.write_bytes(gguf({}, {"a": ((2, 3 * packing.numbers), kind, raw.tobytes())}))
    found = read_gguf(at)[0]["a"]
    assert found.shape == (2, 3 * packing.numbers) and found.dtype == torch.float32
    if kind in (2, 3, 8):
        wanted = [x for block in raw for x in scalar(kind, block.tobytes())]
        assert torch.allclose(found.flatten(), torch.tensor(wanted), rtol=1e-6)
    peer = pytest.importorskip("gguf")
    theirs = peer.quants.dequantize(raw, peer.GGMLQuantizationType(kind))
    assert np.array_equal(found.numpy().reshape(theirs.shape), theirs, equal_nan=True)


def test_stretched_rotations_are_told_by_their_factors() -> None:
    told = Scaling("llama3", 32.0, 1.0, 4.0, 8192)
    cpu = torch.device("cpu")
    factors = Rope(64, 5e5).frequencies(cpu) / Rope(64, 5e5, told).frequencies(cpu)
    assert stretched(factors, 64, 5e5) == told
    with pytest.raises(WeightsError, match="neither"):
        stretched(factors * 2, 64, 5e5)
