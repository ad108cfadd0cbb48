"""Makes golden/clip-*.safetensors: what the original CLIP code says of weights drawn by formula.

    python -m scripts.golden_clip CHECKOUT      # of github.com/openai/CLIP (MIT)

Only clip/model.py is loaded. The files hold inputs that no formula gives (token ids), states along
the way, outputs, and in their metadata the shapes of the original state dict; the weights
themselves come from tests/models/drawn.py. golden/clip-sizes.json tells how the state dicts of the
nine published sizes are named and shaped.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.drawn import names_and_shapes, state, uniform

GOLDEN = Path(__file__).parents[1] / "golden"
EMBED, PIXELS, LENGTH, VOCAB, WIDTH, HEADS, LAYERS = 16, 64, 20, 512, 128, 2, 2
CASES = {"clip-vit": (LAYERS, 128, 16), "clip-resnet": ((1, 2, 1, 1), 16, None)}
SIZES = {  # embed, pixels, layers, width, patch, text width and heads, as the paper's tables say
    "RN50": (1024, 224, (3, 4, 6, 3), 64, None, 512, 8),
    "RN101": (512, 224, (3, 4, 23, 3), 64, None, 512, 8),
    "RN50x4": (640, 288, (4, 6, 10, 6), 80, None, 640, 10),
    "RN50x16": (768, 384, (6, 8, 18, 8), 96, None, 768, 12),
    "RN50x64": (1024, 448, (3, 15, 36, 10), 128, None, 1024, 16),
    "ViT-B/32": (512, 224, 12, 768, 32, 512, 8),
    "ViT-B/16": (512, 224, 12, 768, 16, 512, 8),
    "ViT-L/14": (768, 224, 24, 1024, 14, 768, 12),
    "ViT-L/14@336": (768, 336, 24, 1024, 14, 768, 12),
}
TEXTS = ([510, 5, 77, 300, 511], [510, 9, 511], [510, *range(100, 118), 511])


def main(checkout: Path) -> None:
    model = original(checkout / "clip" / "model.py")
    for name, (layers, width, patch) in CASES.items():
        torch.manual_seed(0)
        net = model.CLIP(
            EMBED, PIXELS, layers, width, patch, LENGTH, VOCAB, WIDTH, HEADS, LAYERS
        ).eval()
        shapes = {key: list(t.shape) for key, t in net.state_dict().items()}
        net.load_state_dict(state(shapes))
        tensors = answers(net)
        about = {"shapes": json.dumps(shapes), "made by": "scripts/golden_clip.py"}
        save_file(tensors, GOLDEN / f"{name}.safetensors", about)
    found = {}
    with torch.device("meta"):
        for size, (embed, pixels, layers, width, patch, words, heads) in SIZES.items():
            net = model.CLIP(
                embed, pixels, layers, width, patch, 77, 49408, words, heads, transformer_layers=12
            )
            shapes = {key: list(t.shape) for key, t in net.state_dict().items()}
            found[size] = {
                "tensors": len(shapes),
                "parameters": sum(p.numel() for p in net.parameters()),
                "sha256 of names and shapes": names_and_shapes(shapes),
            }
    (GOLDEN / "clip-sizes.json").write_text(json.dumps(found, indent=1) + "\n")


def original(path: Path):
    """The module at `path`, without its package (whose __init__ needs torchvision)."""
    spec = importlib.util.spec_from_file_location("original_clip_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@torch.no_grad()
def answers(net: nn.Module) -> dict[str, Tensor]:
    """Every state of both towers, batch first, then vectors and logits."""
    found: dict[str, Tensor] = {}

    def watch(module: nn.Module, name: str, batch_first: bool = True, before: bool = False) -> None:
        def keep(_, args, out) -> None:
            x = args[0] if before else out
            found[name] = (x if batch_first else x.transpose(0, 1)).contiguous()

        module.register_forward_hook(keep)

    visual = net.visual
    if "ln_pre" in dict(visual.named_children()):
        watch(visual.ln_pre, "image.0")
        for i, block in enumerate(visual.transformer.resblocks):
            watch(block, f"image.{i + 1}", batch_first=False)
        watch(visual.ln_post, "image.pooled")
    else:
        watch(visual.layer1, "image.0", before=True)
        for i in range(1, 5):
            watch(visual.get_submodule(f"layer{i}"), f"image.{i}")
    watch(net.transformer.resblocks[0], "text.0", batch_first=False, before=True)
    for i, block in enumerate(net.transformer.resblocks):
        watch(block, f"text.{i + 1}", batch_first=False)
    watch(net.ln_final, "text.normed")
    ids = torch.zeros(len(TEXTS), LENGTH, dtype=torch.int64)
    for row, text in zip(ids, TEXTS, strict=True):
        row[: len(text)] = torch.tensor(text)
    image = uniform("picture", (2, 3, PIXELS, PIXELS))
    found["ids"] = ids
    found["image"] = net.encode_image(image)
    found["text"] = net.encode_text(ids)
    found["logits"] = net(image, ids)[0]
    return {name: tensor.clone() for name, tensor in found.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
