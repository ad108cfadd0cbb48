"""Published Faster R-CNNs give their numbers here, in both layouts, and go back unchanged.

golden/frcnn-vg holds what Hugging Face's own program said of weights drawn by formula
(scripts/golden_frcnn.py). bua-caffe has no program that runs without a compiled Detectron 2: its
file is made from the same weights by hand, and must give the same.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.forms.detector import Detector, Seen, refined
from sensorium.models.declaration import declared
from sensorium.models.detector_regions import detector
from sensorium.models.faster_rcnn import BUTD, VG
from sensorium.models.layouts import candidates, layout
from sensorium.models.published import Said
from sensorium.verbs.exchange import export_model, import_model
from sensorium.verbs.load import assemble
from sensorium.verbs.open import published
from sensorium.weights.errors import WeightsError
from tests.models.drawn import drift, state, uniform

GOLDEN = Path(__file__).parents[2] / "golden" / "frcnn-vg.safetensors"
LIMIT = 1e-5
ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
HEAD, RPN = "roi_heads.box_predictor", "proposal_generator.rpn_head"
IMAGE = 2 * uniform("picture", (1, 3, 96, 144))
RGB = IMAGE.flip(1)


def theirs() -> dict[str, Tensor]:
    with safe_open(GOLDEN, "pt") as file:
        made = state(json.loads(file.metadata()["shapes"]))
    return made | {ANCHORS: load_file(GOLDEN)["anchors"]}


def net(path: Path, name: str) -> Detector:
    found = published(path, name, Said())
    return detector(assemble(found.tensors, found.manifest, None).net.eval())


def as_caffe(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as MILVLG would have them: the background first, two logits an anchor."""
    names = {"cls_embedding": "cls_embed", "fc_attr": "attr_linear1", "attr_score": "attr_linear2"}
    moved = (f"{HEAD}.cls_", f"{HEAD}.attr_score")
    out: dict[str, Tensor] = {}
    for key, value in tensors.items():
        value = value.roll(1, 0) if key.startswith(moved) else value
        if key.startswith(f"{HEAD}.bbox_pred"):
            value = torch.cat([torch.ones_like(value[:4]), value / 10])
        if key.startswith(f"{RPN}.objectness"):
            value = torch.cat([uniform(key, value.shape), value + uniform(key, value.shape)])
        for old, new in names.items():
            key = key.replace(old, new)
        out[key] = value
    return out


def said(model: Detector) -> dict[str, Tensor]:
    """All that the golden file holds, for its own boxes."""
    golden = load_file(GOLDEN)
    view = model.views(RGB, torch.tensor([[96, 144]]))[0]
    boxes = model.rpn.propose(
        view.score, view.delta, model.rpn.boxes(view.x), (96, 144), model.limits
    )
    read = model.read(view.x, golden["boxes"])
    moved = refined(Seen(golden["boxes"], read), (10_000, 10_000), 0)
    assert read.attributes is not None
    found = {
        "map": view.x[None],
        "logits": view.score.view(6, 9, 12).permute(2, 0, 1)[None],
        "delta": view.delta.view(6, 9, 48).permute(2, 0, 1)[None],
        "boxes": boxes,
        "classes": read.classes.roll(-1, 1),
        "attributes": read.attributes.roll(-1, 1),
        "feature": read.feature,
        "moved": moved.flatten(1),
    }
    few = {k: v[:24] if k != "boxes" else v for k, v in found.items()}
    return few | {"anchors": model.rpn.boxes(view.x)[:12]}


@torch.no_grad()
def test_the_numbers_are_the_original_ones(tmp_path: Path) -> None:
    save_file(theirs(), tmp_path / "model.safetensors")
    found, golden = said(net(tmp_path, "vg-detectron2")), load_file(GOLDEN)
    golden["moved"] = golden["moved"].clamp(min=0)  # cut to the picture later there
    assert found.keys() == golden.keys()
    drifts = {key: drift(want, found[key]) for key, want in golden.items()}
    assert max(drifts.values()) <= LIMIT, drifts


