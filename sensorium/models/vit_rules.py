"""The key-map rules of ViT's published layouts: their names and ours, in both directions."""

from typing import NamedTuple

from sensorium.models.vit import Size
from sensorium.weights import ops
from sensorium.weights.rules import Drop, Rule, rename, reshape, rule, stack, transpose, unbind

Rules = list[Rule | Drop]
EMBED, BLOCK, POOL = "tower.embed", "tower.stack.blocks.{i}", "tower.pool.proj.0"


class Names(NamedTuple):
    """What differs between layouts of one family: a layer, and parts of a layer.

    `attention` and `mlp` name the modules that tell heads and hidden width; `norm` the one before
    the MLP; `positions` the position embeddings; `stacked` whether layers share one array.
    """

    block: str
    attention: str
    mlp: str
    norm: str = ""
    positions: str = ""
    stacked: bool = False


GOOGLE = Names(
    "encoderblock_{i}",
    "MultiHeadDotProductAttention_1",
    "MlpBlock_3",
    "LayerNorm_2",
    "Transformer/posembed_input/pos_embedding",
)
BIG_VISION = Names(
    "encoderblock_{i}",
    "MultiHeadDotProductAttention_0",
    "MlpBlock_0",
    "LayerNorm_1",
    "pos_embedding",
)


