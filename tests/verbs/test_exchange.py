"""Import, export and another resolution: what comes out gives the numbers that went in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sensorium
from sensorium.media import openai_clip
from sensorium.models import clip_layouts, vit_layouts
from sensorium.models.classifier import classifier
from sensorium.models.clip import TINY, TINY_RESNET
from sensorium.models.declaration import Declaration
from sensorium.models.layouts import LAYOUTS, layout
from sensorium.models.vit import Size, vit
from sensorium.verbs.exchange import (
    as_text,
    at_resolution,
    export_model,
    import_model,
    pictures,
    save_model,
)
from sensorium.verbs.load import assemble
from sensorium.weights.errors import WeightsError
from sensorium.weights.readers import read
from tests.models.drawn import state

PICTURES = [one.name for one in (*clip_layouts.LAYOUTS, *vit_layouts.LAYOUTS)]
VIT = Declaration(vit, dict(size=Size(32, 8, 64, 2, 2, 128), classes=7))


def weights(declaration: Declaration) -> dict[str, Tensor]:
    """Drawn weights of a model of ours."""
    with torch.device("meta"):
        shapes = {key: t.shape for key, t in declaration.build().state_dict().items()}
    return state(shapes)


def file_of(declaration: Declaration, name: str, folder: Path) -> Path:
    """A published file of drawn weights."""
    tensors = layout(name).keymap(declaration).save(weights(declaration))
    path = folder / layout(name).weights
    if path.suffix == ".npz":
        np.savez(path, **{key: t.numpy() for key, t in tensors.items()})
    else:
        save_file(tensors, path)
    return path


def test_a_published_file_becomes_a_checkpoint_that_proves_itself(tmp_path: Path) -> None:
    path = file_of(TINY, "openai-clip", tmp_path)
    report = import_model(path, "openai-clip", tmp_path / "clip")
    assert json.loads(json.dumps(report)) == report
    assert report["dropped"] == ["context_length", "input_resolution", "vocab_size"]
    assert report["tensors"] == {"in the file": 65, "in the model": 62}
    assert "layout: openai-clip" in as_text(report)
    model, direct = sensorium.load(tmp_path / "clip"), sensorium.load(path, "openai-clip")
    for asked in ({"images": pictures()}, {"texts": ["a cat", "two dogs"]}):
        assert np.array_equal(model.embed(**asked), direct.embed(**asked))
    assert model.manifest["imported"]["sha256"] == report["sha256"]
    assert model.manifest["transform"]["name"] == "pillow-shorter-crop/1"
    assert model.manifest["tokenizer"]["kind"] == "clip-bpe/1"


@pytest.mark.parametrize("name", PICTURES)
def test_export_writes_what_import_reads_with_the_same_outputs(name: str, tmp_path: Path) -> None:
    declaration = TINY if "vit" not in name else VIT
    if layout(name).weights.endswith(".npz"):
        declaration = Declaration(vit, VIT.args | {"act": "gelu_tanh"})
    said = dict(act="quick_gelu") if name.startswith("open-clip") or name == "hf-clip" else {}
    said |= dict(act="gelu", eps=1e-6, heads=2) if name.startswith("hf-vit") else {}
    said |= dict(heads=2) if name == "timm-vit" else {}
    path = file_of(declaration, name, tmp_path)
    import_model(path, name, tmp_path / "ours", **said)
    report = export_model(tmp_path / "ours", name, tmp_path / "theirs")
    assert json.loads(json.dumps(report)) == report
    assert set(report["differences"].values()) == {0.0}
    assert all(report["kept"].values()) or report["kept"] == {
        "transform": True,
        "tokenizer": True,
        "labels": False,  # Hugging Face's files name every class
    }
    before, _ = read(path)
    after, _ = read(tmp_path / "theirs" / layout(name).weights)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", ["openai-clip", "open-clip", "open-clip-text"])
def test_a_resnet_goes_out_too(name: str, tmp_path: Path) -> None:
    import_model(file_of(TINY_RESNET, "openai-clip", tmp_path), "openai-clip", tmp_path / "ours")
    report = export_model(tmp_path / "ours", name, tmp_path / "theirs")
    assert set(report["differences"].values()) == {0.0}


def test_what_a_layout_cannot_hold_is_refused_and_nothing_written(tmp_path: Path) -> None:
    import_model(file_of(TINY_RESNET, "openai-clip", tmp_path), "openai-clip", tmp_path / "ours")
    with pytest.raises(WeightsError, match="hf-clip cannot hold this model: it holds ViT"):
        export_model(tmp_path / "ours", "hf-clip", tmp_path / "theirs")
    import_model(file_of(TINY, "open-clip", tmp_path), "open-clip", tmp_path / "gelu", act="gelu")
    with pytest.raises(WeightsError, match=r"openai-clip cannot hold.*quick_gelu, not gelu"):
        export_model(tmp_path / "gelu", "openai-clip", tmp_path / "theirs")
    with pytest.raises(WeightsError, match="timm-vit cannot hold"):
        export_model(tmp_path / "gelu", "timm-vit", tmp_path / "theirs")
    tower = Declaration(classifier, {"of": TINY.spec(), "embed": 16, "classes": 3})
    tokenizer, spec = None, openai_clip(64)
    manifest = {"model": tower.spec(), "transform": spec, "tokenizer": tokenizer}
    save_model(assemble(weights(tower), manifest, None), tmp_path / "tower")
    for name in LAYOUTS:
        with pytest.raises(WeightsError, match=f"{name} cannot hold"):
            export_model(tmp_path / "tower", name, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
    with pytest.raises(WeightsError, match="give a new folder"):
        export_model(tmp_path / "gelu", "open-clip", tmp_path / "ours")


class Attention(nn.Module):
    """The parameters of a torch attention under their names, without its computation."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return x


