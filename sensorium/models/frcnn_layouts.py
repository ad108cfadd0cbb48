"""Faster R-CNNs of Visual Genome as published for PyTorch: to our models, and back.

Both layouts have Detectron 2's names. They read blue before green before red, and we the other way
round: the first convolution's channels are turned. `vg-detectron2` counts the background last, we
first: its rows are moved. Batch normalisation counts (`num_batches_tracked`) are dropped.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sensorium.media.specs import bottom_up
from sensorium.models.declaration import Declaration
from sensorium.models.faster_rcnn import C4, CAFFE, EXACT, Kept, faster_rcnn
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    built,
    layers,
    must,
    shape,
)
from sensorium.nn.detect.anchors import cell
from sensorium.weights.errors import WeightsError
from sensorium.weights.ops import Op
from sensorium.weights.rules import Drop, KeyMap, Rule, State, drop, rename, rule

NORM = ("weight", "bias", "running_mean", "running_var")
STAGES = (2, 3, 4)
PREDICT, RPN = "roi_heads.box_predictor", "proposal_generator.rpn_head"
ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
BUA, VG = "bua-caffe", "vg-detectron2"
TURNED = Op(
    "blue, green, red to red, green, blue",
    lambda tensors: tuple(t.flip(1).contiguous() for t in tensors),
    lambda tensors: tuple(t.flip(1).contiguous() for t in tensors),
    lambda count: count,
)
FIRST = Op(
    "the last row first",
    lambda tensors: tuple(t.roll(1, 0) for t in tensors),
    lambda tensors: tuple(t.roll(-1, 0) for t in tensors),
    lambda count: count,
)


def norm(theirs: str, ours: str) -> list[Rule]:
    """The four tensors of a frozen batch normalisation."""
    return [rename(f"{theirs}.{name}", f"{ours}.{name}") for name in NORM]


def block(theirs: str, ours: str) -> Iterator[Rule]:
    """A bottleneck and its shortcut."""
    for k in (1, 2, 3):
        yield rename(f"{theirs}.conv{k}.weight", f"{ours}.conv{k}.weight")
        yield from norm(f"{theirs}.conv{k}.norm", f"{ours}.norm{k}")
    yield rename(f"{theirs}.shortcut.weight", f"{ours}.shortcut.0.weight")
    yield from norm(f"{theirs}.shortcut.norm", f"{ours}.shortcut.1")


def shared() -> list[Rule | Drop]:
    """What both layouts have in common."""
    rules: list[Rule | Drop] = [
        rule("backbone.stem.conv1.weight", "trunk.conv.weight", TURNED),
        *norm("backbone.stem.conv1.norm", "trunk.norm"),
        *block("roi_heads.res5.{i}", "head.stage.{i}"),
        rename(f"{RPN}.conv.*", "rpn.conv.*"),
        rename(f"{RPN}.objectness_logits.*", "rpn.score.*"),
        rename(f"{RPN}.anchor_deltas.*", "rpn.delta.*"),
        rename(f"{PREDICT}.bbox_pred.*", "predict.boxes.*"),
        drop("**.num_batches_tracked"),
    ]
    for s in STAGES:
        rules += block(f"backbone.res{s}.{{i}}", f"trunk.stages.{s - 2}.{{i}}")
    return rules


def bua_rules() -> list[Rule | Drop]:
    """MILVLG's conversion of the Caffe weights: the background first everywhere."""
    return [
        *shared(),
        rename(f"{PREDICT}.cls_score.*", "predict.classes.*"),
        rename(f"{PREDICT}.cls_embed.weight", "predict.attributes.embed.weight"),
        rename(f"{PREDICT}.attr_linear1.*", "predict.attributes.hidden.*"),
        rename(f"{PREDICT}.attr_linear2.*", "predict.attributes.out.*"),
        drop(ANCHORS),
    ]


def vg_rules(anchors: Any = EXACT) -> list[Rule | Drop]:
    """airsplay's and Hugging Face's: the background last, no correction of a box for it."""

    def restored(ours: State) -> State:
        made = cell(anchors.sizes, anchors.ratios, anchors.stride, anchors.rounding)
        return {ANCHORS: made} if "rpn.conv.weight" in ours else {}

    return [
        *shared(),
        rule(f"{PREDICT}.cls_score.*", "predict.classes.*", FIRST),
        rule(f"{PREDICT}.cls_embedding.weight", "predict.attributes.embed.weight", FIRST),
        rename(f"{PREDICT}.fc_attr.*", "predict.attributes.hidden.*"),
        rule(f"{PREDICT}.attr_score.*", "predict.attributes.out.*", FIRST),
        drop(ANCHORS, restored),
    ]


def _size(shapes: Shapes) -> C4:
    width = shape(shapes, "backbone.stem.conv1.weight", 4)[0]
    two, three, four = (layers(shapes, f"backbone.res{s}.{{i}}.conv1.weight") for s in STAGES)
    return C4((two, three, four), width, layers(shapes, "roi_heads.res5.{i}.conv1.weight"))


def _understood(shapes: Shapes, bua: bool) -> Understood:
    anchors = CAFFE if bua else EXACT
    logits = shape(shapes, f"{RPN}.objectness_logits.weight", 4)[0]
    columns = 2 if bua else 1
    if logits != columns * anchors.count():
        raise WeightsError(
            f"{logits} logits a cell of the proposal network, {columns * anchors.count()} are "
            "expected: the anchors are not those of this layout"
        )
    attributes = f"{PREDICT}.attr_linear2.weight" if bua else f"{PREDICT}.attr_score.weight"
    named = shape(shapes, attributes, 2)[0] - 1 if attributes in shapes else 0
    args = dict(
        size=_size(shapes),
        anchors=anchors,
        kept=Kept(least=16.0 if bua else 0.0),
        classes=shape(shapes, f"{PREDICT}.cls_score.weight", 2)[0] - 1,
        attributes=named,
        hidden=shape(shapes, f"{RPN}.conv.weight", 4)[0],
        columns=columns,
        coding="background" if bua else "units",
    )
    note = "the names of classes and attributes are in lists of their own, not in the file"
    return Understood(Declaration(faster_rcnn, args), bottom_up(), notes=(note,))


def _holds(declaration: Declaration, name: str) -> KeyMap:
    must(built(declaration, faster_rcnn), name, "it holds C4 detectors only")
    coding = "background" if name == BUA else "units"
    must(declaration.args.get("coding", "units") == coding, name, f"box coding is not {coding}")
    return KeyMap(bua_rules() if name == BUA else vg_rules(declaration.args["anchors"]))


def _no_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    return {}


def _layout(name: str, about: str, rules: list[Rule | Drop]) -> Published:
    def understand(shapes: Shapes, said: Said) -> Understood:
        return _understood(shapes, name == BUA)

    def keymap(declaration: Declaration) -> KeyMap:
        return _holds(declaration, name)

    return Published(name, about, (KeyMap(rules),), understand, keymap, _no_files)


LAYOUTS = (
    _layout(BUA, "bottom-up attention's detector, carried over from Caffe by MILVLG", bua_rules()),
    _layout(VG, "the same for Detectron 2: airsplay's, and Hugging Face's of LXMERT", vg_rules()),
)