def _positions(theirs: str, size: Size) -> Rule:
    rows = (size.pixels // size.patch) ** 2 + 1
    return reshape(theirs, f"{EMBED}.pos", (1, rows, size.width), (rows, size.width))


def _class(theirs: str) -> Rule:
    return reshape(theirs, f"{EMBED}.cls", (1, 1, -1), (-1,))


def timm_rules(size: Size) -> Rules:
    """timm's VisionTransformer; `pre_logits.fc` is of its older releases."""
    t = "blocks.{i}"
    return [
        _class("cls_token"),
        _positions("pos_embed", size),
        rename("patch_embed.proj.*", f"{EMBED}.patches.*"),
        rename(f"{t}.norm1.*", f"{BLOCK}.attn.norm.*"),
        rename(f"{t}.attn.qkv.*", f"{BLOCK}.attn.f.qkv.*"),
        rename(f"{t}.attn.proj.*", f"{BLOCK}.attn.f.out.*"),
        rename(f"{t}.norm2.*", f"{BLOCK}.mlp.norm.*"),
        rename(f"{t}.mlp.fc1.*", f"{BLOCK}.mlp.f.up.*"),
        rename(f"{t}.mlp.fc2.*", f"{BLOCK}.mlp.f.down.*"),
        rename("norm.*", "tower.stack.norm.*"),
        rename("pre_logits.fc.*", f"{POOL}.*"),
        rename("head.*", "head.*"),
    ]


def flax_rules(size: Size, names: Names) -> Rules:
    """Google's archives: kernels are (in, out), heads have an axis of their own."""
    d, h, w = size.width, size.heads, size.width // size.heads
    t = f"Transformer/{names.block}"
    qkv = [f"{t}/{names.attention}/{x}" for x in ("query", "key", "value")]
    return [
        *_flax_ends(size, names),
        *_flax_norm(f"{t}/LayerNorm_0", f"{BLOCK}.attn.norm"),
        rule(
            tuple(f"{x}/kernel" for x in qkv),
            f"{BLOCK}.attn.f.qkv.weight",
            ops.reshape((d, h, w), (d, d)),
            ops.permute(1, 0),
            ops.concat(3),
        ),
        rule(
            tuple(f"{x}/bias" for x in qkv),
            f"{BLOCK}.attn.f.qkv.bias",
            ops.reshape((h, w), (d,)),
            ops.concat(3),
        ),
        rule(
            f"{t}/{names.attention}/out/kernel",
            f"{BLOCK}.attn.f.out.weight",
            ops.reshape((h, w, d), (d, d)),
            ops.permute(1, 0),
        ),
        rename(f"{t}/{names.attention}/out/bias", f"{BLOCK}.attn.f.out.bias"),
        *_flax_norm(f"{t}/{names.norm}", f"{BLOCK}.mlp.norm"),
        *_flax_linear(f"{t}/{names.mlp}/Dense_0", f"{BLOCK}.mlp.f.up"),
        *_flax_linear(f"{t}/{names.mlp}/Dense_1", f"{BLOCK}.mlp.f.down"),
    ]


def stacked_rules(size: Size, names: Names) -> Rules:
    """The same with every layer's tensors along the first axis of one array."""
    d, h, w, n = size.width, size.heads, size.width // size.heads, size.layers
    t = f"Transformer/{names.block}"
    a = f"{t}/{names.attention}"
    qkv = [f"{a}/{x}" for x in ("query", "key", "value")]
    weights = tuple(f"{BLOCK}.attn.f.qkv.weight".replace("{i}", str(i)) for i in range(n))
    biases = tuple(f"{BLOCK}.attn.f.qkv.bias".replace("{i}", str(i)) for i in range(n))
    flip, join, apart = ops.permute(0, 2, 1), ops.concat(3, dim=1), ops.unbind(n)
    return [
        *_flax_ends(size, names),
        rule(
            tuple(f"{x}/kernel" for x in qkv),
            weights,
            *(ops.reshape((n, d, h, w), (n, d, d)), flip, join, apart),
        ),
        rule(tuple(f"{x}/bias" for x in qkv), biases, ops.reshape((n, h, w), (n, d)), join, apart),
        unbind(
            f"{a}/out/kernel",
            f"{BLOCK}.attn.f.out.weight",
            n,
            *(ops.reshape((h, w, d), (d, d)), ops.permute(1, 0)),
        ),
        unbind(f"{a}/out/bias", f"{BLOCK}.attn.f.out.bias", n),
        *(
            one
            for theirs, ours in (("LayerNorm_0", "attn.norm"), (names.norm, "mlp.norm"))
            for one in (
                unbind(f"{t}/{theirs}/scale", f"{BLOCK}.{ours}.weight", n),
                unbind(f"{t}/{theirs}/bias", f"{BLOCK}.{ours}.bias", n),
            )
        ),
        *(
            one
            for theirs, ours in (("Dense_0", "up"), ("Dense_1", "down"))
            for one in (
                unbind(
                    f"{t}/{names.mlp}/{theirs}/kernel",
                    f"{BLOCK}.mlp.f.{ours}.weight",
                    n,
                    ops.permute(1, 0),
                ),
                unbind(f"{t}/{names.mlp}/{theirs}/bias", f"{BLOCK}.mlp.f.{ours}.bias", n),
            )
        ),
    ]


def _flax_ends(size: Size, names: Names) -> Rules:
    return [
        _class("cls"),
        _positions(names.positions, size),
        transpose("embedding/kernel", f"{EMBED}.patches.weight", (3, 2, 0, 1)),
        rename("embedding/bias", f"{EMBED}.patches.bias"),
        *_flax_norm("Transformer/encoder_norm", "tower.stack.norm"),
        *_flax_linear("pre_logits", POOL),
        *_flax_linear("head", "head"),
    ]


def _flax_norm(theirs: str, ours: str) -> Rules:
    return [rename(f"{theirs}/scale", f"{ours}.weight"), rename(f"{theirs}/bias", f"{ours}.bias")]


def _flax_linear(theirs: str, ours: str) -> Rules:
    return [
        transpose(f"{theirs}/kernel", f"{ours}.weight"),
        rename(f"{theirs}/bias", f"{ours}.bias"),
    ]


def hf_names(old: bool) -> Names:
    """Hugging Face's: the names in files (`old`), and those that transformers 5 uses in memory."""
    if old:
        return Names("encoder.layer.{i}", "attention.attention.query", "intermediate.dense")
    return Names("layers.{i}", "attention.q_proj", "mlp.fc1")


def hf_rules(names: Names, start: str, size: Size) -> Rules:
    """Hugging Face's; `start` is "vit." under a classifier and empty for the bare ViTModel."""
    t = f"{start}{names.block}"
    if names == hf_names(True):
        qkv = tuple(f"{t}.attention.attention.{x}.*" for x in ("query", "key", "value"))
        out, down = f"{t}.attention.output.dense.*", f"{t}.output.dense.*"
    else:
        qkv = tuple(f"{t}.attention.{x}_proj.*" for x in "qkv")
        out, down = f"{t}.attention.o_proj.*", f"{t}.mlp.fc2.*"
    return [
        _class(f"{start}embeddings.cls_token"),
        _positions(f"{start}embeddings.position_embeddings", size),
        rename(f"{start}embeddings.patch_embeddings.projection.*", f"{EMBED}.patches.*"),
        rename(f"{t}.layernorm_before.*", f"{BLOCK}.attn.norm.*"),
        stack(qkv, f"{BLOCK}.attn.f.qkv.*"),
        rename(out, f"{BLOCK}.attn.f.out.*"),
        rename(f"{t}.layernorm_after.*", f"{BLOCK}.mlp.norm.*"),
        rename(f"{t}.{names.mlp}.*", f"{BLOCK}.mlp.f.up.*"),
        rename(down, f"{BLOCK}.mlp.f.down.*"),
        rename(f"{start}layernorm.*", "tower.stack.norm.*"),
        rename("classifier.*", "head.*") if start else rename("pooler.dense.*", f"{POOL}.*"),
    ]
