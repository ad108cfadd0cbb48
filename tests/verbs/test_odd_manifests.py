"""A checkpoint whose manifest or weights were edited: one error that names the folder."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sensorium.data.tokenizers import ClipBPE
from sensorium.media import canvas
from sensorium.models.clip import SMALL, TINY
from sensorium.models.declaration import Declaration, declared
from sensorium.models.vit import Size, vit
from sensorium.verbs.load import assemble
from sensorium.weights.errors import WeightsError
from sensorium.weights.folder import read_manifest
from tests.models.drawn import state

VIT = Declaration(vit, dict(size=Size(32, 8, 64, 2, 2, 128), classes=3))


def drawn(declaration: Declaration) -> dict[str, Tensor]:
    with torch.device("meta"):
        shapes = {key: t.shape for key, t in declaration.build().state_dict().items()}
    return state(shapes)


def described(declaration: Declaration) -> dict[str, Any]:
    return {"model": declaration.spec(), "transform": canvas(32), "tokenizer": None}


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("os.system", {"command": "true"}),
        ("declaration.declared", {"spec": {}}),
        ("declaration.plain", {"value": 1}),
        ("declaration.systems", {}),
        ("layouts.layout", {"name": "timm-vit"}),
        ("listing.table", {}),
        ("inputs.pairs", {"items": []}),
        ("clip.Dual", {}),
        ("clip._vit", {}),
        ("clip", {}),
        (None, {}),
        (["clip.clip_vit"], {}),
        ("clip.clip_vit", []),
        ("clip.clip_vit", {}),
    ],
)
def test_only_functions_that_make_nets_are_called(function: Any, args: Any) -> None:
    with pytest.raises(ValueError, match="model"):
        declared({"function": function, "args": args})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("embed", "128"),
        ("embed", -1),
        ("embed", 10**12),
        ("embed", None),
        ("embed", True),
        ("image", 5),
        ("image", {}),
        ("image.blocks", "abc"),
        ("image.blocks", [1, 1]),
        ("image.blocks", [1, 1, 1, 10**7]),
        ("image.width", 32.5),
        ("text.length", "x"),
        ("eps", "x"),
        ("eps", float("nan")),
    ],
)
def test_an_argument_of_another_type_or_size_is_named(path: str, value: Any) -> None:
    spec = copy.deepcopy(SMALL.spec())
    *outer, last = path.split(".")
    at = spec["args"]
    for key in outer:
        at = at[key]
    at[last] = value
    with pytest.raises(ValueError, match=path.split(".")[0]):
        declared(spec)


@pytest.mark.parametrize("declaration", [SMALL, TINY, VIT])
def test_what_a_declaration_says_is_read_back(declaration: Declaration) -> None:
    assert declared(declaration.spec()).spec() == declaration.spec()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", None),
        ("model", "vit"),
        ("transform", None),
        ("transform", "x"),
        ("transform", {"name": "canvas/9"}),
        ("tokenizer", "clip"),
        ("tokenizer", {"kind": "x/1"}),
        ("labels", 5),
        ("labels", ["one", "two"]),
    ],
)
def test_a_manifest_no_model_can_be_made_of_is_named(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"manifest\.json"):
        assemble(drawn(VIT), described(VIT) | {key: value}, tmp_path)


def test_a_tokenizer_that_gives_more_than_the_net_takes_is_refused() -> None:
    length = TINY.args["text"].length
    manifest = described(TINY) | {"tokenizer": ClipBPE(length + 1).spec()}
    with pytest.raises(WeightsError, match="tokenizer"):
        assemble(drawn(TINY), manifest, None)


def test_weights_of_another_kind_are_refused_and_halves_are_made_whole(tmp_path: Path) -> None:
    tensors = drawn(VIT)
    with pytest.raises(WeightsError, match=r"torch\.int32"):
        assemble({n: t.int() for n, t in tensors.items()}, described(VIT), tmp_path)
    model = assemble({n: t.half() for n, t in tensors.items()}, described(VIT), tmp_path)
    assert all(p.dtype == torch.float32 for p in model.net.parameters())


def test_wrong_tensors_are_reported_with_their_folder(tmp_path: Path) -> None:
    tensors = drawn(VIT)
    tensors.pop("head.bias")
    with pytest.raises(WeightsError, match=tmp_path.name):
        assemble(tensors, described(VIT), tmp_path)


def test_of_a_run_the_checkpoint_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "manifest.json").write_text("{}")
    with pytest.raises(WeightsError, match="its checkpoint is"):
        read_manifest(tmp_path)
