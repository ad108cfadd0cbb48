"""Makes golden/flamingo.safetensors: what OpenFlamingo's own code says of weights by formula.

    python -m scripts.golden_flamingo CHECKOUT    # of github.com/mlfoundations/open_flamingo

Wants einops, einops_exts and transformers, whose MPT, GPT-NeoX and LLaMA stand under it at reduced
width. Its image tower is left out: pictures are states by formula, as a tower would give them. The
file holds the logits of every word of texts with no, one, two and three pictures, gates that are
not zero, and the names and shapes of the trained tensors and of the language model's own.
"""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.drawn import state, uniform

GOLDEN = Path(__file__).parents[1] / "golden" / "flamingo.safetensors"
MARK, WIDTH, PATCHES = 94, 24, 5
TEXTS = [[3, MARK, 5, 9, MARK, 2], [4, 8, 1, 6], [MARK, MARK, 6, MARK, 11], [5, 6, 7, MARK]]
MPT = dict(d_model=32, n_heads=4, n_layers=2, vocab_size=96, max_seq_len=64)
NEOX = dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=4, intermediate_size=64)
NEOX |= dict(vocab_size=96, max_position_embeddings=64, rotary_pct=1.0)
NEOX |= dict(use_parallel_residual=False)
LLAMA = dict(hidden_size=32, num_attention_heads=4, num_hidden_layers=2, intermediate_size=48)
LLAMA |= dict(vocab_size=96, max_position_embeddings=64, num_key_value_heads=2)
EVERY = {"mpt": 1, "gpt_neox": 2, "llama": 2}
LAYERS = {"mpt": "transformer.blocks", "gpt_neox": "gpt_neox.layers", "llama": "model.layers"}


def language(kind: str) -> Any:
    """A language model of transformers, at reduced width."""
    if kind == "mpt":
        return transformers.MptForCausalLM(transformers.MptConfig(**MPT))
    if kind == "gpt_neox":
        return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**NEOX))
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))


class Given(nn.Module):
    """In the tower's place: the states themselves, put in as pictures of one row."""

    def forward(self, image: Tensor) -> tuple[None, Tensor]:
        return None, image[:, 0]


def main(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    sys.modules["open_clip"] = ModuleType("open_clip")  # of its tower, which is left out
    from open_flamingo.src.flamingo import Flamingo
    from open_flamingo.src.flamingo_lm import FlamingoLMMixin
    from open_flamingo.src.utils import extend_instance

    out: dict[str, Tensor] = {}
    shapes = {}
    for kind, every in EVERY.items():
        lm = language(kind)
        lm.config._attn_implementation = "eager"
        extend_instance(lm, FlamingoLMMixin)
        lm.set_decoder_layers_attr_name(LAYERS[kind])
        clip = SimpleNamespace(visual=Given())
        net: Any = Flamingo(clip, lm, MARK - 1, MARK, WIDTH, cross_attn_every_n_layers=every)
        copies = ("lang_encoder.old_decoder_blocks.", "lang_encoder.gated_cross_attn_layers.")
        keep = dict(net.named_parameters(remove_duplicate=False))
        keep = {k: p for k, p in keep.items() if not k.startswith(copies) and "lm_head" not in k}
        if kind == "llama":
            keep["lang_encoder.lm_head.weight"] = net.lang_encoder.lm_head.weight
        if kind == "gpt_neox":  # as published; transformers 5 calls it otherwise while it runs
            keep["lang_encoder.embed_out.weight"] = net.lang_encoder.lm_head.weight
        names = {key: list(p.shape) for key, p in keep.items()}
        with torch.no_grad():
            for key, tensor in state(names).items():
                keep[key].copy_(tensor)
            out[kind] = said(net.eval())
        shapes[kind] = names
    save_file(out, GOLDEN, {"shapes": json.dumps(shapes)})


def said(net: Any) -> Tensor:
    """The logits of all words of all texts, text by text."""
    states, used, out = uniform("flamingo", (6, PATCHES, WIDTH)), 0, []
    for text in TEXTS:
        count = text.count(MARK)
        seen = states[used : used + count] if count else states[:1]  # a text alone needs one
        used += count
        image = seen[None, :, None, None]  # b T F c y x
        ids = torch.tensor([text])
        out.append(net(image, ids, attention_mask=torch.ones_like(ids)).logits[0])
    return torch.cat(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
