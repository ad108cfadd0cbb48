"""LLaMA's weights as Hugging Face, Meta and GGUF files hold them: to our model, and back."""

import json
from collections.abc import Mapping
from typing import Any

import torch

from sensorium.models.declaration import Declaration
from sensorium.models.decoder_rules import llama_map
from sensorium.models.llama import TINY, TINY_TIED, Size, llama
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    agree,
    built,
    config_of,
    layers,
    must,
    number,
    only,
    shape,
    whole,
)
from sensorium.models.word_export import told
from sensorium.models.word_files import hf_words, read_words
from sensorium.nn.rope import Rope, Scaling
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

CONFIG = "config.json"
UNSAID = (
    "no tensor shows heads, rotation and context: put config.json beside the file (or take the"
    " GGUF file, which says them itself)"
)


def _size(shapes: Shapes, names: tuple[str, str, str], heads: int, groups: int, head: int) -> Size:
    """The size from shapes (of word vectors, queries and gates) and heads that a file tells."""
    word, query, gate = names
    width = shape(shapes, word, 2)[1]
    rows, hidden = shape(shapes, query, 2)[0], shape(shapes, gate, 2)[0]
    if rows != heads * head or heads % groups:
        raise WeightsError(f"{query} has {rows} rows, which are not {heads} heads of {head}")
    depth = layers(shapes, query.replace(".0.", ".{i}."))
    return Size(width, depth, heads, groups, head, hidden)


def _hf(shapes: Shapes, said: Said) -> Understood:
    config = config_of(said, CONFIG, ("llama",))
    if config is None:
        raise WeightsError(UNSAID)
    known = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
    only({key: config[key] for key in known if key in config}, known, CONFIG)
    heads = whole(config, "num_attention_heads", 32, CONFIG)
    groups = whole(config, "num_key_value_heads", heads, CONFIG)
    width = whole(config, "hidden_size", 4096, CONFIG)
    head = whole(config, "head_dim", max(1, width // heads), CONFIG)
    t = "model.layers.0"
    names = (
        "model.embed_tokens.weight",
        f"{t}.self_attn.q_proj.weight",
        f"{t}.mlp.gate_proj.weight",
    )
    own = "lm_head.weight" in shapes and not config.get("tie_word_embeddings", False)
    rope = rope_of(config)
    args = dict(
        size=_size(shapes, names, heads, groups, head),
        vocab=shape(shapes, names[0], 2)[0],
        length=whole(config, "max_position_embeddings", 2048, CONFIG),
        eps=agree(CONFIG, "eps", said.eps, number(config, "rms_norm_eps", 1e-6, CONFIG)),
        theta=rope[0],
        scaling=rope[1],
        tied=not own,
    )
    return read_words(Understood(Declaration(llama, args), None), hf_words(said))


def rope_of(config: Mapping[str, Any]) -> tuple[float, Scaling | None]:
    """The base of the rotation and how it is stretched, in the old form or the new.

    Raises:
        WeightsError: a form of stretching that is not known here.
    """
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(said, Mapping):
        raise WeightsError(f"{CONFIG}: rope_scaling is {said!r}, not an object")
    theta = number({**config, **said}, "rope_theta", 10000.0, CONFIG)
    kind = said.get("rope_type", said.get("type", "default"))
    if kind == "default":
        return theta, None
    plain = {"rope_type": ..., "type": ..., "rope_theta": ..., "factor": ...}
    first = "original_max_position_embeddings"
    length = whole(config, "max_position_embeddings", 2048, CONFIG)
    if kind == "linear":
        only(said, plain, "rope_scaling")
        return theta, Scaling(kind, number(said, "factor", 1.0, CONFIG))
    factor, original = number(said, "factor", 1.0, CONFIG), whole(said, first, length, CONFIG)
    if kind == "llama3":
        only(said, plain | {first: ..., "low_freq_factor": ..., "high_freq_factor": ...}, CONFIG)
        low = number(said, "low_freq_factor", 1.0, CONFIG)
        return theta, Scaling(
            kind, factor, low, number(said, "high_freq_factor", 4.0, CONFIG), original
        )
    if kind == "yarn":
        only(said, plain | {first: ..., "beta_slow": ..., "beta_fast": ...}, CONFIG)
        slow, fast = (
            number(said, key, default, CONFIG)
            for key, default in (("beta_slow", 1.0), ("beta_fast", 32.0))
        )
        return theta, Scaling(kind, factor, slow, fast, original)
    raise WeightsError(
        f"{CONFIG}: positions are stretched by {kind!r}; known are linear, llama3 and yarn (dynamic"
        " stretching changes what was read before, so no cache could be right)"
    )


def _keys(names: str):
    def keymap(declaration: Declaration) -> KeyMap:
        must(built(declaration, llama), f"{names}-llama", "it holds LLaMA models only")
        args = declaration.args
        return llama_map(args["size"], not args.get("tied", False), names)

    return keymap


def _files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, llama), "hf-llama", "it holds LLaMA models only")
    full = declaration.spec()["args"]
    size = declaration.args["size"]
    rope: dict[str, Any] = {"rope_theta": full["theta"]}
    if (s := declaration.args.get("scaling")) is not None:
        rope |= {"rope_type": s.kind, "factor": s.factor}
        if s.kind == "llama3":
            rope |= {"low_freq_factor": s.low, "high_freq_factor": s.high}
        if s.kind == "yarn":
            rope |= {"beta_slow": s.low, "beta_fast": s.high}
        if s.kind != "linear":
            rope |= {"original_max_position_embeddings": s.original}
    else:
        rope |= {"rope_type": "default"}
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": size.width,
        "intermediate_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.groups,
        "head_dim": size.head,
        "vocab_size": full["vocab"],
        "max_position_embeddings": full["length"],
        "rms_norm_eps": full["eps"],
        "rope_theta": full["theta"],
        "rope_parameters": rope,
        "tie_word_embeddings": full["tied"],
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return {CONFIG: json.dumps(config, indent=1).encode()}


