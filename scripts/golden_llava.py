"""Makes golden/llava.safetensors: what LLaVA's own code says of weights by formula.

    python -m scripts.golden_llava CHECKOUT    # of github.com/haotian-liu/LLaVA

Wants transformers 4.37.2, which that code was written for. The weights come from
tests/models/drawn.py under the original's names; texts have no picture, one, or two (-200 stands
for one). The file holds the logits of every token, and the names and shapes of both nets.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models.drawn import state, uniform

GOLDEN = Path(__file__).parents[1] / "golden" / "llava.safetensors"
TEXTS = [[3, 7, -200, 5, 9, 2], [4, 8, 1], [-200, 6, -200, 11, 12], [5, 6, 7, 8, -200]]
SIGHT: dict[str, Any] = dict(
    hidden_size=64, intermediate_size=256, num_hidden_layers=3, num_attention_heads=1
)
SIGHT |= dict(image_size=28, patch_size=14, projection_dim=16)
WORDS: dict[str, Any] = dict(
    vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2
)
WORDS |= dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    from llava.model.language_model.llava_llama import (  # type: ignore[import-not-found]
        LlavaConfig,
        LlavaLlamaForCausalLM,
    )
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    out: dict[str, Tensor] = {}
    shapes = {}
    with tempfile.TemporaryDirectory() as folder:
        CLIPVisionModel(CLIPVisionConfig(**SIGHT)).save_pretrained(folder)
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=28).save_pretrained(folder)
        for kind in ("linear", "mlp2x_gelu"):
            config = LlavaConfig(**WORDS)
            config.mm_vision_tower, config.mm_hidden_size = folder, SIGHT["hidden_size"]
            config.mm_projector_type, config.mm_vision_select_layer = kind, -2
            config._attn_implementation = "eager"
            net = LlavaLlamaForCausalLM(config)
            net.get_vision_tower().load_model()
            names = {key: list(t.shape) for key, t in net.named_parameters()}
            with torch.no_grad():
                for key, tensor in state(names).items():
                    net.get_parameter(key).copy_(tensor)
                out[kind] = said(net.eval())
            shapes[kind] = names
    save_file(out, GOLDEN, {"shapes": json.dumps(shapes)})


def said(net: Any) -> Tensor:
    """The logits of all tokens of all texts, those of pictures among them."""
    pictures, used, out = uniform("llava", (4, 3, 28, 28)), 0, []
    for text in TEXTS:
        count = text.count(-200)
        seen = pictures[used : used + count] if count else pictures[:1]  # a text alone needs one
        used += count
        out.append(net(input_ids=torch.tensor([text]), images=seen).logits[0])
    return torch.cat(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
