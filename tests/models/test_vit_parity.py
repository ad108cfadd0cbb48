"""ViT gives the numbers of timm and of Google's archives, from weights in every published layout.

golden/vit-timm holds what timm's class said with weights under its own names; golden/vit-flax what
it said after its own reader had read an archive in Google's names, with flax's tanh GELU
(scripts/golden_vit.py made both).
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sensorium
from sensorium.models.layouts import LAYOUTS, candidates, layout
from sensorium.models.published import Said
from sensorium.models.vit import SIZES, Size, vit
from sensorium.verbs.open import load, published
from sensorium.weights.errors import WeightsError
from tests.models.drawn import drift, state, uniform

GOLDEN = Path(__file__).parents[2] / "golden"
LIMIT = 1e-5
VIT_LAYOUTS = [name for name in LAYOUTS if "vit" in name]
SIZE = Size(pixels=32, patch=8, width=64, layers=2, heads=2, hidden=128)


def drawn(name: str) -> dict[str, Tensor]:
    """The golden net's weights, under the names they were drawn under."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        return state(json.loads(file.metadata()["shapes"]))


def write(path: Path, tensors: dict[str, Tensor]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        save_file(tensors, path)
    return path


@torch.no_grad()
def drifts(net: nn.Module, name: str) -> dict[str, float]:
    """How far every state and output is from the golden one."""
    golden = load_file(GOLDEN / f"{name}.safetensors")
    picture, tower = uniform("picture", (2, 3, 32, 32)), net.get_submodule("tower")
    found = {f"state.{i}": x for i, x in enumerate(tower.stack.states(tower.embed(picture)))}
    found |= {"features": net.features(picture), "logits": net(picture)}  # type: ignore[operator]
    return {key: drift(want, found[key]) for key, want in golden.items()}


def big_vision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Google's names as big_vision's training states have them."""
    pairs = {"Attention_1": "Attention_0", "MlpBlock_3": "MlpBlock_0"}
    pairs |= {"LayerNorm_2": "LayerNorm_1", "Transformer/posembed_input/": ""}
    out = {}
    for name, tensor in tensors.items():
        for old, new in pairs.items():
            name = name.replace(old, new)
        out[f"params/{name}"] = tensor
    return out


def stacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the layers of a name in one array."""
    named = big_vision(tensors)
    out = {name: t for name, t in named.items() if "encoderblock_" not in name}
    for name in [name for name in named if "encoderblock_0" in name]:
        both = [named[name.replace("encoderblock_0", f"encoderblock_{i}")] for i in (0, 1)]
        out[name.replace("encoderblock_0", "encoderblock")] = torch.stack(both)
    return out


def test_every_state_and_output_is_timms(tmp_path: Path) -> None:
    path = write(tmp_path / "vit.safetensors", drawn("vit-timm"))
    found = drifts(sensorium.load(path, "timm-vit", heads=2).net, "vit-timm")
    print({name: f"{value:.1e}" for name, value in found.items()})
    assert max(found.values()) <= LIMIT, found


@pytest.mark.parametrize(
    ("name", "change"),
    [("google-vit", dict), ("big-vision-vit", big_vision), ("big-vision-vit-stacked", stacked)],
)
def test_googles_archives_give_the_same_in_all_their_forms(
    name: str, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    path = write(tmp_path / "vit.npz", change(drawn("vit-flax")))
    found = drifts(sensorium.load(path, name).net, "vit-flax")
    print(name, {key: f"{value:.1e}" for key, value in found.items()})
    assert max(found.values()) <= LIMIT, found


def test_the_wrong_gelu_is_seen(tmp_path: Path) -> None:
    """erf in place of tanh moves the outputs by more than parity allows."""
    path = write(tmp_path / "vit.npz", drawn("vit-flax"))
    weights = published(path, "google-vit", Said()).tensors
    net = vit(SIZE, 5, act="gelu").eval()
    net.load_state_dict(weights)
    assert drifts(net, "vit-flax")["logits"] > 3 * LIMIT


@pytest.mark.parametrize("hidden", [None, 24])
@pytest.mark.parametrize("classes", [0, 7])
@pytest.mark.parametrize("name", VIT_LAYOUTS)
def test_every_layout_goes_back_bit_for_bit(
    name: str, classes: int, hidden: int | None, tmp_path: Path
) -> None:
    act = "gelu_tanh" if layout(name).weights.endswith("npz") else "gelu"
    net = vit(SIZE, classes, act=act, pre_logits=hidden)
    weights = state({key: t.shape for key, t in net.state_dict().items()})
    args = dict(size=SIZE, classes=classes, act=act, eps=1e-6, pre_logits=hidden)
    declaration = layout(name).understand  # the size is read from the file, not handed over
    keymap = layout(name).keymap(_declaration(args))
    if name.startswith("hf") and classes and hidden:
        with pytest.raises(WeightsError, match="without a rule"):
            keymap.save(weights)  # ViTForImageClassification has no such layer
        return
    out = keymap.save(weights)
    path = write(tmp_path / f"vit{Path(layout(name).weights).suffix}", out)
    told = Said(act=act, eps=1e-6, heads=2)
    again = published(path, name, told)
    assert declaration({k: tuple(t.shape) for k, t in out.items()}, told).declaration.args == args
    assert again.tensors.keys() == weights.keys()
    assert all(torch.equal(again.tensors[key], weights[key]) for key in weights)
    back = keymap.save(again.tensors)
    assert back.keys() == out.keys()
    assert all(torch.equal(back[key], out[key]) for key in out)
    assert name in [one.name for one in candidates(out)]


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_are_read_back_from_names_and_shapes(size: str) -> None:
    with torch.device("meta"):
        ours = SIZES[size].build().state_dict()
    for name in ("timm-vit", "hf-vit", "hf-vit-5"):
        said = Said(act="gelu", eps=1e-6)
        names = layout(name).keymap(SIZES[size]).save(ours)
        shapes = {key: tuple(t.shape) for key, t in names.items()}
        assert layout(name).understand(shapes, said).declaration.spec() == SIZES[size].spec()


@pytest.mark.parametrize("harm", ["missing", "extra", "shape", "nan"])
def test_a_harmed_archive_is_refused_by_name(harm: str, tmp_path: Path) -> None:
    tensors = drawn("vit-flax")
    key = "Transformer/encoderblock_1/MlpBlock_3/Dense_1/bias"
    if harm == "missing":
        del tensors[key]
    elif harm == "extra":
        key = "Transformer/encoderblock_1/LayerNorm_9/scale"
        tensors[key] = torch.ones(3)
    elif harm == "shape":
        tensors[key] = tensors[key][:-1]
        key = r"blocks.1.mlp.f.down.bias \(63,\) in the file"
    else:
        tensors[key][0] = float("nan")
    path = write(tmp_path / "vit.npz", tensors)
    with pytest.raises(WeightsError, match=key):
        load(path, "google-vit")


def test_what_no_tensor_shows_must_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "vit.safetensors", drawn("vit-timm"))
    with pytest.raises(WeightsError, match="timm-vit"):
        load(path)
    with pytest.raises(WeightsError, match=r"say heads=.*12 at 768"):
        load(path, "timm-vit")
    with pytest.raises(WeightsError, match="timm-vit means 'gelu'"):
        load(path, "timm-vit", act="quick_gelu", heads=2)
    keymap = layout("hf-vit").keymap(_declaration(dict(size=SIZE, classes=5)))
    net = load(path, "timm-vit", heads=2).net
    path = write(tmp_path / "hf.safetensors", keymap.save(net.state_dict()))
    with pytest.raises(WeightsError, match=r"act= and eps=.*config\.json"):
        load(path, "hf-vit", heads=2)


def test_timms_config_beside_the_file_gives_the_transform(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", drawn("vit-timm"))
    given = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "crop_pct": 1.0}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": given}))
    spec = load(path, "timm-vit", heads=2).transform.spec
    assert (spec["mean"], spec["std"], spec["resize"]) == (given["mean"], given["std"], 32)
    given["interpolation"] = "bilinear"
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": given}))
    with pytest.raises(WeightsError, match="interpolation='bilinear'"):
        load(path, "timm-vit", heads=2)


def _declaration(args: dict):
    return SIZES["B/16"]._replace(args=args)
