"""The key-map rules of ViLT's published layouts: the original release and Hugging Face."""

from collections.abc import Collection

import torch

from sensorium.models.bert_rules import Rules, norm_rules
from sensorium.weights.rules import KeyMap, State, drop, rename, reshape, stack

BLOCK = "stack.blocks.{i}"
TIMM = "cls_token", "pos_embed", "patch_embed.proj"  # class token, positions, projection


def original_vilt(heads: Collection[str], positions: int, width: int) -> KeyMap:
    """The release's checkpoints (`state_dict` of a Lightning file)."""
    return KeyMap(
        [
            *word_rules("text_embeddings", "text.words"),
            rename("token_type_embeddings.weight", "image.kind.weight"),
            *picture_rules("transformer", "image", TIMM, (positions, width)),
            *trunk_rules("transformer", "stack"),
            rename("pooler.dense.*", "pool.proj.0.*"),
            *_heads(heads, {"vqa": "vqa_classifier", "nlvr": "nlvr2_classifier"}),
            rename("itm_score.fc.*", "heads.itm.*"),
        ]
    )


def hf_vilt(heads: Collection[str], positions: int, width: int) -> KeyMap:
    """transformers' Vilt classes; which one depends on the head. They have none for matching.

    Its head for masked words has its bias twice. Classes of today tie its decoder to the word table
    when they open a file, which the published weights are not: give them a state dict instead.
    """
    e, t = "vilt.embeddings", "vilt.encoder.layer.{i}"
    qkv = tuple(f"{t}.attention.attention.{part}.*" for part in ("query", "key", "value"))
    at = "cls_token", "position_embeddings", "patch_embeddings.projection"
    twice = "mlm_score.decoder.bias"
    return KeyMap(
        [
            *word_rules(f"{e}.text_embeddings", "text.words"),
            rename(f"{e}.token_type_embeddings.weight", "image.kind.weight"),
            *picture_rules(e, "image", at, (positions, width)),
            *norm_rules(f"{t}.layernorm_before", f"{BLOCK}.attn.norm"),
            stack(qkv, f"{BLOCK}.attn.f.qkv.*"),
            rename(f"{t}.attention.output.dense.*", f"{BLOCK}.attn.f.out.*"),
            *norm_rules(f"{t}.layernorm_after", f"{BLOCK}.mlp.norm"),
            rename(f"{t}.intermediate.dense.*", f"{BLOCK}.mlp.f.up.*"),
            rename(f"{t}.output.dense.*", f"{BLOCK}.mlp.f.down.*"),
            *norm_rules("vilt.layernorm", "stack.norm"),
            rename("vilt.pooler.dense.*", "pool.proj.0.*"),
            *_heads(heads, {"vqa": "classifier", "nlvr": "classifier"}),
            *([drop(twice, lambda s: {twice: s[_BIAS].clone()})] if "mlm" in heads else []),
        ]
    )


_BIAS = "heads.mlm.1.bias"


def word_rules(theirs: str, ours: str) -> Rules:
    """BERT's embedding with its buffer of positions, which is 0, 1, 2 ..."""
    buffer, table = f"{theirs}.position_ids", f"{ours}.pos.weight"

    def restore(state: State) -> State:
        return {buffer: torch.arange(len(state[table]))[None]}

    names = {"word": "word", "position": "pos", "token_type": "segment"}
    return [
        *(
            rename(f"{theirs}.{old}_embeddings.weight", f"{ours}.{new}.weight")
            for old, new in names.items()
        ),
        *norm_rules(f"{theirs}.LayerNorm", f"{ours}.norm"),
        drop(buffer, restore),
    ]


def picture_rules(
    theirs: str, ours: str, names: tuple[str, str, str], pos: tuple[int, int]
) -> Rules:
    """Class token, positions (rows, width) and projection of patches, by their three names."""
    cls, places, patches = names
    return [
        reshape(f"{theirs}.{cls}", f"{ours}.cls", (1, 1, -1), (-1,)),
        reshape(f"{theirs}.{places}", f"{ours}.pos", (1, *pos), pos),
        rename(f"{theirs}.{patches}.*", f"{ours}.patches.*"),
    ]


def trunk_rules(theirs: str, ours: str) -> Rules:
    """The layers of timm's ViT, and the norm behind them."""
    t, o = f"{theirs}.blocks.{{i}}", f"{ours}.blocks.{{i}}"
    return [
        *norm_rules(f"{t}.norm1", f"{o}.attn.norm"),
        rename(f"{t}.attn.qkv.*", f"{o}.attn.f.qkv.*"),
        rename(f"{t}.attn.proj.*", f"{o}.attn.f.out.*"),
        *norm_rules(f"{t}.norm2", f"{o}.mlp.norm"),
        rename(f"{t}.mlp.fc1.*", f"{o}.mlp.f.up.*"),
        rename(f"{t}.mlp.fc2.*", f"{o}.mlp.f.down.*"),
        *norm_rules(f"{theirs}.norm", f"{ours}.norm"),
    ]


def _heads(heads: Collection[str], answers: dict[str, str]) -> Rules:
    """The heads that both layouts have; `answers` are their names of those with many answers."""
    rules: Rules = []
    if "mlm" in heads:
        rules += [
            rename("mlm_score.transform.dense.*", "heads.mlm.0.dense.*"),
            *norm_rules("mlm_score.transform.LayerNorm", "heads.mlm.0.norm"),
            rename("mlm_score.decoder.weight", "heads.mlm.1.weight"),
            rename("mlm_score.bias", _BIAS),
        ]
    if "rank" in heads:
        rules.append(rename("rank_output.*", "heads.rank.head.*"))
    for name, theirs in answers.items():
        if name in heads:
            rules += [rename(f"{theirs}.{i}.*", f"heads.{name}.head.{i}.*") for i in (0, 1, 3)]
    return rules
