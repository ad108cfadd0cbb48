"""Models that read words, alone or beside pictures: what is imported proves itself, goes out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sensorium
from sensorium.data.tokenizers import WordPiece
from sensorium.data.tokenizers.wordpiece import SPECIAL
from sensorium.media import albef as albef_spec
from sensorium.media import vilt as vilt_spec
from sensorium.models import (
    albef_layouts,
    bert_layouts,
    fused,
    lxmert_layouts,
    single_stream_layouts,
    vilbert_layouts,
    vilt_layouts,
)
from sensorium.models.declaration import Declaration, systems
from sensorium.models.fused import understands
from sensorium.models.layouts import layout
from sensorium.types import Fuses
from sensorium.verbs.exchange import export_model, import_model, save_model
from sensorium.verbs.fast import prepared
from sensorium.verbs.load import assemble
from sensorium.verbs.prove import answer
from sensorium.verbs.verify import verify
from sensorium.weights import probes
from sensorium.weights.errors import WeightsError
from sensorium.weights.folder import PROBES
from tests.models.drawn import state
from tests.models.test_bert_layouts import CASES as WORDS_AND_REGIONS
from tests.models.test_patched_layouts import CASES as PIXELS
from tests.models.test_two_stream_layouts import CASES as TWO_STREAMS

MODULES = (albef_layouts, bert_layouts, lxmert_layouts, single_stream_layouts, vilbert_layouts)
NAMES = [one.name for module in (*MODULES, vilt_layouts) for one in module.LAYOUTS]
CASES = [*WORDS_AND_REGIONS, *TWO_STREAMS, *PIXELS]
SAID = dict(act="gelu", eps=1e-12)
TINY = {name: module.TINY for name, module in systems()}
READING = [name for name, one in TINY.items() if understands(one.build())]


def said(name: str) -> dict:
    """What no tensor of a layout shows."""
    return SAID if name in ("hf-bert", "hf-bert-old", "hf-visualbert", "hf-vilt") else {}


def drawn(declaration: Declaration) -> dict[str, torch.Tensor]:
    """Weights by formula."""
    with torch.device("meta"):
        return state({name: t.shape for name, t in declaration.build().state_dict().items()})


def file_of(declaration: Declaration, name: str, folder: Path) -> Path:
    """A published file of drawn weights."""
    tensors = layout(name).keymap(declaration).save(drawn(declaration))
    path = folder / layout(name).weights
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {key: t.numpy() for key, t in tensors.items()}
        np.savez(path, **arrays)
    else:
        save_file(tensors, path)
    return path


def tried() -> list:
    """Every case; the first of a layout always, the others where there is time."""
    out, seen = [], set()
    for name, declaration in CASES:
        marks = pytest.mark.slow if name in seen or name == "lavis-albef" else ()  # albef's rules
        heads = "+".join(declaration.args.get("heads", ("all",)))
        out.append(pytest.param((name, declaration), marks=marks, id=f"{name}:{heads}"))
        seen.add(name)
    return out


@pytest.mark.parametrize("case", tried())
def test_what_is_imported_proves_itself_and_goes_out_the_same(
    case: tuple[str, Declaration], tmp_path: Path
) -> None:
    name, declaration = case
    path = file_of(declaration, name, tmp_path)
    report = import_model(path, name, tmp_path / "ours", **said(name))
    assert json.loads(json.dumps(report)) == report
    report = export_model(tmp_path / "ours", name, tmp_path / "theirs")
    net = sensorium.load(tmp_path / "ours").net
    wanted = {"text", "pooled", *(f"head {head}" for head in net.heads)}  # type: ignore[union-attr]
    wanted |= {"image"} if isinstance(net, Fuses) else set()
    assert wanted <= report["differences"].keys()
    assert set(report["differences"].values()) == {0.0}


def test_every_layout_of_such_models_is_tried() -> None:
    assert {name for name, _ in CASES} == set(NAMES)


@pytest.mark.parametrize("name", READING)
def test_a_changed_weight_is_found_by_the_probes(name: str, tmp_path: Path) -> None:
    declaration = TINY[name]
    look = {"albef": albef_spec(32), "vilt": vilt_spec(64, 16)}.get(name)
    manifest = {"model": declaration.spec(), "transform": look, "tokenizer": None}
    model = assemble(drawn(declaration), manifest, None)
    save_model(model, tmp_path / "saved")
    report = verify(tmp_path / "saved")
    assert report["holds"]
    kept = probes.read(tmp_path / "saved" / PROBES)
    told = {value for probe in kept for value in probe.values}
    heads = model.net.get_submodule("heads")
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.add_(torch.linspace(0, 1, parameter.numel()).view_as(parameter))
    got = [answer(model, probe) for probe in kept]
    for name in (f"head {head}" for head, _ in heads.named_children()):
        assert name in told
        pairs = [(new[name], old.values[name]) for new, old in zip(got, kept, strict=True)]
        assert not all(torch.equal(new, old) for new, old in pairs)


@pytest.mark.parametrize("name", READING)
def test_laid_out_for_inference_it_says_the_same(name: str) -> None:
    net = TINY[name].build().eval()
    net.load_state_dict(drawn(TINY[name]))
    texts, seen = fused.fixed_texts(net), fused.sight(net)
    numbers = range(len(texts)) if seen is not None else ()
    pictures = [fused.shown(fused.drawn(seen, i)) for i in numbers if seen is not None]
    got = fused.said(prepared(net), texts, pictures)
    for key, value in fused.said(net, texts, pictures).items():
        assert (value - got[key]).abs().max() <= 1e-5 * value.abs().max(), key


def test_with_a_tokenizer_the_probe_starts_from_text(tmp_path: Path) -> None:
    declaration = TINY["bert"]
    words = WordPiece([*SPECIAL, "a", "photo", "of", "cat"], length=24, lower=True)
    files = {words.save(tmp_path).name: {}}
    manifest = {"model": declaration.spec(), "transform": None, "tokenizer": words.spec()}
    model = assemble(drawn(declaration), manifest | {"files": files}, tmp_path)
    kept = probes.read(save_model(model, tmp_path / "saved") / PROBES)
    assert [probe.verb for probe in kept] == ["read", "read"]
    assert kept[0].inputs == {"text": "a photo of a cat"}
    assert kept[0].values["ids"].tolist() == words.encode("a photo of a cat")
    lacking = assemble(drawn(declaration), manifest | {"tokenizer": None}, None)
    with pytest.raises(WeightsError, match="no tokenizer"):
        answer(lacking, kept[0])
