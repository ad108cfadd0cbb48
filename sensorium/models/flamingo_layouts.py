"""OpenFlamingo's weights as they are published: to our model, and back.

Its files hold what was trained: resampler, layers put in, word vectors. What is read here is the
whole; `flamingo_parts` joins it.
"""

import json
from collections.abc import Mapping
from typing import Any

from sensorium.media.specs import openai_clip
from sensorium.models import decoder_layouts, gpt_neox, llama, llama_layouts, mpt
from sensorium.models.declaration import Declaration
from sensorium.models.flamingo import (
    TINY,
    TINY_LLAMA,
    TINY_MPT,
    TINY_NEOX,
    TOKENS,
    Gates,
    Look,
    flamingo,
)
from sensorium.models.flamingo_parts import PARTS, join
from sensorium.models.flamingo_rules import LANGUAGES, TEXT, flamingo_map, named
from sensorium.models.llava import Tower
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    built,
    config_of,
    grid,
    layers,
    must,
    number,
    only,
    shape,
    whole,
)
from sensorium.models.word_export import told
from sensorium.models.word_files import hf_words, read_words
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

CONFIG, NAME, MARK = "config.json", "openflamingo", "media_token_id"
PARTIAL = (
    "published files hold what was trained alone; name the language model's and CLIP's own with"
    " --lm and --tower (parts=... in Python), see docs/flamingo.md"
)
HEADS, HEAD = 8, 64  # of the resampler and of the layers put in, whatever their width
Config = Mapping[str, Any]
MPT = next(one for one in decoder_layouts.FAMILIES if one.kind == "mpt")
LLAMA = next(one for one in llama_layouts.LAYOUTS if one.name == "hf-llama")


# --- from files to models ----------------------------------------------------------------------


def _understand(shapes: Shapes, said: Said) -> Understood:
    if not any(key.startswith("vision_encoder.") for key in shapes):
        raise WeightsError(f"no tensor vision_encoder.conv1.weight: {PARTIAL}")
    kinds = ("mpt", "mosaic_gpt", "gpt_neox", "llama")
    config = config_of(said, CONFIG, kinds)
    if config is None:
        raise WeightsError("no tensor shows the heads: put the language model's config.json beside")
    kind = config["model_type"]
    name = {"mpt": "mpt.mpt", "mosaic_gpt": "mosaic", "llama": "llama.llama"}.get(kind)
    of = LANGUAGES[name or "gpt_neox.gpt_neox"]
    lm = _language(kind, config, shapes, said)
    vocab = shape(shapes, TEXT + of.words, 2)[0]
    lm = lm._replace(args=lm.args | dict(vocab=vocab))
    found = read_words(Understood(lm, None), hf_words(said))
    where = _gates(shapes, TEXT + of.layers, lm.args["size"].layers)
    spec = lm.spec()
    see = _tower(shapes)
    args = dict(image=see, look=_look(shapes), lm=spec, gates=where)
    args |= dict(mark=_mark(config, said, vocab))
    declaration = Declaration(flamingo, args)
    notes = (*found.notes, "CLIP's last norm and its projection are left out")
    look = openai_clip(see.pixels)
    return found._replace(declaration=declaration, transform=look, notes=notes)


def _language(kind: str, config: Config, shapes: Shapes, said: Said) -> Declaration:
    """The language model that a configuration describes."""
    if kind == "mpt":
        return Declaration(mpt.mpt, MPT.args(config, shapes))
    if kind == "mosaic_gpt":
        return Declaration(mpt.mpt, _mosaic(config))
    if kind == "gpt_neox":
        return Declaration(gpt_neox.gpt_neox, _neox(config))
    own = {
        key[len(TEXT) :].replace(".decoder_layer.", "."): size
        for key, size in shapes.items()
        if key.startswith(TEXT) and ".gated_cross_attn_layer." not in key
    }
    found = LLAMA.understand(own, said._replace(act=None, heads=None, beside={CONFIG: config}))
    return found.declaration


