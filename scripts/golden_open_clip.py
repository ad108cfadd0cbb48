"""Makes golden/open-clip-*.safetensors: what open_clip's own classes say with the exact GELU.

    python -m scripts.golden_open_clip CHECKOUT    # of github.com/mlfoundations/open_clip

The weights are those of golden/clip-*.safetensors, under the same names; open_clip's model module
is loaded without its package, whose __init__ needs torchvision.
"""

import importlib
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from tests.models.drawn import state, uniform

GOLDEN = Path(__file__).parents[1] / "golden"
TOWERS = {
    "vit": dict(layers=2, width=128, patch_size=16, image_size=64),
    "resnet": dict(layers=[1, 2, 1, 1], width=16, image_size=64),
}


@torch.no_grad()
def main(checkout: Path) -> None:
    model = original(checkout / "src" / "open_clip")
    for name, vision in TOWERS.items():
        with safe_open(GOLDEN / f"clip-{name}.safetensors", "pt") as file:
            shapes, ids = json.loads(file.metadata()["shapes"]), file.get_tensor("ids")
        text = model.CLIPTextCfg(context_length=20, vocab_size=512, width=128, heads=2, layers=2)
        given = (16, model.CLIPVisionCfg(**vision), text)
        net = model.CLIP(*given, quick_gelu=False).eval()
        net.load_state_dict(state(shapes))
        image = uniform("picture", (2, 3, 64, 64))
        found = {"image": net.encode_image(image), "text": net.encode_text(ids)}
        found["logits"] = logits(net, image, ids)
        named = model.CustomTextCLIP(*given, quick_gelu=False).state_dict()
        about = {"custom text names": json.dumps({k: list(t.shape) for k, t in named.items()})}
        tensors = {key: t.clone().contiguous() for key, t in found.items()}
        save_file(tensors, GOLDEN / f"open-clip-{name}.safetensors", about)


def logits(net: nn.Module, image: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    one = net.encode_image(image, normalize=True)
    other = net.encode_text(ids, normalize=True)
    return net.logit_scale.exp() * one @ other.T


def original(root: Path) -> ModuleType:
    """open_clip.model alone, with a stand-in for the one class of torchvision that it names."""
    misc = ModuleType("torchvision.ops.misc")
    misc.FrozenBatchNorm2d = type("FrozenBatchNorm2d", (nn.Module,), {})  # type: ignore[attr-defined]
    stand_ins = {"torchvision": ModuleType("torchvision"), "torchvision.ops.misc": misc}
    stand_ins["torchvision.ops"] = ModuleType("torchvision.ops")
    for name, module in stand_ins.items():
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
    package = sys.modules["open_clip"] = ModuleType("open_clip")
    package.__path__ = [str(root)]
    return importlib.import_module("open_clip.model")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
