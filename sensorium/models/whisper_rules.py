"""The key-map rules of Whisper's published layouts: their names and ours, in both directions."""

import torch
from torch import Tensor

from sensorium.weights.errors import WeightsError
from sensorium.weights.ops import Op
from sensorium.weights.rules import Drop, KeyMap, Rule, drop, rename, reshape, rule, stack

Rules = list[Rule | Drop]
HEARING, SPEAKING = "stack.blocks.{i}", "decoder.stack.blocks.{i}"
TOP = {  # the parts that stand once: OpenAI's name, Hugging Face's, ours
    ("encoder.conv1.*", "encoder.conv1.*"): "embed.conv1.*",
    ("encoder.conv2.*", "encoder.conv2.*"): "embed.conv2.*",
    ("encoder.positional_embedding", "encoder.embed_positions.weight"): "embed.pos",
    ("encoder.ln_post.*", "encoder.layer_norm.*"): "stack.norm.*",
    (
        "decoder.token_embedding.weight",
        "decoder.embed_tokens.weight",
    ): "decoder.embed.word.weight",
    ("decoder.positional_embedding", "decoder.embed_positions.weight"): "decoder.embed.pos",
    ("decoder.ln.*", "decoder.layer_norm.*"): "decoder.stack.norm.*",
}


def _attention(theirs: tuple[str, str, str, str, str], ours: str) -> Rules:
    """Self-attention; theirs: of queries, keys, values, of the output, and the norm."""
    q, k, v, out, norm = theirs
    return [
        stack((f"{q}.weight", f"{k}.weight", f"{v}.weight"), f"{ours}.attn.f.qkv.weight"),
        stack((f"{q}.bias", f"{v}.bias"), f"{ours}.attn.f.qkv.bias"),
        rename(f"{out}.*", f"{ours}.attn.f.out.*"),
        rename(f"{norm}.*", f"{ours}.attn.norm.*"),
    ]


def _cross(theirs: tuple[str, str, str, str, str], ours: str) -> Rules:
    q, k, v, out, norm = theirs
    return [
        rename(f"{q}.*", f"{ours}.cross.f.q.*"),
        stack((f"{k}.weight", f"{v}.weight"), f"{ours}.cross.f.kv.weight"),
        rename(f"{v}.bias", f"{ours}.cross.f.kv.bias"),
        rename(f"{out}.*", f"{ours}.cross.f.out.*"),
        rename(f"{norm}.*", f"{ours}.cross.norm.*"),
    ]


def _mlp(up: str, down: str, norm: str, ours: str) -> Rules:
    return [
        rename(f"{up}.*", f"{ours}.mlp.f.up.*"),
        rename(f"{down}.*", f"{ours}.mlp.f.down.*"),
        rename(f"{norm}.*", f"{ours}.mlp.norm.*"),
    ]


def _openai() -> Rules:
    rules: Rules = [rename(theirs[0], ours) for theirs, ours in TOP.items()]
    for half, ours in (("encoder", HEARING), ("decoder", SPEAKING)):
        t = f"{half}.blocks.{{i}}"
        parts = ("query", "key", "value", "out")
        rules += _attention((*(f"{t}.attn.{x}" for x in parts), f"{t}.attn_ln"), ours)  # type: ignore[arg-type]
        if half == "decoder":
            names = (*(f"{t}.cross_attn.{x}" for x in parts), f"{t}.cross_attn_ln")
            rules += _cross(names, ours)  # type: ignore[arg-type]
        rules += _mlp(f"{t}.mlp.0", f"{t}.mlp.2", f"{t}.mlp_ln", ours)
    return rules


def _hf() -> Rules:
    rules: Rules = [rename(f"model.{theirs[1]}", ours) for theirs, ours in TOP.items()]
    for half, ours in (("encoder", HEARING), ("decoder", SPEAKING)):
        t = f"model.{half}.layers.{{i}}"
        parts = ("q_proj", "k_proj", "v_proj", "out_proj")
        names = (*(f"{t}.self_attn.{x}" for x in parts), f"{t}.self_attn_layer_norm")
        rules += _attention(names, ours)  # type: ignore[arg-type]
        if half == "decoder":
            look = (*(f"{t}.encoder_attn.{x}" for x in parts), f"{t}.encoder_attn_layer_norm")
            rules += _cross(look, ours)  # type: ignore[arg-type]
        rules += _mlp(f"{t}.fc1", f"{t}.fc2", f"{t}.final_layer_norm", ours)
    key = "proj_out.weight"
    return [*rules, drop(key, lambda ours: {key: ours["decoder.embed.word.weight"]})]


