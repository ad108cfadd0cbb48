"""The key maps of GPT-2, OPT, MPT, GPT-Neo, GPT-J, T5 and BART in Hugging Face's names."""

from sensorium.models.decoder_rules import BLOCK, Rules, halves, tied
from sensorium.weights import ops
from sensorium.weights.rules import KeyMap, drop, rename, rule, stack, transpose


def gpt2_map(prefix: str) -> KeyMap:
    """GPT-2; its matrices are stored (in, out). `prefix` is "transformer." or nothing."""
    t = f"{prefix}h.{{i}}"
    flat = {"attn.c_attn": "attn.f.qkv", "attn.c_proj": "attn.f.out"}
    flat |= {"mlp.c_fc": "mlp.f.up", "mlp.c_proj": "mlp.f.down"}
    return KeyMap(
        [
            rename(f"{prefix}wte.weight", "embed.word.weight"),
            rename(f"{prefix}wpe.weight", "embed.pos"),
            rename(f"{prefix}ln_f.*", "stack.norm.*"),
            rename(f"{t}.ln_1.*", f"{BLOCK}.attn.norm.*"),
            rename(f"{t}.ln_2.*", f"{BLOCK}.mlp.norm.*"),
            *(transpose(f"{t}.{a}.weight", f"{BLOCK}.{b}.weight") for a, b in flat.items()),
            *(rename(f"{t}.{a}.bias", f"{BLOCK}.{b}.bias") for a, b in flat.items()),
            drop(f"{t}.attn.bias"),
            drop(f"{t}.attn.masked_bias"),
            *tied("lm_head.weight"),
        ]
    )


def opt_map(narrow: bool, norm: bool) -> KeyMap:
    """OPT. `narrow`: word vectors narrower than the model; `norm`: one behind the stack."""
    top, t = "model.decoder", "model.decoder.layers.{i}"
    more: Rules = [rename(f"{top}.final_layer_norm.*", "stack.norm.*")] if norm else []
    if narrow:
        more.append(rename(f"{top}.project_in.weight", "embed.project.weight"))
        more.append(rename(f"{top}.project_out.weight", "out.weight"))
    return KeyMap(
        [
            *more,
            rename(f"{top}.embed_tokens.weight", "embed.word.weight"),
            rename(f"{top}.embed_positions.weight", "embed.pos"),
            stack(tuple(f"{t}.self_attn.{x}_proj.*" for x in "qkv"), f"{BLOCK}.attn.f.qkv.*"),
            rename(f"{t}.self_attn.out_proj.*", f"{BLOCK}.attn.f.out.*"),
            rename(f"{t}.self_attn_layer_norm.*", f"{BLOCK}.attn.norm.*"),
            rename(f"{t}.fc1.*", f"{BLOCK}.mlp.f.up.*"),
            rename(f"{t}.fc2.*", f"{BLOCK}.mlp.f.down.*"),
            rename(f"{t}.final_layer_norm.*", f"{BLOCK}.mlp.norm.*"),
            *tied("lm_head.weight"),
        ]
    )


def mpt_map() -> KeyMap:
    """MPT."""
    top, t = "transformer", "transformer.blocks.{i}"
    return KeyMap(
        [
            rename(f"{top}.wte.weight", "embed.word.weight"),
            rename(f"{top}.norm_f.weight", "stack.norm.weight"),
            rename(f"{t}.norm_1.weight", f"{BLOCK}.attn.norm.weight"),
            rename(f"{t}.norm_2.weight", f"{BLOCK}.mlp.norm.weight"),
            rename(f"{t}.attn.Wqkv.weight", f"{BLOCK}.attn.f.qkv.weight"),
            rename(f"{t}.attn.out_proj.weight", f"{BLOCK}.attn.f.out.weight"),
            rename(f"{t}.ffn.up_proj.weight", f"{BLOCK}.mlp.f.up.weight"),
            rename(f"{t}.ffn.down_proj.weight", f"{BLOCK}.mlp.f.down.weight"),
            *tied("lm_head.weight"),
        ]
    )


def gpt_neo_map() -> KeyMap:
    """GPT-Neo."""
    top, t = "transformer", "transformer.h.{i}"
    a = f"{t}.attn.attention"
    return KeyMap(
        [
            rename(f"{top}.wte.weight", "embed.word.weight"),
            rename(f"{top}.wpe.weight", "embed.pos"),
            rename(f"{top}.ln_f.*", "stack.norm.*"),
            rename(f"{t}.ln_1.*", f"{BLOCK}.attn.norm.*"),
            rename(f"{t}.ln_2.*", f"{BLOCK}.mlp.norm.*"),
            stack(tuple(f"{a}.{x}_proj.weight" for x in "qkv"), f"{BLOCK}.attn.f.qkv.weight"),
            rename(f"{a}.out_proj.*", f"{BLOCK}.attn.f.out.*"),
            rename(f"{t}.mlp.c_fc.*", f"{BLOCK}.mlp.f.up.*"),
            rename(f"{t}.mlp.c_proj.*", f"{BLOCK}.mlp.f.down.*"),
            drop(f"{a}.bias"),
            drop(f"{a}.masked_bias"),
            *tied("lm_head.weight"),
        ]
    )