@torch.no_grad()
def test_the_two_layouts_mean_the_same(tmp_path: Path) -> None:
    save_file(as_caffe(theirs()), tmp_path / "model.safetensors")
    model, golden = net(tmp_path, "bua-caffe"), load_file(GOLDEN)
    view = model.views(RGB, torch.tensor([[96, 144]]))[0]
    read = model.read(view.x, golden["boxes"])
    assert model.rpn.extra == 1 and read.attributes is not None
    logits = view.score.view(6, 9, 12).permute(2, 0, 1)[None]
    pairs = {"map": view.x[None], "logits": logits, "feature": read.feature[:24]}
    pairs |= {"classes": read.classes.roll(-1, 1)[:24]}
    pairs |= {"attributes": read.attributes.roll(-1, 1)[:24]}
    drifts = {key: drift(golden[key], value) for key, value in pairs.items()}
    assert max(drifts.values()) <= LIMIT, drifts


@pytest.mark.parametrize("name", ["vg-detectron2", "bua-caffe"])
def test_there_and_back_is_the_identity(name: str, tmp_path: Path) -> None:
    before = theirs() if name == "vg-detectron2" else as_caffe(theirs())
    save_file(before, tmp_path / "model.safetensors")
    found = published(tmp_path, name, Said())
    declaration = declared(found.manifest["model"])
    after = layout(name).keymap(declaration).save(found.tensors)
    left = {key for key in before if not key.endswith("num_batches_tracked")}
    assert set(after) == (left if name == "vg-detectron2" else left - {ANCHORS})
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert [one.name for one in candidates(before)] == [name]


def test_import_and_export_prove_themselves(tmp_path: Path) -> None:
    save_file(theirs(), tmp_path / "model.safetensors")
    import_model(tmp_path, "vg-detectron2", tmp_path / "ours")
    report = export_model(tmp_path / "ours", "vg-detectron2", tmp_path / "back")
    assert max(report["differences"].values()) == 0 and "detect score" in report["differences"]
    again = load_file(tmp_path / "back" / "model.safetensors")
    assert all(torch.equal(value, theirs()[key]) for key, value in again.items())


def test_other_anchors_are_refused(tmp_path: Path) -> None:
    save_file(theirs() | {ANCHORS: theirs()[ANCHORS] * 2}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="of another value than expected"):
        published(tmp_path, "vg-detectron2", Said())
    few = {k: v[:6] if "objectness" in k else v for k, v in theirs().items()}
    save_file(few, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="6 logits a cell"):
        published(tmp_path, "vg-detectron2", Said())


def test_the_published_size() -> None:
    """ResNet-101, 1,600 classes and 400 attributes: the tensors that the originals have."""
    shapes = {}
    for name, declaration in (("bua-caffe", BUTD), ("vg-detectron2", VG)):
        with torch.device("meta"):
            ours = declaration.build().state_dict()
        shapes[name] = {
            key: list(t.shape) for key, t in layout(name).keymap(declaration).save(ours).items()
        }
    bua, vg = shapes["bua-caffe"], shapes["vg-detectron2"]
    assert bua[f"{HEAD}.bbox_pred.weight"] == [6404, 2048]
    assert bua[f"{HEAD}.cls_embed.weight"] == [1601, 256]
    assert bua[f"{HEAD}.attr_linear1.weight"] == [512, 2304]
    assert bua[f"{RPN}.objectness_logits.weight"] == [24, 512, 1, 1]
    assert vg[f"{HEAD}.bbox_pred.weight"] == [6400, 2048]
    assert vg[f"{HEAD}.attr_score.weight"] == [401, 512]
    assert vg["backbone.res4.22.conv3.weight"] == [1024, 256, 1, 1]
    assert vg["roi_heads.res5.2.conv2.weight"] == [512, 512, 3, 3]
