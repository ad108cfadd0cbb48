"""GPT-2, OPT, MPT, GPT-Neo, GPT-J, T5 and BART as Hugging Face publishes them, and back.

The sizes are read from config.json, which must lie beside the weights: no tensor shows heads. What
it says beyond what our models do is refused.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sensorium.models import bart, gpt2, gpt_neo, gptj, mpt, opt, t5
from sensorium.models import decoder_maps as maps
from sensorium.models.declaration import Declaration
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    built,
    config_of,
    must,
    number,
    only,
    whole,
)
from sensorium.models.word_export import ended, told
from sensorium.models.word_files import hf_words, read_words
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

CONFIG = "config.json"
Config = Mapping[str, Any]
ACTS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
ACTS |= {"quick_gelu": "quick_gelu", "silu": "silu"}
THEIRS = {ours: theirs for theirs, ours in reversed(ACTS.items())}


class Family(NamedTuple):
    """A family in Hugging Face's words.

    Attributes:
        kind: its model_type; `head` its class.
        function: ours.
        args: a configuration and the shapes to the arguments of ours.
        config: the arguments, all of them, to a configuration.
        keymap: arguments to rules; `tiny` are declarations of every form that rules take.
    """

    name: str
    about: str
    kind: str
    head: str
    function: Callable[..., Any]
    args: Callable[[Config, Shapes], dict[str, Any]]
    config: Callable[[Mapping[str, Any]], dict[str, Any]]
    keymap: Callable[[Mapping[str, Any]], KeyMap]
    tiny: tuple[Declaration, ...]


def _int(config: Config, key: str, default: int) -> int:
    return whole(config, key, default, CONFIG)


def _act(config: Config, key: str, default: str) -> str:
    name = config.get(key, default)
    if name not in ACTS:
        raise WeightsError(f"{CONFIG}: {key} is {name!r}; known are {', '.join(ACTS)}")
    return ACTS[name]


def _fixed(config: Config, **known: Any) -> None:
    """Refuses other values than these of what changes the numbers."""
    only({key: config[key] for key in known if key in config}, known, CONFIG)


def _gpt2(c: Config, shapes: Shapes) -> dict[str, Any]:
    size = gpt2.Size(_int(c, "n_embd", 768), _int(c, "n_layer", 12), _int(c, "n_head", 12))
    _fixed(
        c, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False
    )
    if c.get("n_inner") not in (None, 4 * size.width):
        raise WeightsError(f"{CONFIG}: n_inner is {c['n_inner']}, not four times the width")
    eps = number(c, "layer_norm_epsilon", 1e-5, CONFIG)
    act = _act(c, "activation_function", "gelu_new")
    vocab, length = _int(c, "vocab_size", 50257), _int(c, "n_positions", 1024)
    return dict(size=size, vocab=vocab, length=length, act=act, eps=eps)


def _gpt2_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    out = {"n_embd": s.width, "n_layer": s.layers, "n_head": s.heads, "n_positions": a["length"]}
    out |= {"vocab_size": a["vocab"], "layer_norm_epsilon": a["eps"], "n_inner": None}
    return out | {"activation_function": THEIRS[a["act"]]}


def _opt(c: Config, shapes: Shapes) -> dict[str, Any]:
    width = _int(c, "hidden_size", 768)
    size = opt.Size(
        width,
        _int(c, "num_hidden_layers", 12),
        _int(c, "num_attention_heads", 12),
        _int(c, "ffn_dim", 3072),
        _int(c, "word_embed_proj_dim", width),
    )
    _fixed(c, enable_bias=True, layer_norm_elementwise_affine=True)
    before = c.get("do_layer_norm_before", True)
    if before and c.get("_remove_final_layer_norm", False):
        raise WeightsError(f"{CONFIG}: norms before the branches without one behind the stack")
    act = _act(c, "activation_function", "relu")
    vocab, length = _int(c, "vocab_size", 50272), _int(c, "max_position_embeddings", 2048)
    return dict(size=size, vocab=vocab, length=length, act=act, before=bool(before))


def _opt_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    out = {"hidden_size": s.width, "num_hidden_layers": s.layers, "num_attention_heads": s.heads}
    out |= {"ffn_dim": s.hidden, "word_embed_proj_dim": s.words, "vocab_size": a["vocab"]}
    out |= {"max_position_embeddings": a["length"], "do_layer_norm_before": a["before"]}
    return out | {"activation_function": THEIRS[a["act"]]}


def _mpt(c: Config, shapes: Shapes) -> dict[str, Any]:
    size = mpt.Size(_int(c, "d_model", 2048), _int(c, "n_layers", 24), _int(c, "n_heads", 16))
    _fixed(c, expansion_ratio=4, no_bias=True, embedding_fraction=1.0, logit_scale=None)
    attention = c.get("attn_config") or {}
    known = {"alibi": True, "qk_ln": False, "prefix_lm": False, "softmax_scale": None}
    known |= {"attn_uses_sequence_id": False, "attn_type": "multihead_attention"}
    only({k: attention[k] for k in known if k in attention}, known, f"{CONFIG}: attn_config")
    if number(c, "layer_norm_epsilon", 1e-5, CONFIG) != 1e-5:
        raise WeightsError(f"{CONFIG}: layer_norm_epsilon is not 1e-5")
    clip = attention.get("clip_qkv")
    most = number(attention, "alibi_bias_max", 8.0, CONFIG)
    vocab, length = _int(c, "vocab_size", 50368), _int(c, "max_seq_len", 2048)
    return dict(size=size, vocab=vocab, length=length, most=most, clip=clip, norms=False)


def _mpt_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    must(not a["norms"], "hf-mpt", "it normalises queries and keys")
    attention = {"alibi": True, "alibi_bias_max": int(a["most"]), "clip_qkv": a["clip"]}
    out = {"d_model": s.width, "n_layers": s.layers, "n_heads": s.heads, "attn_config": attention}
    out |= {"vocab_size": a["vocab"], "max_seq_len": a["length"], "expansion_ratio": 4}
    return out | {"no_bias": True, "layer_norm_epsilon": 1e-5}


def _gpt_neo(c: Config, shapes: Shapes) -> dict[str, Any]:
    width, layers = _int(c, "hidden_size", 2048), _int(c, "num_layers", 24)
    size = gpt_neo.Size(width, layers, _int(c, "num_heads", 16))
    _fixed(c, activation_function="gelu_new", layer_norm_epsilon=1e-5)
    kinds = c.get("attention_layers") or [
        kind
        for names, count in c.get("attention_types", [])
        for _ in range(count)
        for kind in names
    ]
    if list(kinds) != [("global", "local")[i % 2] for i in range(layers)]:
        raise WeightsError(f"{CONFIG}: attention_types {kinds} are not global and local in turn")
    if c.get("intermediate_size") not in (None, 4 * width):
        raise WeightsError(f"{CONFIG}: intermediate_size is not four times the width")
    vocab, length = _int(c, "vocab_size", 50257), _int(c, "max_position_embeddings", 2048)
    return dict(size=size, vocab=vocab, length=length, window=_int(c, "window_size", 256))


def _gpt_neo_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    pairs, odd = divmod(s.layers, 2)
    must(not odd, "hf-gpt-neo", "it has an odd number of layers")
    out = {"hidden_size": s.width, "num_layers": s.layers, "num_heads": s.heads}
    out |= {"attention_types": [[["global", "local"], pairs]], "window_size": a["window"]}
    out |= {"vocab_size": a["vocab"], "max_position_embeddings": a["length"]}
    return out | {"activation_function": "gelu_new"}


def _gptj(c: Config, shapes: Shapes) -> dict[str, Any]:
    heads, width = _int(c, "n_head", 16), _int(c, "n_embd", 4096)
    turned = _int(c, "rotary_dim", 64)
    _fixed(c, activation_function="gelu_new", layer_norm_epsilon=1e-5)
    if c.get("n_inner") not in (None, 4 * width):
        raise WeightsError(f"{CONFIG}: n_inner is not four times the width")
    size = gptj.Size(width, _int(c, "n_layer", 28), heads, turned)
    return dict(size=size, vocab=_int(c, "vocab_size", 50400), length=_int(c, "n_positions", 2048))


def _gptj_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    out = {"n_embd": s.width, "n_layer": s.layers, "n_head": s.heads, "rotary_dim": s.turned}
    return out | {
        "vocab_size": a["vocab"],
        "n_positions": a["length"],
        "tie_word_embeddings": False,
    }


def _t5(c: Config, shapes: Shapes) -> dict[str, Any]:
    layers = _int(c, "num_layers", 6)
    size = t5.Size(
        _int(c, "d_model", 512),
        layers,
        _int(c, "num_heads", 8),
        _int(c, "d_kv", 64),
        _int(c, "d_ff", 2048),
    )
    _fixed(c, relative_attention_num_buckets=32, relative_attention_max_distance=128)
    if c.get("num_decoder_layers") not in (None, layers):
        raise WeightsError(f"{CONFIG}: num_decoder_layers is not num_layers")
    ff = c.get("feed_forward_proj", "relu")
    if ff not in ("relu", "gated-gelu"):
        raise WeightsError(f"{CONFIG}: feed_forward_proj is {ff!r}; relu and gated-gelu are known")
    tied = bool(c.get("tie_word_embeddings", True)) and "lm_head.weight" not in shapes
    if c.get("tie_word_embeddings", True) and "lm_head.weight" in shapes and ff == "relu":
        tied = True
    eps = number(c, "layer_norm_epsilon", 1e-6, CONFIG)
    vocab = _int(c, "vocab_size", 32128)
    return dict(size=size, vocab=vocab, gated=ff == "gated-gelu", tied=tied, eps=eps)


def _t5_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s = a["size"]
    out = {"d_model": s.width, "num_layers": s.layers, "num_decoder_layers": s.layers}
    out |= {"num_heads": s.heads, "d_kv": s.head, "d_ff": s.hidden, "vocab_size": a["vocab"]}
    out |= {"feed_forward_proj": "gated-gelu" if a["gated"] else "relu"}
    out |= {"tie_word_embeddings": a["tied"], "layer_norm_epsilon": a["eps"]}
    return out | {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}


def _bart(c: Config, shapes: Shapes) -> dict[str, Any]:
    layers, heads = _int(c, "encoder_layers", 12), _int(c, "encoder_attention_heads", 16)
    size = bart.Size(_int(c, "d_model", 1024), layers, heads, _int(c, "encoder_ffn_dim", 4096))
    _fixed(c, scale_embedding=False, decoder_layers=layers, decoder_attention_heads=heads)
    _fixed(c, decoder_ffn_dim=size.hidden)
    act, start = _act(c, "activation_function", "gelu"), c.get("decoder_start_token_id", 2)
    vocab, length = _int(c, "vocab_size", 50265), _int(c, "max_position_embeddings", 1024)
    return dict(size=size, vocab=vocab, length=length, act=act, start=start)


def _bart_config(a: Mapping[str, Any]) -> dict[str, Any]:
    s, out = a["size"], {"decoder_start_token_id": a["start"], "scale_embedding": False}
    for side in ("encoder", "decoder"):
        out |= {f"{side}_layers": s.layers, f"{side}_attention_heads": s.heads}
        out |= {f"{side}_ffn_dim": s.hidden}
    out |= {"d_model": s.width, "vocab_size": a["vocab"], "max_position_embeddings": a["length"]}
    return out | {"activation_function": THEIRS[a["act"]]}


FAMILIES = (
    Family(
        "hf-gpt2",
        "transformers' GPT2LMHeadModel (config.json beside it)",
        *("gpt2", "GPT2LMHeadModel", gpt2.gpt2, _gpt2, _gpt2_config),
        lambda a: maps.gpt2_map("transformer."),
        (gpt2.TINY,),
    ),
    Family(
        "hub-gpt2",
        "the published GPT-2 files, names without a prefix (config.json beside it)",
        *("gpt2", "GPT2Model", gpt2.gpt2, _gpt2, _gpt2_config),
        lambda a: maps.gpt2_map(""),
        (gpt2.TINY,),
    ),
    Family(
        "hf-opt",
        "transformers' OPTForCausalLM (config.json beside it)",
        *("opt", "OPTForCausalLM", opt.opt, _opt, _opt_config),
        lambda a: maps.opt_map(a["size"].words != a["size"].width, a.get("before", True)),
        (opt.TINY, opt.TINY_AFTER),
    ),
    Family(
        "hf-mpt",
        "transformers' MptForCausalLM (config.json beside it)",
        *("mpt", "MptForCausalLM", mpt.mpt, _mpt, _mpt_config),
        lambda a: maps.mpt_map(),
        (mpt.TINY,),
    ),
    Family(
        "hf-gpt-neo",
        "transformers' GPTNeoForCausalLM (config.json beside it)",
        *("gpt_neo", "GPTNeoForCausalLM", gpt_neo.gpt_neo, _gpt_neo, _gpt_neo_config),
        lambda a: maps.gpt_neo_map(),
        (gpt_neo.TINY,),
    ),
    Family(
        "hf-gptj",
        "transformers' GPTJForCausalLM (config.json beside it)",
        *("gptj", "GPTJForCausalLM", gptj.gptj, _gptj, _gptj_config),
        lambda a: maps.gptj_map(a["size"].heads, a["size"].turned),
        (gptj.TINY,),
    ),
    Family(
        "hf-t5",
        "transformers' T5ForConditionalGeneration: T5, T5 1.1, Flan-T5 (config.json beside it)",
        *("t5", "T5ForConditionalGeneration", t5.t5, _t5, _t5_config),
        lambda a: maps.t5_map(a.get("gated", False), not a.get("tied", True)),
        (t5.TINY, t5.TINY_GATED),
    ),
    Family(
        "hf-bart",
        "transformers' BartForConditionalGeneration (config.json beside it)",
        *("bart", "BartForConditionalGeneration", bart.bart, _bart, _bart_config),
        lambda a: maps.bart_map(),
        (bart.TINY,),
    ),
)


def of_family(family: Family) -> Published:
    """The layout of a family."""

    def understand(shapes: Shapes, said: Said) -> Understood:
        config = config_of(said, CONFIG, (family.kind,))
        if config is None:
            raise WeightsError("no tensor shows the heads: put config.json beside the file")
        declaration = Declaration(family.function, family.args(config, shapes))
        return read_words(Understood(declaration, None), hf_words(said))

    def keymap(declaration: Declaration) -> KeyMap:
        must(built(declaration, family.function), family.name, f"it holds {family.kind} only")
        return family.keymap(declaration.args)

    def files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
        must(built(declaration, family.function), family.name, f"it holds {family.kind} only")
        args = {**defaults(declaration), **declaration.args}
        config = {"model_type": family.kind, "architectures": [family.head], **family.config(args)}
        return {CONFIG: json.dumps(config, indent=1).encode()}

    tiny = tuple(family.keymap(one.args) for one in family.tiny)
    words = ended if family.function in (t5.t5, bart.bart) else told
    return Published(family.name, family.about, tiny, understand, keymap, files, words=words)


def defaults(declaration: Declaration) -> dict[str, Any]:
    """Every argument that the declaration leaves at its default."""
    args = declaration.spec()["args"]
    return {name: value for name, value in args.items() if name not in declaration.args}


LAYOUTS = tuple(map(of_family, FAMILIES))
