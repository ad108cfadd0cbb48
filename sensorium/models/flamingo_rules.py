"""The key-map rules of OpenFlamingo's files: their names and ours, in both directions.

The language model's own layers stand under `decoder_layer`, the layers put in beside them. A live
state dict has the same tensors once more, under `old_decoder_blocks` and
`gated_cross_attn_layers`: those copies are left out.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sensorium.models.decoder_maps import mpt_map
from sensorium.models.decoder_rules import BLOCK, Rules, llama_map, tied
from sensorium.models.gpt_neox import Size as NeoXSize
from sensorium.models.llama import Size
from sensorium.weights import ops
from sensorium.weights.rules import Drop, KeyMap, Rule, drop, prefix, rename, rule

TEXT = "lang_encoder."


class Language(NamedTuple):
    """A language model in its own names: where its layers stand, and its rules."""

    layers: str
    words: str
    keymap: Callable[[Mapping[str, Any]], KeyMap]


def mosaic_map() -> KeyMap:
    """MPT-1B as it was published, with norms of queries and keys (mosaic_gpt.py)."""
    top, t = "transformer", "transformer.blocks.{i}"
    same = {"ln_1": "attn.norm", "attn.Wqkv": "attn.f.qkv", "attn.out_proj": "attn.f.out"}
    same |= {"attn.q_ln": "attn.f.norms.0", "attn.k_ln": "attn.f.norms.1", "ln_2": "mlp.norm"}
    same |= {"mlp.mlp_up": "mlp.f.up", "mlp.mlp_down": "mlp.f.down"}
    return KeyMap(
        [
            rename(f"{top}.wte.weight", "embed.word.weight"),
            rename(f"{top}.ln_f.weight", "stack.norm.weight"),
            *(rename(f"{t}.{a}.weight", f"{BLOCK}.{b}.weight") for a, b in same.items()),
            *tied("lm_head.weight"),
        ]
    )


def neox_map(size: NeoXSize) -> KeyMap:
    """GPT-NeoX in Hugging Face's names: each head's queries, keys and values lie together."""
    d, h, w = size.width, size.heads, size.width // size.heads
    top, t = "gpt_neox", "gpt_neox.layers.{i}"
    same = {"input_layernorm": "attn.norm", "attention.dense": "attn.f.out"}
    same |= {"post_attention_layernorm": "mlp.norm", "mlp.dense_h_to_4h": "mlp.f.up"}
    same |= {"mlp.dense_4h_to_h": "mlp.f.down"}
    qkv = f"{t}.attention.query_key_value", f"{BLOCK}.attn.f.qkv"
    apart, order = (h, 3, w), (3, h, w)
    return KeyMap(
        [
            rename(f"{top}.embed_in.weight", "embed.word.weight"),
            rename("embed_out.weight", "head.weight"),
            rename(f"{top}.final_layer_norm.*", "stack.norm.*"),
            *(rename(f"{t}.{a}.*", f"{BLOCK}.{b}.*") for a, b in same.items()),
            rule(
                f"{qkv[0]}.weight",
                f"{qkv[1]}.weight",
                ops.reshape((3 * d, d), (*apart, d)),
                ops.permute(1, 0, 2, 3),
                ops.reshape((*order, d), (3 * d, d)),
            ),
            rule(
                f"{qkv[0]}.bias",
                f"{qkv[1]}.bias",
                ops.reshape((3 * d,), apart),
                ops.permute(1, 0, 2),
                ops.reshape(order, (3 * d,)),
            ),
            drop(f"{t}.attention.bias"),
            drop(f"{t}.attention.masked_bias"),
            drop(f"{t}.attention.rotary_emb.inv_freq"),
        ]
    )


def _size(kind: type, args: Mapping[str, Any]) -> Any:
    """A size as its tuple, from a declaration or from a manifest."""
    return args["size"] if isinstance(args["size"], kind) else kind(**args["size"])


LANGUAGES = {
    "mpt.mpt": Language("transformer.blocks", "transformer.wte.weight", lambda a: mpt_map()),
    "mosaic": Language("transformer.blocks", "transformer.wte.weight", lambda a: mosaic_map()),
    "gpt_neox.gpt_neox": Language(
        "gpt_neox.layers", "gpt_neox.embed_in.weight", lambda a: neox_map(_size(NeoXSize, a))
    ),
    "llama.llama": Language(
        "model.layers",
        "model.embed_tokens.weight",
        lambda a: llama_map(_size(Size, a), not a.get("tied", False)),
    ),
}


def named(lm: Mapping[str, Any]) -> str | None:
    """Which of `LANGUAGES` a language model's declaration is; None: none of them."""
    function = lm["function"]
    if function == "mpt.mpt" and lm["args"].get("norms"):
        return "mosaic"
    return function if function in LANGUAGES else None


