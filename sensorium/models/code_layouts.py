"""GPTBigCode, StarCoder2 and CodeGen as Hugging Face publishes them, and back.

As in `decoder_layouts`, sizes are read from config.json beside the weights.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sensorium.models import codegen, gpt_bigcode, gptj, starcoder2
from sensorium.models.decoder_layouts import ACTS, CONFIG, THEIRS, Config, Family, of_family
from sensorium.models.decoder_rules import BLOCK, Rules, halves, tied
from sensorium.models.llama_layouts import rope_of
from sensorium.models.published import Shapes, must, number, only, whole
from sensorium.weights import ops
from sensorium.weights.errors import WeightsError
from sensorium.weights.ops import Op
from sensorium.weights.rules import KeyMap, drop, rename, rule

MADE_ON = 4  # machines that CodeGen's heads were shared out over when it was trained


def rows(order: Tensor, name: str) -> Op:
    """Rows in another order: row i of ours is row `order[i]` of theirs."""
    back = order.argsort()

    def along(index: Tensor):
        def step(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            for tensor in tensors:
                if tensor.shape[0] != len(index):
                    raise WeightsError(f"has {tensor.shape[0]} rows, the rule says {len(index)}")
            return tuple(tensor[index] for tensor in tensors)

        return step

    return Op(name, along(order), along(back), lambda n: n)


def by_head(heads: int, width: int) -> Op:
    """Queries, keys and values head by head, to all queries, all keys, all values."""
    order = torch.arange(heads * 3 * width).view(heads, 3, width).transpose(0, 1).flatten()
    return rows(order, f"by_head({heads}, {width})")


def by_machine(width: int) -> Op:
    """Queries, values and keys of one of four machines after the other, to q, k, v of all."""
    each = torch.arange(3 * width).view(MADE_ON, 3, width // MADE_ON)
    return rows(each[:, [0, 2, 1]].transpose(0, 1).flatten(), f"by_machine({width})")


# --- GPTBigCode ---------------------------------------------------------------------------------


def bigcode_map(size: gpt_bigcode.Size) -> KeyMap:
    """GPTBigCode; matrices are (out, in), unlike GPT-2's."""
    top, t = "transformer", "transformer.h.{i}"
    turn = [by_head(size.heads, size.width // size.heads)] if size.groups > 1 else []
    return KeyMap(
        [
            rename(f"{top}.wte.weight", "embed.word.weight"),
            rename(f"{top}.wpe.weight", "embed.pos"),
            rename(f"{top}.ln_f.*", "stack.norm.*"),
            rename(f"{t}.ln_1.*", f"{BLOCK}.attn.norm.*"),
            rename(f"{t}.ln_2.*", f"{BLOCK}.mlp.norm.*"),
            rule((f"{t}.attn.c_attn.*",), f"{BLOCK}.attn.f.qkv.*", *turn),
            rename(f"{t}.attn.c_proj.*", f"{BLOCK}.attn.f.out.*"),
            rename(f"{t}.mlp.c_fc.*", f"{BLOCK}.mlp.f.up.*"),
            rename(f"{t}.mlp.c_proj.*", f"{BLOCK}.mlp.f.down.*"),
            *tied("lm_head.weight"),
        ]
    )


def _bigcode(c: Config, shapes: Shapes) -> dict[str, Any]:
    width, heads = whole(c, "n_embd", 768, CONFIG), whole(c, "n_head", 12, CONFIG)
    fixed = dict(scale_attn_weights=True, add_cross_attention=False, tie_word_embeddings=True)
    only({key: c[key] for key in fixed if key in c}, fixed, CONFIG)
    if c.get("n_inner") not in (None, 4 * width):
        raise WeightsError(f"{CONFIG}: n_inner is {c['n_inner']}, not four times the width")
    groups = 1 if c.get("multi_query", True) else heads
    size = gpt_bigcode.Size(width, whole(c, "n_layer", 12, CONFIG), heads, groups)
    name = c.get("activation_function", "gelu_pytorch_tanh")
    if name not in ACTS:
        raise WeightsError(f"{CONFIG}: activation_function is {name!r}; known are {[*ACTS]}")
    args = dict(vocab=whole(c, "vocab_size", 50257, CONFIG), act=ACTS[name], size=size)
    args |= dict(length=whole(c, "n_positions", 1024, CONFIG))
    return args | dict(eps=number(c, "layer_norm_epsilon", 1e-5, CONFIG))


def _bigcode_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    must(s.groups in (1, s.heads), "hf-gpt-bigcode", "it has several heads of keys, not one each")
    out = {"n_embd": s.width, "n_layer": s.layers, "n_head": s.heads, "n_inner": 4 * s.width}
    out |= {"n_positions": a["length"], "vocab_size": a["vocab"], "multi_query": s.groups == 1}
    act = "gelu_pytorch_tanh" if a["act"] == "gelu_tanh" else THEIRS[a["act"]]
    return out | {"layer_norm_epsilon": a["eps"], "activation_function": act}


# --- StarCoder2 ---------------------------------------------------------------------------------


def starcoder2_map(size: starcoder2.Size, head: bool) -> KeyMap:
    """StarCoder2."""
    t, w = "model.layers.{i}", size.width // size.heads
    parts = (size.heads * w, size.groups * w, size.groups * w)
    qkv = tuple(f"{t}.self_attn.{x}_proj.*" for x in "qkv")
    own: Rules = [rename("lm_head.weight", "head.weight")] if head else tied("lm_head.weight")
    return KeyMap(
        [
            rename("model.embed_tokens.weight", "embed.word.weight"),
            rename("model.norm.*", "stack.norm.*"),
            rename(f"{t}.input_layernorm.*", f"{BLOCK}.attn.norm.*"),
            rename(f"{t}.post_attention_layernorm.*", f"{BLOCK}.mlp.norm.*"),
            rule(qkv, f"{BLOCK}.attn.f.qkv.*", ops.concat(3, sizes=parts)),
            rename(f"{t}.self_attn.o_proj.*", f"{BLOCK}.attn.f.out.*"),
            rename(f"{t}.mlp.c_fc.*", f"{BLOCK}.mlp.f.up.*"),
            rename(f"{t}.mlp.c_proj.*", f"{BLOCK}.mlp.f.down.*"),
            *own,
        ]
    )


def _starcoder2(c: Config, shapes: Shapes) -> dict[str, Any]:
    fixed = dict(use_bias=True, hidden_act="gelu_pytorch_tanh")
    only({key: c[key] for key in fixed if key in c}, fixed, CONFIG)
    heads, groups = (
        whole(c, f"num_{key}_heads", default, CONFIG)
        for key, default in (("attention", 24), ("key_value", 2))
    )
    theta, stretched = rope_of(c)
    if stretched is not None:
        raise WeightsError(f"{CONFIG}: positions are stretched, which StarCoder2's are not")
    size = starcoder2.Size(
        whole(c, "hidden_size", 3072, CONFIG),
        whole(c, "num_hidden_layers", 30, CONFIG),
        heads,
        groups,
        whole(c, "intermediate_size", 12288, CONFIG),
    )
    near = None if c.get("sliding_window") is None else whole(c, "sliding_window", 4096, CONFIG)
    args = dict(size=size, theta=theta, window=near, vocab=whole(c, "vocab_size", 49152, CONFIG))
    args |= dict(length=whole(c, "max_position_embeddings", 4096, CONFIG))
    tie = bool(c.get("tie_word_embeddings", True))
    return args | dict(tied=tie, eps=number(c, "norm_epsilon", 1e-5, CONFIG))


def _starcoder2_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    out = {"hidden_size": s.width, "num_hidden_layers": s.layers, "num_attention_heads": s.heads}
    out |= {"num_key_value_heads": s.groups, "intermediate_size": s.hidden, "use_bias": True}
    out |= {"vocab_size": a["vocab"], "max_position_embeddings": a["length"]}
    out |= {"rope_theta": a["theta"], "sliding_window": a["window"], "norm_epsilon": a["eps"]}
    return out | {"hidden_act": "gelu_pytorch_tanh", "tie_word_embeddings": a["tied"]}


# --- CodeGen ------------------------------------------------------------------------------------


def codegen_map(size: gptj.Size) -> KeyMap:
    """CodeGen, whose heads rotate neighbours and lie in four parts of queries, values and keys."""
    top, t = "transformer", "transformer.h.{i}"
    turn = halves((size.heads, size.heads, 0), size.turned)
    steps = (by_machine(size.width), ops.chunk(3), turn, ops.concat(3))
    return KeyMap(
        [
            rename(f"{top}.wte.weight", "embed.word.weight"),
            rename("lm_head.*", "head.*"),
            rename(f"{top}.ln_f.*", "stack.norm.*"),
            rename(f"{t}.ln_1.*", f"{BLOCK}.attn.norm.*"),
            rule((f"{t}.attn.qkv_proj.weight",), f"{BLOCK}.attn.f.qkv.weight", *steps),
            rename(f"{t}.attn.out_proj.weight", f"{BLOCK}.attn.f.out.weight"),
            rename(f"{t}.mlp.fc_in.*", f"{BLOCK}.attn.g.up.*"),
            rename(f"{t}.mlp.fc_out.*", f"{BLOCK}.attn.g.down.*"),
            *(drop(f"{t}.attn.{name}") for name in ("bias", "masked_bias", "causal_mask")),
        ]
    )


def _codegen(c: Config, shapes: Shapes) -> dict[str, Any]:
    width, heads = whole(c, "n_embd", 4096, CONFIG), whole(c, "n_head", 16, CONFIG)
    fixed = dict(activation_function="gelu_new", layer_norm_epsilon=1e-5, tie_word_embeddings=False)
    only({key: c[key] for key in fixed if key in c}, fixed, CONFIG)
    if c.get("n_inner") not in (None, 4 * width):
        raise WeightsError(f"{CONFIG}: n_inner is not four times the width")
    if heads % MADE_ON:
        raise WeightsError(f"{CONFIG}: {heads} heads are not shared out over four machines")
    turned = whole(c, "rotary_dim", 64, CONFIG)
    size = gptj.Size(width, whole(c, "n_layer", 28, CONFIG), heads, turned)
    length = whole(c, "n_positions", 2048, CONFIG)
    return dict(size=size, vocab=whole(c, "vocab_size", 50400, CONFIG), length=length)


def _codegen_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    must(s.heads % MADE_ON == 0, "hf-codegen", "its heads cannot be shared out over four machines")
    out = {"n_embd": s.width, "n_layer": s.layers, "n_head": s.heads, "rotary_dim": s.turned}
    out |= {"vocab_size": a["vocab"], "n_positions": a["length"], "n_ctx": a["length"]}
    return out | {"tie_word_embeddings": False, "activation_function": "gelu_new"}


FAMILIES = (
    Family(
        "hf-gpt-bigcode",
        "transformers' GPTBigCodeForCausalLM: StarCoder, SantaCoder (config.json beside it)",
        *("gpt_bigcode", "GPTBigCodeForCausalLM", gpt_bigcode.gpt_bigcode),
        *(_bigcode, _bigcode_config),
        lambda a: bigcode_map(a["size"]),
        (gpt_bigcode.TINY,),
    ),
    Family(
        "hf-starcoder2",
        "transformers' Starcoder2ForCausalLM (config.json beside it)",
        *("starcoder2", "Starcoder2ForCausalLM", starcoder2.starcoder2),
        *(_starcoder2, _starcoder2_config),
        lambda a: starcoder2_map(a["size"], not a.get("tied", True)),
        (starcoder2.TINY, starcoder2.TINY_OWN),
    ),
    Family(
        "hf-codegen",
        "transformers' CodeGenForCausalLM (config.json beside it)",
        *("codegen", "CodeGenForCausalLM", gptj.gptj, _codegen, _codegen_config),
        lambda a: codegen_map(a["size"]),
        (codegen.TINY,),
    ),
)
LAYOUTS = tuple(map(of_family, FAMILIES))
