"""Code models beside transformers' own, with the same weights, in both directions."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import sensorium
from sensorium.models import codegen, codex, gpt_bigcode, gpt_neo, gptj, starcoder2
from sensorium.models.code_layouts import MADE_ON, by_head, by_machine
from sensorium.weights.errors import WeightsError
from tests.models.test_language_parity import (
    COMMON,
    GPT2,
    quiet,  # noqa: F401  (a fixture)
    test_a_folder_of_transformers_gives_the_same_here,
    theirs,
)

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
STAR2 = COMMON | dict(hidden_size=32, intermediate_size=80, num_hidden_layers=2)
STAR2 |= dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("hf-gpt-bigcode", "GPTBigCode", GPT2 | dict(activation_function="gelu")),
    ("hf-gpt-bigcode", "GPTBigCode", GPT2 | dict(multi_query=False)),
    ("hf-starcoder2", "Starcoder2", STAR2 | dict(sliding_window=4)),
    ("hf-starcoder2", "Starcoder2", STAR2 | dict(tie_word_embeddings=False)),
    ("hf-codegen", "CodeGen", GPT2 | dict(rotary_dim=4, tie_word_embeddings=False)),
]


@pytest.mark.parametrize(("name", "kind", "settings"), CASES)
def test_code_models_of_transformers_give_the_same_here(
    name: str, kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    test_a_folder_of_transformers_gives_the_same_here(name, kind, settings, tmp_path)


def test_heads_and_machines_are_the_published_order_of_rows() -> None:
    """Slow twins: every row is followed to its place."""
    heads, width = 3, 2
    (ours,) = by_head(heads, width).load((torch.arange(heads * 3 * width),))
    told = [(h * 3 + part) * width + w for part in range(3) for h in range(heads) for w in (0, 1)]
    assert ours.tolist() == told
    d = 8
    (ours,) = by_machine(d).load((torch.arange(3 * d),))
    local = d // MADE_ON
    place = {"q": 0, "v": 1, "k": 2}
    told = [
        (machine * 3 + place[part]) * local + row
        for part in "qkv"
        for machine in range(MADE_ON)
        for row in range(local)
    ]
    assert ours.tolist() == told


@pytest.mark.parametrize(
    ("case", "change", "word"),
    [
        (0, {"scale_attn_weights": False}, "scale_attn_weights"),
        (0, {"activation_function": "swish"}, "swish"),
        (2, {"use_bias": False}, "use_bias"),
        (4, {"n_head": 2}, "four machines"),
    ],
)
def test_what_the_model_here_does_not_do_is_refused(
    case: int, change: dict[str, Any], word: str, tmp_path: Path
) -> None:
    name, kind, settings = CASES[case]
    net: Any = theirs(kind, settings)
    net.save_pretrained(tmp_path)
    at = tmp_path / "config.json"
    at.write_text(sensorium_json(at.read_text(), change))
    with pytest.raises(WeightsError, match=word):
        sensorium.load(tmp_path, name)


def sensorium_json(text: str, change: dict[str, Any]) -> str:
    return json.dumps(json.loads(text) | change)


COUNTS = {
    gpt_bigcode: {"starcoder": 15_517_456_384},
    gptj: {"6B": 6_050_882_784},
}
PAPERS = {  # parameters as the papers name the sizes; embeddings included but for Codex
    gpt_bigcode: {"starcoderbase-1b": 1.14e9, "starcoderbase-3b": 3.04e9, "santacoder": 1.1e9},
    starcoder2: {"3b": 3.03e9, "7b": 7.17e9, "15b": 15.96e9},
    codegen: {"350M-mono": 3.5e8, "2B-multi": 2.7e9, "6B-mono": 7.0e9, "16B-mono": 16.1e9},
    gpt_neo: {"125M": 125e6, "1.3B": 1.3e9, "2.7B": 2.7e9},
}


@pytest.mark.parametrize("module", [*COUNTS], ids=lambda m: m.__name__.split(".")[-1])
def test_sizes_have_their_parameters(module) -> None:
    assert {n: module.SIZES[n].parameters() for n in COUNTS[module]} == COUNTS[module]


@pytest.mark.parametrize("module", [*PAPERS], ids=lambda m: m.__name__.split(".")[-1])
def test_sizes_are_those_that_papers_name(module) -> None:
    for size, count in PAPERS[module].items():
        assert math.isclose(module.SIZES[size].parameters(), count, rel_tol=0.05), size


def test_codex_is_named_by_what_is_beside_the_embeddings() -> None:
    named = {"12M": 12e6, "25M": 25e6, "42M": 42e6, "85M": 85e6}
    named |= {"300M": 300e6, "679M": 679e6, "2.5B": 2.5e9, "12B": 12e9}
    assert set(named) == set(codex.SIZES)
    for size, count in named.items():
        s = codex.SIZES[size].args["size"]
        assert math.isclose(12 * s.layers * s.width**2, count, rel_tol=0.05), size
