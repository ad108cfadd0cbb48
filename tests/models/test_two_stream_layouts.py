"""LXMERT's and ViLBERT's published layouts: understood, loaded, and written again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LxmertConfig, LxmertForPreTraining, LxmertForQuestionAnswering

import sensorium
from sensorium.models.bert import BertSize
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import candidates, layout
from sensorium.models.lxmert import PRETRAINING, CrossSize, ObjectSize, lxmert
from sensorium.models.published import Said
from sensorium.models.vilbert import ALL, Answers, MeetSize, RegionSize, vilbert
from sensorium.verbs.open import load
from sensorium.weights.errors import WeightsError
from tests.models.drawn import state

SIZE = BertSize(40, 12, 2, 64, 2, 1, 96)  # heads of 64, as all published ones


def lxmert_with(*heads: str) -> Declaration:
    args = dict(text=SIZE, feature=6, image=ObjectSize(1, 7, 5), cross=CrossSize(2))
    return Declaration(lxmert, args | dict(heads=heads, answers=9, drop=0.1))


CASES: list[tuple[str, Declaration]] = [
    ("lxmert", lxmert_with(*PRETRAINING)),
    ("lxmert", lxmert_with("mlm", "itm", "feat")),
    ("hf-lxmert", lxmert_with(*PRETRAINING)),
    ("hf-lxmert", lxmert_with("vqa")),
    *((name, lxmert_with("vqa")) for name in ("lxmert-tuned", "lxmert-tuned-parallel")),
    *((name, lxmert_with("nlvr")) for name in ("lxmert-tuned", "lxmert-tuned-parallel")),
]


def vilbert_with(*heads: str, tasks: int = 0, layers: int = 2) -> Declaration:
    """A ViLBERT whose co-attention stands where the releases have it."""
    places = tuple(range(3 - layers, 3)), tuple(range(layers))
    args = dict(text=SIZE._replace(layers=3), feature=6, image=RegionSize(128, layers, 1, 40))
    args |= dict(meet=MeetSize(128, 1, *places), heads=heads, answers=Answers(9, 8, 7))
    return Declaration(vilbert, args | dict(tasks=tasks, drop=0.1))


FIRST = ("mlm", "itm", "mrc", "vqa_normed", "rank", "ground")
CASES += [("vilbert", vilbert_with("mlm", "itm", "mrc", layers=n)) for n in (1, 2, 3)]
CASES += [("vilbert", vilbert_with(*FIRST)), ("vilbert", vilbert_with(*ALL, tasks=4))]


def drawn(declaration: Declaration) -> dict[str, torch.Tensor]:
    """Weights by formula."""
    with torch.device("meta"):
        return state({name: t.shape for name, t in declaration.build().state_dict().items()})


@pytest.mark.parametrize(("name", "declaration"), CASES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_is_understood_loaded_and_written_again(
    name: str, declaration: Declaration, prefix: str, tmp_path: Path
) -> None:
    own, weights = layout(name), drawn(declaration)
    theirs = own.keymap(declaration).save(weights)
    found = own.understand({key: tuple(t.shape) for key, t in theirs.items()}, Said())
    shapes = {key: t.shape for key, t in drawn(found.declaration).items()}
    assert shapes == {key: t.shape for key, t in weights.items()}
    save_file({prefix + key: t for key, t in theirs.items()}, tmp_path / "it.safetensors")
    net = load(tmp_path / "it.safetensors", name).net
    assert all(torch.equal(weights[key], tensor) for key, tensor in net.state_dict().items())
    again = own.keymap(found.declaration).save(net.state_dict())
    assert again.keys() == theirs.keys()
    assert all(torch.equal(theirs[key], tensor) for key, tensor in again.items())


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_names_tell_the_layout(name: str) -> None:
    declaration = next(one for other, one in CASES if other == name)
    assert candidates(layout(name).keymap(declaration).save(drawn(declaration))) == [layout(name)]


@pytest.mark.parametrize("heads", [PRETRAINING, ("vqa",)])
def test_transformers_opens_what_is_written(heads: tuple[str, ...], tmp_path: Path) -> None:
    declaration, own = lxmert_with(*heads), layout("hf-lxmert")
    files = own.files(declaration, {"transform": None})
    theirs = own.keymap(declaration).save(drawn(declaration))
    (tmp_path / "config.json").write_bytes(files["config.json"])
    save_file(theirs, tmp_path / "model.safetensors", {"format": "pt"})
    kind = LxmertForPreTraining if heads == PRETRAINING else LxmertForQuestionAnswering
    net = kind(LxmertConfig.from_pretrained(tmp_path))
    assert {k: t.shape for k, t in net.state_dict().items()} == {
        k: t.shape for k, t in theirs.items()
    }
    spec = sensorium.load(tmp_path / "model.safetensors", "hf-lxmert").manifest["model"]
    assert spec == declaration.spec()
    config = json.loads(files["config.json"])
    for key, value, why in (("hidden_act", "relu", "hidden_act"), ("x_layers", 3, "x_layers is 3")):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(WeightsError, match=why):
            sensorium.load(tmp_path / "model.safetensors", "hf-lxmert")


def test_vilberts_configuration_goes_out_and_is_read_again(tmp_path: Path) -> None:
    """Places and heads that no tensor shows, and that the file alone would be misread without."""
    declaration, own = vilbert_with("mlm", "itm", "mrc"), layout("vilbert")
    meet, image = MeetSize(128, 4, (1, 1), (0, 2)), RegionSize(128, 2, 8, 40)
    declaration = declaration._replace(args=declaration.args | dict(meet=meet, image=image))
    save_file(own.keymap(declaration).save(drawn(declaration)), tmp_path / "it.safetensors")
    (made,) = own.files(declaration, {"transform": None}).values()
    (tmp_path / "config.json").write_bytes(made)
    spec = sensorium.load(tmp_path / "it.safetensors", "vilbert").manifest["model"]
    assert spec["args"]["answers"].pop("vqa") and spec["args"].pop("answers")["classes"] == 7
    wanted = declaration.spec()
    wanted["args"].pop("answers")
    assert spec == wanted
    for key, value, why in (
        ("t_biattention_id", [1], "the weights have 2"),
        ("v_biattention_id", [0, 9], "v_biattention_id"),
        ("fusion_method", "sum", "fusion_method"),
        ("v_num_attention_heads", 5, "cannot share"),
        ("v_hidden_dropout_prob", 0.3, "dropout differs"),
        ("bi_hidden_size", 64, "bi_hidden_size is 64"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(json.loads(made) | {key: value}))
        with pytest.raises(WeightsError, match=why):
            sensorium.load(tmp_path / "it.safetensors", "vilbert")


def test_a_layout_refuses_heads_that_it_has_no_place_for() -> None:
    for name, heads, why in (
        ("lxmert", ("qa", "vqa"), "it holds one"),
        ("lxmert", ("nlvr",), "no place"),
        ("lxmert-tuned", ("mlm", "vqa"), "no place"),
    ):
        with pytest.raises(WeightsError, match=why):
            layout(name).keymap(lxmert_with(*heads))
    for heads in (("vqa", "vqa_normed"), ("rank", "vcr")):
        with pytest.raises(WeightsError, match="it has one head for"):
            layout("vilbert").keymap(vilbert_with(*heads))