def gptj_map(heads: int, turned: int) -> KeyMap:
    """GPT-J, whose heads rotate neighbours."""
    top, t = "transformer", "transformer.h.{i}"
    qkv = tuple(f"{t}.attn.{x}_proj.weight" for x in "qkv")
    turn = halves((heads, heads, 0), turned)
    return KeyMap(
        [
            rename(f"{top}.wte.weight", "embed.word.weight"),
            rename("lm_head.*", "head.*"),
            rename(f"{top}.ln_f.*", "stack.norm.*"),
            rename(f"{t}.ln_1.*", f"{BLOCK}.attn.norm.*"),
            rule(qkv, f"{BLOCK}.attn.f.qkv.weight", turn, ops.concat(3)),
            rename(f"{t}.attn.out_proj.weight", f"{BLOCK}.attn.f.out.weight"),
            rename(f"{t}.mlp.fc_in.*", f"{BLOCK}.attn.g.up.*"),
            rename(f"{t}.mlp.fc_out.*", f"{BLOCK}.attn.g.down.*"),
            drop(f"{t}.attn.bias"),
            drop(f"{t}.attn.masked_bias"),
        ]
    )


def t5_map(gated: bool, head: bool) -> KeyMap:
    """T5."""
    rules: Rules = [rename("shared.weight", "decoder.embed.word.weight")]
    shared = [f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
    for name in [*shared, *([] if head else ["lm_head.weight"])]:
        rules.append(drop(name, lambda o, key=name: {key: o["decoder.embed.word.weight"]}))
    if head:
        rules.append(rename("lm_head.weight", "decoder.head.weight"))
    for side in ("encoder", "decoder"):
        t, o, last = f"{side}.block.{{i}}.layer", f"{side}.{BLOCK}", 1 + (side == "decoder")
        own, ff = f"{t}.0.SelfAttention", f"{t}.{last}.DenseReluDense"
        rules += [
            stack(tuple(f"{own}.{x}.weight" for x in "qkv"), f"{o}.attn.f.qkv.weight"),
            rename(f"{own}.o.weight", f"{o}.attn.f.out.weight"),
            rename(f"{t}.0.layer_norm.weight", f"{o}.attn.norm.weight"),
            rename(
                f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                f"{side}.stack.bias.weight",
            ),
            rename(f"{ff}.wo.weight", f"{o}.mlp.f.down.weight"),
            rename(f"{t}.{last}.layer_norm.weight", f"{o}.mlp.norm.weight"),
            rename(f"{side}.final_layer_norm.weight", f"{side}.stack.norm.weight"),
            stack((f"{ff}.wi_0.weight", f"{ff}.wi_1.weight"), f"{o}.mlp.f.gate_up.weight")
            if gated
            else rename(f"{ff}.wi.weight", f"{o}.mlp.f.up.weight"),
        ]
        if side == "decoder":
            cross = f"{t}.1.EncDecAttention"
            rules += [
                rename(f"{cross}.q.weight", f"{o}.cross.f.q.weight"),
                stack((f"{cross}.k.weight", f"{cross}.v.weight"), f"{o}.cross.f.kv.weight"),
                rename(f"{cross}.o.weight", f"{o}.cross.f.out.weight"),
                rename(f"{t}.1.layer_norm.weight", f"{o}.cross.norm.weight"),
            ]
    return KeyMap(rules)


def bart_map() -> KeyMap:
    """BART."""
    rules: Rules = [rename("model.shared.weight", "decoder.embed.word.weight")]
    copies = [*(f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder"))]
    for name in [*copies, "lm_head.weight"]:
        rules.append(drop(name, lambda o, key=name: {key: o["decoder.embed.word.weight"]}))
    rules.append(
        drop(
            "final_logits_bias",
            lambda o: {
                "final_logits_bias": o["decoder.embed.word.weight"].new_zeros(
                    1, len(o["decoder.embed.word.weight"])
                )
            },
        )
    )
    for side, pos in (("encoder", "encoder"), ("decoder", "decoder.embed")):
        t, o = f"model.{side}.layers.{{i}}", f"{side}.{BLOCK}"
        rules += [
            rename(f"model.{side}.embed_positions.weight", f"{pos}.pos"),
            rename(f"model.{side}.layernorm_embedding.*", f"{pos}.norm.*"),
            stack(tuple(f"{t}.self_attn.{x}_proj.*" for x in "qkv"), f"{o}.attn.f.qkv.*"),
            rename(f"{t}.self_attn.out_proj.*", f"{o}.attn.f.out.*"),
            rename(f"{t}.self_attn_layer_norm.*", f"{o}.attn.norm.*"),
            rename(f"{t}.fc1.*", f"{o}.mlp.f.up.*"),
            rename(f"{t}.fc2.*", f"{o}.mlp.f.down.*"),
            rename(f"{t}.final_layer_norm.*", f"{o}.mlp.norm.*"),
        ]
        if side == "decoder":
            cross = f"{t}.encoder_attn"
            rules += [
                rename(f"{cross}.q_proj.*", f"{o}.cross.f.q.*"),
                stack((f"{cross}.k_proj.*", f"{cross}.v_proj.*"), f"{o}.cross.f.kv.*"),
                rename(f"{cross}.out_proj.*", f"{o}.cross.f.out.*"),
                rename(f"{t}.encoder_attn_layer_norm.*", f"{o}.cross.norm.*"),
            ]
    return KeyMap(rules)