def inside(found: KeyMap, layers: str) -> Rules:
    """A language model's rules, its layers under `decoder_layer`."""

    def moved(pattern: str) -> str:
        return pattern.replace(f"{layers}.{{i}}.", f"{layers}.{{i}}.decoder_layer.")

    rules = [Rule(tuple(map(moved, one.theirs)), one.ours, one.steps) for one in found.rules]
    return [*rules, *(Drop(moved(one.pattern), one.restore) for one in found.drops)]


def put_in(layers: str) -> Rules:
    """The layers put in."""
    t, o = f"{layers}.{{i}}.gated_cross_attn_layer", f"{BLOCK}"
    same = {"attn.to_q": "look.f.q", "attn.to_kv": "look.f.kv", "attn.to_out": "look.f.out"}
    same |= {"ff.1": "think.f.up", "ff.3": "think.f.down"}
    return [
        rename(f"{t}.attn_gate", f"{o}.look.gate"),
        rename(f"{t}.ff_gate", f"{o}.think.gate"),
        rename(f"{t}.attn.norm.*", f"{o}.look.norm.*"),
        rename(f"{t}.ff.0.*", f"{o}.think.norm.*"),
        *(rename(f"{t}.{a}.weight", f"{o}.{b}.weight") for a, b in same.items()),
    ]


def resampler() -> Rules:
    """The resampler."""
    t, o = "layers.{i}", BLOCK
    same = {"0.to_q": "attn.f.q", "0.to_kv": "attn.f.kv", "0.to_out": "attn.f.out"}
    same |= {"1.1": "mlp.f.up", "1.3": "mlp.f.down"}
    return [
        rename("latents", "queries"),
        rename("frame_embs", "time"),
        rename("norm.*", "stack.norm.*"),
        rename(f"{t}.0.norm_media.*", f"{o}.attn.norm_media.*"),
        rename(f"{t}.0.norm_latents.*", f"{o}.attn.norm.*"),
        rename(f"{t}.1.0.*", f"{o}.mlp.norm.*"),
        *(rename(f"{t}.{a}.weight", f"{o}.{b}.weight") for a, b in same.items()),
    ]


def tower() -> Rules:
    """CLIP's image tower in open_clip's names; the norm and the map behind it are never run."""
    t, o = "transformer.resblocks.{i}", BLOCK
    return [
        rename("class_embedding", "embed.cls"),
        rename("positional_embedding", "embed.pos"),
        rename("conv1.weight", "embed.patches.weight"),
        rename("ln_pre.*", "embed.norm.*"),
        rename(f"{t}.ln_1.*", f"{o}.attn.norm.*"),
        rename(f"{t}.attn.in_proj_*", f"{o}.attn.f.qkv.*"),
        rename(f"{t}.attn.out_proj.*", f"{o}.attn.f.out.*"),
        rename(f"{t}.ln_2.*", f"{o}.mlp.norm.*"),
        rename(f"{t}.mlp.c_fc.*", f"{o}.mlp.f.up.*"),
        rename(f"{t}.mlp.c_proj.*", f"{o}.mlp.f.down.*"),
        drop("ln_post.*"),
        drop("proj"),
    ]


def flamingo_map(lm: Mapping[str, Any]) -> KeyMap:
    """All of an OpenFlamingo over this language model."""
    of = LANGUAGES[named(lm) or ""]
    text = [*inside(of.keymap(lm["args"]), of.layers), *put_in(of.layers)]
    return KeyMap(
        [
            *prefix(tower(), theirs="vision_encoder.", ours="image."),
            *prefix(resampler(), theirs="perceiver.", ours="resampler."),
            *prefix(text, theirs=TEXT, ours="decoder."),
            drop(f"{TEXT}old_decoder_blocks.**"),
            drop(f"{TEXT}gated_cross_attn_layers.**"),
        ]
    )
