"""Makes golden/vit-*.safetensors: what timm's ViT says of weights drawn by formula.

    python -m scripts.golden_vit CHECKOUT    # of github.com/huggingface/pytorch-image-models

`vit-timm` has weights under timm's names and the exact GELU. `vit-flax` has them under the names of
Google's archives; they are written as an .npz and read by timm's own reader of such archives, and
the net computes the tanh GELU that the flax original does. The files hold states along the way and
outputs, and in their metadata names and shapes; the weights come from tests/models/drawn.py.
"""

import importlib
import json
import sys
import tempfile
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.drawn import state, uniform

GOLDEN = Path(__file__).parents[1] / "golden"
PIXELS, PATCH, WIDTH, LAYERS, HEADS, HIDDEN, CLASSES = 32, 8, 64, 2, 2, 128, 5


def main(checkout: Path) -> None:
    timm = original(checkout / "timm")
    make = partial(
        timm.VisionTransformer,
        img_size=PIXELS,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=LAYERS,
        num_heads=HEADS,
        mlp_ratio=HIDDEN / WIDTH,
        num_classes=CLASSES,
    )
    net = make().eval()
    shapes = {key: list(t.shape) for key, t in net.state_dict().items()}
    net.load_state_dict(state(shapes))
    write("vit-timm", net, shapes)

    net = make(act_layer=partial(nn.GELU, approximate="tanh")).eval()
    arrays = {key: t.numpy() for key, t in state(flax_shapes()).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vit.npz"
        np.savez(path, **arrays)
        timm._load_weights(net, str(path))
        write("vit-flax", net, flax_shapes())
        first = {key: t.clone() for key, t in net.state_dict().items()}
        renamed = {big_vision(key): array for key, array in arrays.items()}
        np.savez(path, **renamed)
        timm._load_weights(net, str(path))
        assert all(torch.equal(t, first[key]) for key, t in net.state_dict().items())


def flax_shapes() -> dict[str, list[int]]:
    """Names and shapes in Google's archives (vit_jax/models_vit.py), for the sizes above."""
    d, h, w = WIDTH, HEADS, WIDTH // HEADS
    rows = (PIXELS // PATCH) ** 2 + 1
    found = {
        "cls": [1, 1, d],
        "embedding/kernel": [PATCH, PATCH, 3, d],
        "embedding/bias": [d],
        "Transformer/posembed_input/pos_embedding": [1, rows, d],
        "Transformer/encoder_norm/scale": [d],
        "Transformer/encoder_norm/bias": [d],
        "head/kernel": [d, CLASSES],
        "head/bias": [CLASSES],
    }
    for i in range(LAYERS):
        block = f"Transformer/encoderblock_{i}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            found |= {f"{block}/{norm}/scale": [d], f"{block}/{norm}/bias": [d]}
        for name in ("query", "key", "value"):
            at = f"{block}/MultiHeadDotProductAttention_1/{name}"
            found |= {f"{at}/kernel": [d, h, w], f"{at}/bias": [h, w]}
        at = f"{block}/MultiHeadDotProductAttention_1/out"
        found |= {f"{at}/kernel": [h, w, d], f"{at}/bias": [d]}
        for k, (a, b) in enumerate(((d, HIDDEN), (HIDDEN, d))):
            at = f"{block}/MlpBlock_3/Dense_{k}"
            found |= {f"{at}/kernel": [a, b], f"{at}/bias": [b]}
    return found


def big_vision(name: str) -> str:
    """The same in big_vision's names, as its training states hold them."""
    pairs = (("Attention_1", "Attention_0"), ("MlpBlock_3", "MlpBlock_0"))
    pairs += (("LayerNorm_2", "LayerNorm_1"), ("Transformer/posembed_input/", ""))
    for old, new in pairs:
        name = name.replace(old, new)
    return f"params/{name}"


@torch.no_grad()
def write(name: str, net: nn.Module, shapes: dict[str, list[int]]) -> None:
    found: dict[str, Tensor] = {}
    hooks = []
    for i, block in enumerate(net.blocks):

        def keep(_, args, out, i=i) -> None:
            found[f"state.{i}"] = args[0]
            found[f"state.{i + 1}"] = out

        hooks.append(block.register_forward_hook(keep))
    image = uniform("picture", (2, 3, PIXELS, PIXELS))
    found["features"] = net.forward_head(net.forward_features(image), pre_logits=True)
    found["logits"] = net(image)
    for hook in hooks:
        hook.remove()
    about = {"shapes": json.dumps(shapes), "made by": "scripts/golden_vit.py"}
    tensors = {key: t.clone().contiguous() for key, t in found.items()}
    save_file(tensors, GOLDEN / f"{name}.safetensors", about)


def original(root: Path) -> ModuleType:
    """timm.models.vision_transformer alone: its packages' __init__ files need torchvision."""
    misc = ModuleType("torchvision.ops.misc")
    misc.FrozenBatchNorm2d = type("FrozenBatchNorm2d", (nn.Module,), {})  # type: ignore[attr-defined]
    stand_ins = {"torchvision": ModuleType("torchvision"), "torchvision.ops.misc": misc}
    stand_ins["torchvision.ops"] = ModuleType("torchvision.ops")
    for name, module in stand_ins.items():
        module.__spec__ = ModuleSpec(name, None)
        sys.modules[name] = module
    for name in ("timm", "timm.models", "timm.data", "timm.utils"):
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = [str(root / name.removeprefix("timm").strip(".").replace(".", "/"))]
    sys.modules["timm"].__version__ = "0"  # type: ignore[attr-defined]
    constants = importlib.import_module("timm.data.constants")
    vars(sys.modules["timm.data"]).update({k: v for k, v in vars(constants).items() if k.isupper()})
    return importlib.import_module("timm.models.vision_transformer")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