def _meta(shapes: Shapes, said: Said) -> Understood:
    params = said.beside.get("params.json")
    if params is None:
        raise WeightsError("no tensor shows the heads: put Meta's params.json beside the file")
    where = "params.json"
    heads = whole(params, "n_heads", 32, where)
    groups = whole(params, "n_kv_heads", heads, where)
    if params.get("use_scaled_rope"):
        raise WeightsError(f"{where}: use_scaled_rope does not say how far; take the hf-llama file")
    t = "layers.0"
    names = ("tok_embeddings.weight", f"{t}.attention.wq.weight", f"{t}.feed_forward.w1.weight")
    width = shape(shapes, names[0], 2)[1]
    args = dict(
        size=_size(shapes, names, heads, groups, max(1, width // heads)),
        vocab=shape(shapes, names[0], 2)[0],
        length=whole(params, "max_seq_len", 2048, where),
        eps=number(params, "norm_eps", 1e-5, where),
        theta=number(params, "rope_theta", 10000.0, where),
        tied="output.weight" not in shapes,
    )
    note = f"a context of {args['length']} tokens is taken: params.json does not say"
    notes = () if "max_seq_len" in params else (note,)
    return Understood(Declaration(llama, args), None, notes=notes)


def _gguf(shapes: Shapes, said: Said) -> Understood:
    values = said.beside.get("gguf")
    if values is None:
        raise WeightsError("this layout is that of GGUF files, which say their sizes themselves")
    kind = values.get("general.architecture")
    if kind != "llama":
        raise WeightsError(f"a GGUF file of architecture {kind!r}; read are: llama")
    where, key = "the GGUF header", "llama.{}".format
    heads = whole(values, key("attention.head_count"), 32, where)
    groups = whole(values, key("attention.head_count_kv"), heads, where)
    names = ("token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_gate.weight")
    rows = shape(shapes, names[1], 2)[0]
    size = _size(shapes, names, heads, groups, max(1, rows // heads))
    turned = whole(values, key("rope.dimension_count"), size.head, where)
    if turned != size.head or values.get(key("expert_count")):
        raise WeightsError(f"{where}: {turned} of {size.head} dimensions are rotated, or experts")
    theta = number(values, key("rope.freq_base"), 10000.0, where)
    told = values.get(key("rope.scaling.type"), "none")
    scaling = None
    if told == "linear":
        scaling = Scaling("linear", number(values, key("rope.scaling.factor"), 1.0, where))
    elif told != "none":
        raise WeightsError(f"{where}: positions are stretched by {told!r}; linear is known")
    if "rope_freqs.weight" in shapes:
        scaling = stretched(values["rope_freqs"], size.head, theta)
    args = dict(
        size=size,
        vocab=shape(shapes, names[0], 2)[0],
        length=whole(values, key("context_length"), 2048, where),
        eps=number(values, key("attention.layer_norm_rms_epsilon"), 1e-5, where),
        theta=theta,
        scaling=scaling,
        tied="output.weight" not in shapes,
    )
    return read_words(Understood(Declaration(llama, args), None), values)


def stretched(factors: Any, head: int, theta: float) -> Scaling:
    """LLaMA 3's stretching whose factors a GGUF file holds: that of 3.1 or of 3.2.

    Raises:
        WeightsError: the factors are of neither.
    """
    plain = Rope(head, theta).frequencies(torch.device("cpu"))
    for factor in (8.0, 32.0):
        found = Scaling("llama3", factor, 1.0, 4.0, 8192)
        made = plain / Rope(head, theta, found).frequencies(torch.device("cpu"))
        if made.shape == factors.shape and torch.allclose(made, factors, rtol=1e-4):
            return found
    raise WeightsError("rope_freqs.weight holds factors that are neither LLaMA 3.1's nor 3.2's")


def _no_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(False, "gguf-llama", "it is read and not written; export as hf-llama")
    return {}


def _meta_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, llama), "meta-llama", "it holds LLaMA models only")
    full, size = declaration.spec()["args"], declaration.args["size"]
    must(full["scaling"] is None, "meta-llama", "it cannot say how positions are stretched")
    must(size.head * size.heads == size.width, "meta-llama", "its heads do not fill its width")
    params = {"dim": size.width, "n_layers": size.layers, "n_heads": size.heads}
    params |= {"n_kv_heads": size.groups, "norm_eps": full["eps"], "rope_theta": full["theta"]}
    params |= {"vocab_size": full["vocab"], "max_seq_len": full["length"]}
    return {"params.json": json.dumps(params).encode()}


def _maps(names: str) -> tuple[KeyMap, ...]:
    return tuple(_keys(names)(one) for one in (TINY, TINY_TIED))


LAYOUTS = (
    Published(
        "hf-llama",
        "transformers' LlamaForCausalLM: LLaMA 1 to 3, Vicuna, SmolLM2 (config.json beside it)",
        _maps("hf"),
        _hf,
        _keys("hf"),
        _files,
        words=told,
    ),
    Published(
        "meta-llama",
        "Meta's consolidated.00.pth (unsharded; params.json beside it)",
        _maps("meta"),
        _meta,
        _keys("meta"),
        _meta_files,
    ),
    Published(
        "gguf-llama",
        "a GGUF file of architecture llama, with its tokenizer",
        _maps("gguf"),
        _gguf,
        _keys("gguf"),
        _no_files,
    ),
)