def keyless(parts: int, kept: tuple[int, ...]) -> Op:
    """The biases of some parts of a fused projection; those of the keys must be nothing."""

    def load(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (whole,) = tensors
        if whole.dim() != 1 or len(whole) % parts:
            raise WeightsError(f"is {tuple(whole.shape)}, not {parts} biases of one length")
        pieces = whole.chunk(parts)
        left = [i for i in range(parts) if i not in kept]
        if any(pieces[i].count_nonzero() for i in left):
            raise WeightsError("has a bias for keys, which Whisper has not")
        return (torch.cat([pieces[i] for i in kept]),)

    def save(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pieces = dict(zip(kept, tensors[0].chunk(len(kept)), strict=True))
        blank = torch.zeros_like(next(iter(pieces.values())))
        return (torch.cat([pieces.get(i, blank) for i in range(parts)]),)

    return Op(f"keyless{parts}", load, save, lambda n: n)


def _both(theirs: str, ours: str) -> Rules:
    """A layer norm in CTranslate2's words."""
    return [
        rename(f"{theirs}/gamma", f"{ours}.weight"),
        rename(f"{theirs}/beta", f"{ours}.bias"),
    ]


def _ct2() -> Rules:
    scalars = (
        *("num_heads", "activation", "pre_norm", "scale_embeddings", "alignment_layer"),
        *("alignment_heads", "alibi", "start_from_zero_embedding", "num_heads_kv", "head_dim"),
        *("layernorm_embedding", "no_final_norm", "multi_query_attention", "sliding_window"),
        *(
            "alibi_use_positive_positions",
            "max_relative_position",
            "rotary_dim",
            "parallel_residual",
        ),
    )
    rules: Rules = [
        rename("encoder/conv1/*", "embed.conv1.*"),
        rename("encoder/conv2/*", "embed.conv2.*"),
        rename("encoder/position_encodings/encodings", "embed.pos"),
        rename("decoder/position_encodings/encodings", "decoder.embed.pos"),
        rename("decoder/embeddings/weight", "decoder.embed.word.weight"),
        *_both("encoder/layer_norm", "stack.norm"),
        *_both("decoder/layer_norm", "decoder.stack.norm"),
        *(drop(f"{half}/{name}") for half in ("encoder", "decoder") for name in scalars),
        drop(
            "decoder/projection/weight",
            lambda ours: {"decoder/projection/weight": ours["decoder.embed.word.weight"]},
        ),
    ]
    for half, ours in (("encoder", HEARING), ("decoder", SPEAKING)):
        t = f"{half}/layer_{{i}}"
        own, ffn = f"{t}/self_attention", f"{t}/ffn"
        rules += [
            rename(f"{own}/linear_0/weight", f"{ours}.attn.f.qkv.weight"),
            rule(f"{own}/linear_0/bias", f"{ours}.attn.f.qkv.bias", keyless(3, (0, 2))),
            rename(f"{own}/linear_1/*", f"{ours}.attn.f.out.*"),
            *_both(f"{own}/layer_norm", f"{ours}.attn.norm"),
            rename(f"{ffn}/linear_0/*", f"{ours}.mlp.f.up.*"),
            rename(f"{ffn}/linear_1/*", f"{ours}.mlp.f.down.*"),
            *_both(f"{ffn}/layer_norm", f"{ours}.mlp.norm"),
        ]
        if half == "decoder":
            look = f"{t}/attention"
            rules += [
                rename(f"{look}/linear_0/*", f"{ours}.cross.f.q.*"),
                rename(f"{look}/linear_1/weight", f"{ours}.cross.f.kv.weight"),
                rule(f"{look}/linear_1/bias", f"{ours}.cross.f.kv.bias", keyless(2, (1,))),
                rename(f"{look}/linear_2/*", f"{ours}.cross.f.out.*"),
                *_both(f"{look}/layer_norm", f"{ours}.cross.norm"),
            ]
    return rules


def _ggml() -> Rules:
    """OpenAI's names; the convolutions' biases are columns."""
    column = {f"encoder.conv{k}.*": k for k in (1, 2)}
    rules: Rules = [
        one for one in _openai() if not (isinstance(one, Rule) and one.theirs[0] in column)
    ]
    for k in (1, 2):
        rules += [
            rename(f"encoder.conv{k}.weight", f"embed.conv{k}.weight"),
            reshape(f"encoder.conv{k}.bias", f"embed.conv{k}.bias", (-1, 1), (-1,)),
        ]
    return rules


OPENAI_MAP = KeyMap(_openai())
HF_MAP = KeyMap(_hf())
CT2_MAP = KeyMap(_ct2())
GGML_MAP = KeyMap(_ggml())
