"""Makes golden/vilt.safetensors: what ViLT's own code says of weights by formula.

    python -m scripts.golden_vilt CHECKOUT    # of github.com/dandelin/ViLT

The weights come from tests/models/drawn.py, under the original's names; words and pictures from
tests/models/shaped.py, filled up as the original wants them. Lightning, timm's helpers and the
transforms are stood in for by empty ones: the model uses nothing of them. The file holds the states
of real tokens alone, patches row by row, and the answers of every head.
"""

import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.bert import modeling_bert  # before torchvision is stood in for

from tests.models.drawn import state
from tests.models.shaped import LENGTHS, PATCH, SIDES, SIZE, filled, pixels, words

GOLDEN = Path(__file__).parents[1] / "golden" / "vilt.safetensors"
ANSWERS = 5
TASKS = {
    "pretraining": {"mlm": 1, "itm": 1},
    "vqa": {"vqa": 1},
    "nlvr": {"nlvr2": 1},
    "rank": {"itm": 0.5, "irtr": 1},
}


def main(checkout: Path) -> None:
    build = original(checkout)
    out: dict[str, Tensor] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for name, losses in TASKS.items():
        net = build(losses).eval()
        names = {key: list(t.shape) for key, t in net.state_dict().items()}
        drawn = {k: v for k, v in state(names).items() if "position_ids" not in k}
        net.load_state_dict(drawn, strict=True)
        shapes[name] = {key: names[key] for key in drawn}
        with torch.no_grad():
            out |= said(net, name)
    save_file({k: v.contiguous() for k, v in out.items()}, GOLDEN, {"shapes": json.dumps(shapes)})


def said(net: Any, name: str) -> dict[str, Tensor]:
    """States and answers of a net with one task's heads."""
    ids, mask = filled(words())
    batch = {"text_ids": ids, "text_labels": ids, "text_masks": mask}
    if name == "nlvr":
        left, right = pixels("left"), pixels("right")
        first = net.infer(batch | {"image_0": [left]}, image_token_type_idx=1)
        second = net.infer(batch | {"image_1": [right]}, image_token_type_idx=2)
        both = torch.cat([first["cls_feats"], second["cls_feats"]], dim=1)
        return {"nlvr": net.nlvr2_classifier(both)}
    seen: list[Tensor] = []
    hooks = [
        b.register_forward_hook(lambda m, i, o: seen.append(o[0])) for b in net.transformer.blocks
    ]
    found = net.infer(batch | {"image": [pixels("left")]})
    for hook in hooks:
        hook.remove()
    pooled = found["cls_feats"]
    if name != "pretraining":
        return {name: (net.vqa_classifier if name == "vqa" else net.rank_output)(pooled)}
    order = raster(found["patch_index"][0], found["image_masks"])
    last = torch.cat([found["text_feats"], found["image_feats"]], dim=1)
    out = {f"state.{i}": real(x, order) for i, x in enumerate([*seen, last])}
    return out | {
        "pooled": pooled,
        "itm": net.itm_score(pooled),
        "mlm": cut(net.mlm_score(found["text_feats"])),
    }


def cut(x: Tensor) -> Tensor:
    """What belongs to real words."""
    return torch.cat([row[:n] for row, n in zip(x, LENGTHS, strict=True)])


def raster(place: Tensor, mask: Tensor) -> list[Tensor]:
    """Where the class token and the patches of each picture stand, row by row."""
    out = []
    for (rows, columns), where, valid in zip(SIDES["left"], place, mask[:, 1:], strict=True):
        number = where[:, 0] * columns + where[:, 1]
        found = [int(((number == i) & (valid == 1)).nonzero()) for i in range(rows * columns)]
        out.append(torch.tensor([0, *(1 + i for i in found)]))
    return out


def real(x: Tensor, order: list[Tensor]) -> Tensor:
    """The states of words, class token and patches, sample after sample."""
    wide = max(LENGTHS)
    samples = zip(x, LENGTHS, order, strict=True)
    return torch.cat([torch.cat([one[:n], one[wide:][where]]) for one, n, where in samples])


def original(checkout: Path):
    """Their class, of our size, for a task's losses; its patches are of 4 pixels, not of 32."""

    class Module(nn.Module):
        def save_hyperparameters(self) -> None:
            self.hparams = types.SimpleNamespace(config=config)

    lightning = types.ModuleType("pytorch_lightning")
    vars(lightning).update(LightningModule=Module)
    timm = {name: MagicMock() for name in NAMES}
    vars(timm["timm.models.layers"]).update(
        DropPath=nn.Identity, to_2tuple=lambda x: (x, x), trunc_normal_=nn.init.trunc_normal_
    )
    timm["timm.models.registry"].register_model = lambda f: f
    others = {name: MagicMock() for name in ("torchvision", "torchvision.transforms")}
    stubs: dict[str, Any] = {"pytorch_lightning": lightning, **timm, **others}
    stubs |= {name: MagicMock() for name in ("vilt.modules.objectives", "vilt.modules.vilt_utils")}
    assert modeling_bert is not None
    sys.modules.update(stubs)
    sys.path.insert(0, str(checkout))
    from vilt.modules import vilt_module, vision_transformer  # type: ignore[import-not-found]

    def trunk(pretrained: bool, config: dict) -> nn.Module:
        return vision_transformer.VisionTransformer(
            img_size=SIZE["pixels"],
            patch_size=PATCH,
            embed_dim=SIZE["width"],
            depth=SIZE["layers"],
            num_heads=SIZE["heads"],
            mlp_ratio=SIZE["hidden"] / SIZE["width"],
            config=config,
        )

    vision_transformer.small = trunk
    config: dict = {}

    def build(losses: dict[str, float]) -> nn.Module:
        none = dict.fromkeys(("itm", "mlm", "mpp", "vqa", "nlvr2", "irtr"), 0)
        config.clear()
        config.update(
            vocab_size=SIZE["vocab"],
            hidden_size=SIZE["width"],
            num_layers=SIZE["layers"],
            num_heads=SIZE["heads"],
            mlp_ratio=4,
            max_text_len=SIZE["length"],
            drop_rate=0.1,
            max_image_len=-1,
            load_path="",
            test_only=False,
            vit="small",
            vqav2_label_size=ANSWERS,
            loss_names=none | losses,
        )
        return vilt_module.ViLTransformerSS(config)

    return build


NAMES = (
    "timm",
    "timm.data",
    "timm.models",
    "timm.models.helpers",
    "timm.models.layers",
    "timm.models.resnet",
    "timm.models.resnetv2",
    "timm.models.registry",
)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1]))
