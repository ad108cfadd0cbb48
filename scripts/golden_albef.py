"""Makes golden/albef.safetensors: what ALBEF's own code says of weights by formula.

    python -m scripts.golden_albef CHECKOUT    # of github.com/salesforce/ALBEF

The weights come from tests/models/drawn.py, under the original's names; texts, pictures and answers
from tests/models/asked.py. The original's sizes are written into its code; here its parts are made
smaller, in depth too but for the model of two pictures. Its BERT was written for transformers 4.8:
the few helpers it takes from there, and timm's and torchvision's, are stood in for. The file holds
the states of real tokens, the answers of every head, and fingerprints of names and shapes.
"""

import importlib
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
import transformers
import transformers.modeling_outputs
import transformers.models.bert.configuration_bert  # before modules are stood in for
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.asked import (
    ANSWERS,
    EMBED,
    GIVEN,
    HEADS,
    HIDDEN,
    LENGTH,
    PATCH,
    PIXELS,
    QUEUE,
    ROWS,
    SEEN,
    SEEN_HEADS,
    SEEN_LAYERS,
    VOCAB,
    WIDTH,
    pictures,
)
from tests.models.drawn import names_and_shapes, state
from tests.models.shaped import LENGTHS, filled, words

GOLDEN = Path(__file__).parents[1] / "golden" / "albef.safetensors"
CONFIG = dict(
    image_res=PIXELS,
    vision_width=SEEN,
    embed_dim=EMBED,
    mlm_probability=0.15,
    bert_config="",
    temp=0.07,
    queue_size=QUEUE,
    momentum=0.995,
    distill=True,
)
FILES = {
    "pretraining": "model_pretrain",
    "retrieval": "model_retrieval",
    "vqa": "model_vqa",
    "nlvr": "model_nlvr",
    "ta": "model_pretrain_nlvr",
    "entail": "model_ve",
}


def main(checkout: Path) -> None:
    stand_in(checkout)
    out: dict[str, Tensor] = {}
    prints: dict[str, str] = {}
    for name, file in FILES.items():
        net = small(name, file)
        names = {key: list(t.shape) for key, t in net.state_dict().items()}
        prints[name] = names_and_shapes(names)
        net.load_state_dict(tied(state(names), names), strict=False)
        with torch.no_grad():
            out |= said(net.eval(), name)
    save_file({k: v.contiguous() for k, v in out.items()}, GOLDEN, prints)