def tree(tensors: dict[str, Tensor]) -> nn.Module:
    """A module with exactly these tensors, nested as their names say; float ones as parameters."""
    root = Attention({})
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        at = root
        for part in path:
            if part not in dict(at.named_children()):
                at.add_module(part, Attention({}))
            at = at.get_submodule(part)  # type: ignore[assignment]
        if tensor.is_floating_point():
            at.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
        else:
            at.register_buffer(last, tensor)
    return root


@pytest.mark.parametrize("declaration", [TINY, TINY_RESNET], ids=["vit", "resnet"])
def test_a_torchscript_archive_as_openai_publishes_is_read_without_running_it(
    declaration: Declaration, tmp_path: Path
) -> None:
    theirs = layout("openai-clip").keymap(declaration).save(weights(declaration))
    half = {k: t.half() if t.is_floating_point() and t.ndim > 1 else t for k, t in theirs.items()}
    traced = torch.jit.trace(tree(half), torch.zeros(1), check_trace=False)
    torch.jit.save(traced, tmp_path / "ViT.pt")
    with pytest.raises(WeightsError, match="allow_pickle=True"):
        sensorium.load(tmp_path / "ViT.pt", "openai-clip")
    model = sensorium.load(tmp_path / "ViT.pt", "openai-clip", allow_pickle=True)
    got = model.net.state_dict()
    want = weights(declaration)
    assert got.keys() == want.keys()
    for key, tensor in want.items():
        near = tensor.half().float() if tensor.is_floating_point() and tensor.ndim > 1 else tensor
        assert torch.equal(got[key], near), key


def test_a_folder_of_published_files_is_opened_by_its_configuration(tmp_path: Path) -> None:
    import_model(file_of(TINY, "open-clip", tmp_path), "open-clip", tmp_path / "ours", act="gelu")
    export_model(tmp_path / "ours", "hf-clip", tmp_path / "hf")
    model = sensorium.load(tmp_path / "hf", "hf-clip")
    assert model.manifest["model"]["args"]["act"] == "gelu"
    with pytest.raises(WeightsError, match=r"act='quick_gelu' was said, but config\.json means"):
        sensorium.load(tmp_path / "hf", "hf-clip", act="quick_gelu")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())
    config["vision_config"]["hidden_act"] = "quick_gelu"
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="both towers"):
        sensorium.load(tmp_path / "hf", "hf-clip")
    with pytest.raises(WeightsError, match=r"must be said.*\n  hf-clip"):
        sensorium.load(tmp_path / "hf")


@pytest.mark.parametrize(
    ("where", "key", "value"),
    [
        ("vision_cfg", "pool_type", "avg"),
        ("text_cfg", "no_causal_mask", True),
        ("text_cfg", "hf_tokenizer_name", "other"),
        ("vision_cfg", "ls_init_value", 0.1),
    ],
)
def test_an_open_clip_setting_that_is_not_ours_is_refused(
    where: str, key: str, value: object, tmp_path: Path
) -> None:
    import_model(file_of(TINY, "openai-clip", tmp_path), "openai-clip", tmp_path / "ours")
    export_model(tmp_path / "ours", "open-clip", tmp_path / "theirs")
    path = tmp_path / "theirs" / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"][where][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=key):
        sensorium.load(tmp_path / "theirs", "open-clip")


@pytest.mark.parametrize(
    ("declaration", "name", "said", "key"),
    [
        (TINY, "openai-clip", {}, "image.embed.pos"),
        (VIT, "timm-vit", {"heads": 2}, "tower.embed.pos"),
    ],
    ids=["clip", "vit"],
)
def test_positions_are_carried_to_another_resolution(
    declaration: Declaration, name: str, said: dict, key: str, tmp_path: Path
) -> None:
    model = sensorium.load(file_of(declaration, name, tmp_path), name, **said)
    side = int(model.transform.spec["size"])
    wide = at_resolution(model, side + side // 2)
    assert wide.transform.spec["size"] == side + side // 2
    grid = 6
    old, new = model.net.state_dict()[key], wide.net.state_dict()[key]
    assert new.shape == (grid**2 + 1, old.shape[1])
    before, after = old[1:].view(4, 4, -1), new[1:].view(grid, grid, -1)
    assert torch.equal(new[0], old[0])
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):  # corners stay, as scipy.ndimage.zoom has it
        assert torch.allclose(after[y, x], before[y, x], atol=1e-6)
    same = at_resolution(model, side)
    assert torch.equal(same.net.state_dict()[key], old)
    save_model(wide, tmp_path / "wide")
    again = sensorium.load(tmp_path / "wide")
    assert f"carried to {side + side // 2} px" in again.manifest["changed"][0]
    with pytest.raises(WeightsError, match="patches of"):
        at_resolution(model, side + 1)


def test_a_resnet_has_no_positions_to_carry(tmp_path: Path) -> None:
    model = sensorium.load(file_of(TINY_RESNET, "openai-clip", tmp_path), "openai-clip")
    with pytest.raises(WeightsError, match="clip_resnet cannot be carried"):
        at_resolution(model, 96)


def test_saving_a_model_again_keeps_its_numbers(tmp_path: Path) -> None:
    import_model(file_of(TINY, "openai-clip", tmp_path), "openai-clip", tmp_path / "one")
    save_model(sensorium.load(tmp_path / "one"), tmp_path / "two")
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such file or folder"):
        sensorium.load(tmp_path / "nothing.pt", "openai-clip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="give the file"):
        sensorium.load(tmp_path / "empty", "openai-clip")
    with pytest.raises(WeightsError, match=r"no manifest\.json"):
        sensorium.load(tmp_path / "empty")
