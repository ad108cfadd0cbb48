"""BERT's, VisualBERT's and UNITER's published layouts: understood, loaded, and written again."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import sensorium
from sensorium.models.bert import BertSize, bert
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import candidates, layout
from sensorium.models.published import Said
from sensorium.models.uniter import uniter
from sensorium.models.visualbert import visualbert
from sensorium.verbs.open import load
from sensorium.weights.errors import WeightsError
from tests.models.drawn import state

SIZE = BertSize(40, 12, 2, 64, 2, 1, 96)  # heads of 64, as all published ones
SAID = dict(act="gelu", eps=1e-12)
CASES: list[tuple[str, Declaration]] = [
    ("hf-bert", Declaration(bert, dict(text=SIZE))),
    ("hf-bert-old", Declaration(bert, dict(text=SIZE))),
    ("google-bert", Declaration(bert, dict(text=SIZE, act="gelu_tanh"))),
]
for heads in (("mlm", "itm"), ("vqa",), ("nlvr",), ("vcr",)):
    made = Declaration(visualbert, dict(text=SIZE, feature=6, heads=heads, answers=9))
    CASES += [("visualbert", made), ("hf-visualbert", made)]
TWO = Declaration(visualbert, dict(text=SIZE, feature=6, heads=("mlm", "itm", "ground")))
CASES.append(("visualbert", TWO))
for heads in (("mlm", "itm", "mrfr", "mrc"), ("itm", "rank"), ("vqa",), ("vcr",), ("ground_mlp",)):
    args = dict(text=SIZE, feature=6, heads=heads, answers=9, classes=5)
    CASES += [("uniter", Declaration(uniter, args)), ("uniter-old", Declaration(uniter, args))]
for name in ("nlvr", "nlvr_paired", "nlvr_triplet", "ground", "entail"):
    args = dict(text=SIZE._replace(types=3), feature=6, heads=(name,))
    CASES.append(("uniter", Declaration(uniter, args)))


def drawn(declaration: Declaration) -> dict[str, Tensor]:
    """Weights by formula."""
    with torch.device("meta"):
        return state({name: t.shape for name, t in declaration.build().state_dict().items()})


def write(name: str, tensors: dict[str, Tensor], folder: Path) -> Path:
    path = folder / layout(name).weights
    if path.suffix == ".npz":
        np.savez(path, **{key: t.numpy() for key, t in tensors.items()})
    else:
        save_file(tensors, path)
    return path


@pytest.mark.parametrize(("name", "declaration"), CASES)
def test_a_file_is_understood_loaded_and_written_again(
    name: str, declaration: Declaration, tmp_path: Path
) -> None:
    own = layout(name)
    weights = drawn(declaration)
    theirs = own.keymap(declaration).save(weights)
    assert own in candidates(theirs)
    said = SAID if name.startswith("hf") else {}
    found = own.understand({key: tuple(t.shape) for key, t in theirs.items()}, Said(**said))
    shapes = {key: t.shape for key, t in drawn(found.declaration).items()}
    assert shapes == {key: t.shape for key, t in weights.items()}
    path = write(name, theirs, tmp_path)
    net = load(path, name, **said).net
    assert all(torch.equal(weights[key], tensor) for key, tensor in net.state_dict().items())
    again = own.keymap(found.declaration).save(net.state_dict())
    assert again.keys() == theirs.keys()
    assert all(torch.equal(theirs[key], tensor) for key, tensor in again.items())


@pytest.mark.parametrize("name", ["hf-bert", "hf-visualbert"])
def test_a_configuration_goes_out_and_is_read_again(name: str, tmp_path: Path) -> None:
    declaration = next(d for n, d in CASES if n == name)
    files = layout(name).files(declaration, {"transform": None})
    (tmp_path / "config.json").write_bytes(files["config.json"])
    path = write(name, layout(name).keymap(declaration).save(drawn(declaration)), tmp_path)
    model = sensorium.load(path, name)
    spec = model.manifest["model"]["args"]
    assert (spec["act"], spec["eps"], spec["text"]["heads"]) == ("gelu", 1e-12, 1)
    config = json.loads(files["config.json"])
    for key, value, why in (
        ("num_attention_heads", 5, "heads cannot share"),
        ("hidden_size", 65, "hidden_size is 65"),
        ("hidden_act", "mish", "mish"),
        ("position_embedding_type", "relative_key", "relative_key"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(WeightsError, match=why):
            sensorium.load(path, name)


def test_what_no_tensor_shows_must_be_said(tmp_path: Path) -> None:
    declaration = CASES[0][1]
    path = write(
        "hf-bert", layout("hf-bert").keymap(declaration).save(drawn(declaration)), tmp_path
    )
    with pytest.raises(WeightsError, match="say act= and eps="):
        sensorium.load(path, "hf-bert")
    with pytest.raises(WeightsError, match="no tensor shows how many heads"):
        layout("uniter").understand(odd(), Said())


def odd() -> dict[str, tuple[int, ...]]:
    """The shapes of a UNITER whose width is not one of whole heads of 64."""
    made = Declaration(uniter, dict(text=SIZE._replace(width=96, heads=3), feature=6))
    theirs = layout("uniter").keymap(made).save(drawn(made))
    return {key: tuple(t.shape) for key, t in theirs.items()}


def test_a_copy_that_is_not_one_is_refused(tmp_path: Path) -> None:
    declaration = next(d for n, d in CASES if n == "uniter")
    theirs = layout("uniter").keymap(declaration).save(drawn(declaration))
    theirs["feat_regress.weight"] = theirs["feat_regress.weight"] + 1
    path = write("uniter", theirs, tmp_path)
    assert load_file(path).keys() == theirs.keys()
    with pytest.raises(WeightsError, match=r"feat_regress\.weight"):
        sensorium.load(path, "uniter")