def tied(drawn: dict[str, Tensor], names: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that the original ties, tied; buffers that count left out."""
    for key in names:
        start = key.removesuffix(".cls.predictions.decoder.weight")
        if start != key:
            drawn[key] = drawn[f"{start}.bert.embeddings.word_embeddings.weight"]
            drawn[key.replace("weight", "bias")] = drawn[f"{start}.cls.predictions.bias"]
        head, _, number = key.partition("encoder.layer.")
        number, _, rest = number.partition(".")
        part = rest.startswith(("crossattention.self.key", "crossattention.self.value"))
        if part and int(number) % 2 and f"{head}encoder.layer.17.{rest}" in names:
            drawn[f"{head}encoder.layer.{int(number) - 1}.{rest}"] = drawn[key]
    kept = {k: v for k, v in drawn.items() if "position_ids" not in k}
    return {k: v for k, v in kept.items() if k not in ("queue_ptr", "idx_queue")}


def said(net: Any, name: str) -> dict[str, Tensor]:
    """States and answers of one model."""
    ids, mask = filled(words())
    seen = net.visual_encoder(pictures("left"))
    there = torch.ones(seen.shape[:2], dtype=torch.long)
    given = dict(attention_mask=mask, return_dict=True)
    look = dict(encoder_hidden_states=seen, encoder_attention_mask=there)
    if name in ("pretraining", "retrieval"):
        bert = net.text_encoder.bert if name == "pretraining" else net.text_encoder
        own = bert(ids, mode="text", output_hidden_states=True, **given)
        fused = bert(
            encoder_embeds=own.last_hidden_state,
            mode="fusion",
            output_hidden_states=True,
            **given,
            **look,
        )
        first = own.last_hidden_state[:, 0]
        out = {
            "itm": net.itm_head(fused.last_hidden_state[:, 0]),
            "embed_image": nn.functional.normalize(net.vision_proj(seen[:, 0]), dim=-1),
            "embed_text": nn.functional.normalize(net.text_proj(first), dim=-1),
            "seen": seen,
        }
        if name == "retrieval":
            return {f"retrieval.{key}": x for key, x in out.items()}
        states = [*own.hidden_states[1:], *fused.hidden_states[1:]]
        out |= {f"state.{i}": real(x) for i, x in enumerate(states)}
        whole = net.text_encoder(ids, **given, **look)
        copy = net.text_encoder_m(ids, **given, **look | {"encoder_hidden_states": copied(net)})
        return out | {"mlm": real(whole.logits), "copy.mlm": real(copy.logits)}
    if name == "vqa":
        return answered(net, net.text_encoder(ids, **given, **look).last_hidden_state, mask)
    if name == "entail":
        text = types.SimpleNamespace(input_ids=ids, attention_mask=mask)
        return {"entail": net(pictures("left"), text, torch.zeros(4).long(), train=False)}
    other = net.visual_encoder(pictures("right"))
    look = dict(encoder_hidden_states=[seen, other], encoder_attention_mask=[there, there])
    fused = net.text_encoder(ids, **given, **look).last_hidden_state[:, 0]
    return {name: (net.cls_head if name == "nlvr" else net.ta_head)(fused)}


def copied(net: Any) -> Tensor:
    """What the momentum copy sees."""
    return net.visual_encoder_m(pictures("left"))


def answered(net: Any, question: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Losses of given answers, and the ranking of all of them."""
    ids, told = filled([ANSWERS[i] for i in GIVEN])
    rows = torch.tensor(ROWS)
    losses = net.text_decoder(
        ids,
        attention_mask=told,
        encoder_hidden_states=question[rows],
        encoder_attention_mask=mask[rows],
        labels=ids.masked_fill(told == 0, -100),
        return_dict=True,
        reduction="none",
    ).loss
    best, shares = net.rank_answer(question, mask, *filled(ANSWERS), 3)
    return {"vqa": -losses, "best": best, "shares": shares}


def real(x: Tensor) -> Tensor:
    """The states of real tokens, text after text."""
    return torch.cat([row[:n] for row, n in zip(x, LENGTHS, strict=True)])


def small(name: str, file: str) -> nn.Module:
    """One of their models, made of small parts."""
    module = importlib.import_module(f"models.{file}")
    trunk = importlib.import_module("models.vit").VisionTransformer
    size = dict(patch_size=PATCH, embed_dim=SEEN, depth=SEEN_LAYERS, num_heads=SEEN_HEADS)

    def smaller(img_size: int, norm_layer: Any, **unused: Any) -> nn.Module:
        return trunk(img_size=img_size, mlp_ratio=2, qkv_bias=True, norm_layer=norm_layer, **size)

    deep = name in ("nlvr", "ta")
    vars(module).update(VisionTransformer=smaller, BertConfig=MagicMock())
    widths = iter((SEEN, WIDTH))  # the second is that of VQA's decoder, which reads words
    module.BertConfig.from_json_file = lambda path: config(6 if deep else 2, next(widths))
    more = {"init_deit": False} if name == "pretraining" else {}
    if name == "vqa":
        more["text_decoder"] = "none"
    tokenizer = types.SimpleNamespace(pad_token_id=0, cls_token_id=7)
    return module.ALBEF(text_encoder="none", tokenizer=tokenizer, config=CONFIG, **more)


def config(fusion: int, memory: int) -> types.SimpleNamespace:
    """BERT's configuration; depth is written into the models of two pictures."""
    return types.SimpleNamespace(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=4,
        num_attention_heads=HEADS,
        intermediate_size=HIDDEN,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        max_position_embeddings=LENGTH,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        pad_token_id=0,
        fusion_layer=fusion,
        encoder_width=memory,
        chunk_size_feed_forward=0,
        is_decoder=False,
        add_cross_attention=False,
        output_attentions=False,
        output_hidden_states=False,
        use_return_dict=True,
        use_cache=False,
        position_embedding_type="absolute",
        gradient_checkpointing=False,
    )


class Base(nn.Module):
    """What their BERT takes from transformers 4.8's base class."""

    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, config: Any):
        super().__init__()
        self.config = config

    @classmethod
    def from_pretrained(cls, name: str, config: Any, **more: Any) -> nn.Module:
        return cls(config, **more)

    def init_weights(self) -> None: ...

    def get_head_mask(self, mask: None, layers: int) -> list[None]:
        return [None] * layers

    def invert_attention_mask(self, mask: Tensor) -> Tensor:
        return (1.0 - mask[:, None, None, :].float()) * -10000.0


def stand_in(checkout: Path) -> None:
    """Puts what is missing in its place, and the checkout on the path."""

    def passed(*a: Any, **k: Any):
        return lambda f: f

    docs = types.ModuleType("transformers.file_utils")
    names = ("add_code_sample_docstrings", "add_start_docstrings", "replace_return_docstrings")
    vars(docs).update(dict.fromkeys((*names, "add_start_docstrings_to_model_forward"), passed))
    vars(docs)["ModelOutput"] = transformers.utils.ModelOutput
    helpers = types.ModuleType("transformers.modeling_utils")
    vars(helpers).update(
        PreTrainedModel=Base,
        apply_chunking_to_forward=lambda f, size, dim, *x: f(*x),
        find_pruneable_heads_and_indices=None,
        prune_linear_layer=None,
    )
    layers = types.ModuleType("timm.models.layers")
    vars(layers).update(DropPath=nn.Identity, trunc_normal_=nn.init.trunc_normal_)
    trunk = types.ModuleType("timm.models.vision_transformer")
    vars(trunk).update(_cfg=None, PatchEmbed=Patches)
    stubs = {"transformers.file_utils": docs, "transformers.modeling_utils": helpers}
    stubs |= {"timm.models.layers": layers, "timm.models.vision_transformer": trunk}
    stubs |= {one: MagicMock() for one in ("timm", "timm.models", "timm.models.registry")}
    sys.modules.update(stubs)
    sys.path.insert(0, str(checkout))


class Patches(nn.Module):
    """timm's patch embedding."""

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int):
        super().__init__()
        self.num_patches = (img_size // patch_size) ** 2
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


if __name__ == "__main__":
    torch.manual_seed(0)
    main(Path(sys.argv[1]))