def _mosaic(c: Config) -> dict[str, Any]:
    known = {"alibi": True, "mlp_ratio": 4, "no_bias": True, "prefix_lm": False}
    known |= {"logit_scale": None, "embedding_fraction": 1, "softmax_scale": None}
    only({key: c[key] for key in known if key in c}, known, CONFIG)
    size = mpt.Size(
        whole(c, "d_model", 2048, CONFIG),
        whole(c, "n_layers", 24, CONFIG),
        whole(c, "n_heads", 16, CONFIG),
    )
    args = dict(size=size, vocab=0, length=whole(c, "max_seq_len", 2048, CONFIG))
    args |= dict(most=number(c, "alibi_bias_max", 8.0, CONFIG), clip=c.get("attn_clip_qkv"))
    return args | dict(norms=bool(c.get("attn_qk_ln", False)))


def _neox(c: Config) -> dict[str, Any]:
    known = {"use_parallel_residual": False, "attention_bias": True, "tie_word_embeddings": False}
    only({"use_parallel_residual": True} | {k: c[k] for k in known if k in c}, known, CONFIG)
    width, heads = (
        whole(c, "hidden_size", 6144, CONFIG),
        whole(c, "num_attention_heads", 64, CONFIG),
    )
    rope = c.get("rope_parameters") or {}
    share = number({**rope, **c}, "rotary_pct", rope.get("partial_rotary_factor", 0.25), CONFIG)
    theta = number({**rope, **c}, "rotary_emb_base", rope.get("rope_theta", 10000.0), CONFIG)
    depth, inner = whole(c, "num_hidden_layers", 44, CONFIG), "intermediate_size"
    turned, hidden = int(width // heads * share), whole(c, inner, 4 * width, CONFIG)
    act = c.get("hidden_act", "gelu")
    if act not in decoder_layouts.ACTS:
        raise WeightsError(f"{CONFIG}: hidden_act is {act!r}, which is not known")
    return dict(
        size=gpt_neox.Size(width, depth, heads, hidden, turned),
        vocab=0,
        length=whole(c, "max_position_embeddings", 2048, CONFIG),
        act=decoder_layouts.ACTS[act],
        eps=number(c, "layer_norm_eps", 1e-5, CONFIG),
        theta=theta,
    )


def _tower(shapes: Shapes) -> Tower:
    top = "vision_encoder"
    if f"{top}.conv1.weight" not in shapes:
        raise WeightsError(f"no tensor {top}.conv1.weight: {PARTIAL}")
    width, _, patch, _ = shape(shapes, f"{top}.conv1.weight", 4)
    rows = shape(shapes, f"{top}.positional_embedding", 2)[0]
    depth = layers(shapes, f"{top}.transformer.resblocks.{{i}}.ln_1.weight")
    side = patch * grid(rows, f"{top}.positional_embedding")
    return Tower(side, patch, width, depth, max(1, width // HEAD), "quick_gelu", 1e-5)


def _look(shapes: Shapes) -> Look:
    queries = shape(shapes, "perceiver.latents", 2)[0]
    depth = layers(shapes, "perceiver.layers.{i}.0.to_q.weight")
    time = shapes.get("perceiver.frame_embs", (0, 0))
    return Look(depth, queries, HEADS, HEAD, time[0])


def _gates(shapes: Shapes, top: str, depth: int) -> Gates:
    name = "gated_cross_attn_layer.attn_gate"
    have = [i for i in range(depth) if f"{top}.{i}.{name}" in shapes]
    if not have:
        raise WeightsError(f"no tensor {top}.*.{name}: this is no Flamingo")
    every = have[1] - have[0] if len(have) > 1 else depth
    if have != list(range(have[0], depth, every)):
        raise WeightsError(f"layers {have} look at pictures: not every n-th of {depth}")
    return Gates(have[0], every, HEADS, HEAD)


def _mark(config: Config, said: Said, vocab: int) -> int:
    if MARK in config:
        return whole(config, MARK, 1, CONFIG)
    values = said.beside.get("tokenizer.json", {}).get("added_tokens", ())
    for one in values:
        if isinstance(one, Mapping) and one.get("content") == "<image>":
            return whole(one, "id", 1, "tokenizer.json")
    if vocab == TOKENS + 3:
        return TOKENS + 1  # <|endofchunk|>, <image>, <PAD> behind GPT-NeoX's tokens
    raise WeightsError(
        f"which of {vocab} tokens is <image> is not known: put the tokenizer.json that has it"
        f' beside, or say it in config.json ("{MARK}")'
    )


# --- from a model to files ----------------------------------------------------------------------


def _keymap(declaration: Declaration) -> KeyMap:
    _held(declaration)
    return flamingo_map(declaration.args["lm"])


def _held(declaration: Declaration) -> None:
    must(built(declaration, flamingo), NAME, "it holds Flamingos over CLIP's tower only")
    a = declaration.args
    must(named(a["lm"]) is not None, NAME, f"its language model is a {a['lm']['function']}")
    must(a.get("act", "gelu") == "gelu", NAME, f"its new layers have {a.get('act')}")


def _files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    _held(declaration)
    a = declaration.args
    heads = {(one.heads, one.head) for one in (a["look"], a["gates"])}
    must(heads == {(HEADS, HEAD)}, NAME, f"its new layers have other heads than {HEADS} of {HEAD}")
    i = a["image"]
    must(i.act == "quick_gelu" and i.eps == 1e-5, NAME, "its tower is not as OpenAI's are")
    must(max(1, i.width // HEAD) == i.heads, NAME, f"its tower's heads are not {HEAD} wide")
    must(manifest["transform"] == openai_clip(i.pixels), NAME, "it cannot say its transform")
    lm = a["lm"]["args"]
    config = _config(named(a["lm"]) or "", lm, manifest) | {MARK: a["mark"]}
    return {CONFIG: json.dumps(config, indent=1).encode()}


def _config(kind: str, lm: dict[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    size = lm["size"]
    size = size if isinstance(size, dict) else size._asdict()
    if kind == "llama.llama":
        args = lm | dict(size=llama.Size(**size))
        must(lm["scaling"] is None, NAME, "its language model's positions are stretched")
        return json.loads(LLAMA.files(Declaration(llama.llama, args), manifest)[CONFIG])
    if kind == "mpt.mpt":
        return {"model_type": "mpt", **MPT.config(lm | dict(size=mpt.Size(**size)))}
    if kind == "mosaic":
        out = {"model_type": "mosaic_gpt", "d_model": size["width"], "n_layers": size["layers"]}
        out |= {"n_heads": size["heads"], "max_seq_len": lm["length"], "vocab_size": lm["vocab"]}
        out |= {"alibi": True, "alibi_bias_max": lm["most"], "attn_clip_qkv": lm["clip"]}
        return out | {"attn_qk_ln": True, "mlp_ratio": 4, "no_bias": True}
    out = {"model_type": "gpt_neox", "hidden_size": size["width"], "vocab_size": lm["vocab"]}
    out |= {"num_hidden_layers": size["layers"], "num_attention_heads": size["heads"]}
    out |= {"intermediate_size": size["hidden"], "max_position_embeddings": lm["length"]}
    out |= {"rotary_pct": size["turned"] / (size["width"] // size["heads"])}
    out |= {"rotary_emb_base": lm["theta"], "layer_norm_eps": lm["eps"]}
    out |= {"use_parallel_residual": False, "tie_word_embeddings": False}
    return out | {"hidden_act": decoder_layouts.THEIRS[lm["act"]]}


LAYOUTS = (
    Published(
        NAME,
        "OpenFlamingo's (its checkpoint.pt with --lm and --tower, or the whole with config.json)",
        tuple(flamingo_map(one.args["lm"]) for one in (TINY, TINY_MPT, TINY_NEOX, TINY_LLAMA)),
        _understand,
        _keymap,
        _files,
        words=told,
        parts=PARTS,
        join=join,
    ),
)
