"""Makes golden/frcnn-vg.safetensors: what Hugging Face's Faster R-CNN says of weights by formula.

    python -m scripts.golden_frcnn CHECKOUT    # of huggingface/transformers-research-projects

The program (lxmert/modeling_frcnn.py) is run as it is, at reduced width and with fewer anchors. Of
torchvision it needs RoIPool and suppression, which are put in its place here as plain loops
(tests/nn/slow_detect.py).
"""

import importlib
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace as Space

import torch
from safetensors.torch import save_file

from tests.models.drawn import state, uniform
from tests.nn import slow_detect as slow

GOLDEN = Path(__file__).parents[1] / "golden" / "frcnn-vg.safetensors"
CLASSES, ATTRIBUTES, WIDTH, HIDDEN = 7, 4, 8, 16
SIZES, RATIOS = [[64, 128, 256, 512]], [[0.5, 1.0, 2.0]]
IMAGE = (1, 3, 96, 144)


class RoIPool(torch.nn.Module):
    def __init__(self, side: tuple[int, int], spatial_scale: float):
        super().__init__()
        self.side, self.scale = side[0], spatial_scale

    def forward(self, x: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        return slow.roi_pool(x[0], boxes[:, 1:], self.side, self.scale)


def nms(boxes: torch.Tensor, scores: torch.Tensor, limit: float) -> torch.Tensor:
    return torch.tensor(slow.nms(boxes, scores, limit), dtype=torch.long)


def batched_nms(boxes, scores, levels, limit):
    assert levels.max() == 0
    return nms(boxes, scores, limit)


def original(checkout: Path) -> types.ModuleType:
    """The program, with what it imports and does not need here left empty."""
    ops = types.ModuleType("torchvision.ops")
    vars(ops).update(RoIPool=RoIPool)
    boxes = types.ModuleType("torchvision.ops.boxes")
    vars(boxes).update(nms=nms, batched_nms=batched_nms)
    utils = types.ModuleType("utils")
    for name in ("WEIGHTS_NAME", "Config", "cached_path", "hf_bucket_url", "is_remote_url"):
        setattr(utils, name, None)
    vars(utils).update(load_checkpoint=None)
    for module in (types.ModuleType("torchvision"), ops, boxes, utils):
        sys.modules[module.__name__] = module
    sys.path.insert(0, str(checkout / "lxmert"))
    return importlib.import_module("modeling_frcnn")


def config() -> Space:
    return Space(
        MODEL=Space(DEVICE="cpu", PIXEL_MEAN=[0, 0, 0], MAX_POOL=True),
        BACKBONE=Space(FREEZE_AT=2),
        RESNETS=Space(
            NORM="BN", STEM_OUT_CHANNELS=WIDTH, OUT_FEATURES=["res4"], DEPTH=50, NUM_GROUPS=1,
            WIDTH_PER_GROUP=WIDTH, RES2_OUT_CHANNELS=4 * WIDTH, STRIDE_IN_1X1=True, RES5_DILATION=1,
        ),
        ANCHOR_GENERATOR=Space(SIZES=SIZES, ASPECT_RATIOS=RATIOS, OFFSET=0.0),
        PROPOSAL_GENERATOR=Space(MIN_SIZE=0, HIDDEN_CHANNELS=HIDDEN),
        RPN=Space(
            IN_FEATURES=["res4"], NMS_THRESH=0.7, BATCH_SIZE_PER_IMAGE=1, POSITIVE_FRACTION=0.5,
            SMOOTH_L1_BETA=0.0, LOSS_WEIGHT=1.0, PRE_NMS_TOPK_TRAIN=1, PRE_NMS_TOPK_TEST=6000,
            POST_NMS_TOPK_TRAIN=1, POST_NMS_TOPK_TEST=300, BOUNDARY_THRESH=0,
            BBOX_REG_WEIGHTS=(1.0, 1.0, 1.0, 1.0), IOU_THRESHOLDS=[0.3, 0.7], IOU_LABELS=[0, -1, 1],
        ),
        ROI_HEADS=Space(
            IN_FEATURES=["res4"], NUM_CLASSES=CLASSES, POSITIVE_FRACTION=0.5,
            PROPOSAL_APPEND_GT=True, SCORE_THRESH_TEST=0.2, NMS_THRESH_TEST=0.5,
        ),
        ROI_BOX_HEAD=Space(
            CLS_AGNOSTIC_BBOX_REG=False, POOLER_RESOLUTION=14, POOLER_SAMPLING_RATIO=0,
            RES5HALVE=False, ATTR=True, NUM_ATTRS=ATTRIBUTES, SMOOTH_L1_BETA=0.0,
            BBOX_REG_WEIGHTS=(10.0, 10.0, 5.0, 5.0),
        ),
        MIN_DETECTIONS=1, MAX_DETECTIONS=36,
    )  # fmt: skip


@torch.no_grad()
def main(checkout: Path) -> None:
    net = original(checkout).GeneralizedRCNN(config()).eval()
    anchors = "proposal_generator.anchor_generator.cell_anchors.0"
    shapes = {k: list(t.shape) for k, t in net.state_dict().items()}
    drawn = state(shapes)
    drawn[anchors] = net.state_dict()[anchors]
    net.load_state_dict(drawn)
    image = 2 * uniform("picture", IMAGE)
    features = net.backbone(image)
    logits, delta = net.proposal_generator.rpn_head([features["res4"]])
    size = torch.tensor([[float(IMAGE[2]), float(IMAGE[3])]])
    boxes, _ = net.proposal_generator(image, size, features, None)
    classes, attributes, moves, pooled = net.roi_heads(features, boxes, None)
    moved = net.roi_outputs._predict_boxes(boxes, moves, [len(boxes[0])])[0]
    said = {"map": features["res4"], "logits": logits[0], "delta": delta[0], "boxes": boxes[0]}
    said |= {"classes": classes, "attributes": attributes, "feature": pooled, "moved": moved}
    said |= {"anchors": drawn[anchors]}
    few = {k: v[:24].contiguous() if len(v) > 24 else v.contiguous() for k, v in said.items()}
    few["boxes"] = said["boxes"].contiguous()
    save_file(few, GOLDEN, {"shapes": json.dumps(shapes)})
    print({k: (list(v.shape), float(v.abs().max())) for k, v in few.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
