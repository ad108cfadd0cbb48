"""The key-map rules of ViLT's published layouts: the original release and Hugging Face."""

from collections.abc import Collection

import torch

from sensorium.models.bert_rules import Rules, norm_rules
from sensorium.weights.rules import KeyMap, State, drop, rename, reshape, stack

BLOCK = "stack.blocks.{i}"
WORDS = "text.words.pos.weight"


def original_vilt(heads: Collection[str], positions: int, width: int) -> KeyMap:
    """The release's checkpoints (`state_dict` of a Lightning file)."""
    t = "transformer.blocks.{i}"
    return KeyMap(
        [
            *_words("text_embeddings"),
            rename("token_type_embeddings.weight", "image.kind.weight"),
            *_picture(
                "transformer", "cls_token", "pos_embed", "patch_embed.proj", positions, width
            ),
            *norm_rules(f"{t}.norm1", f"{BLOCK}.attn.norm"),
            rename(f"{t}.attn.qkv.*", f"{BLOCK}.attn.f.qkv.*"),
            rename(f"{t}.attn.proj.*", f"{BLOCK}.attn.f.out.*"),
            *norm_rules(f"{t}.norm2", f"{BLOCK}.mlp.norm"),
            rename(f"{t}.mlp.fc1.*", f"{BLOCK}.mlp.f.up.*"),
            rename(f"{t}.mlp.fc2.*", f"{BLOCK}.mlp.f.down.*"),
            *norm_rules("transformer.norm", "stack.norm"),
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
    at = "position_embeddings", "patch_embeddings.projection"
    twice = "mlm_score.decoder.bias"
    return KeyMap(
        [
            *_words(f"{e}.text_embeddings"),
            rename(f"{e}.token_type_embeddings.weight", "image.kind.weight"),
            *_picture(e, "cls_token", *at, positions, width),
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


def _words(theirs: str) -> Rules:
    """The word embedding; its buffer of positions is 0, 1, 2 ..."""
    buffer = f"{theirs}.position_ids"

    def restore(state: State) -> State:
        return {buffer: torch.arange(len(state[WORDS]))[None]}

    tables = {"word": "word", "position": "pos", "token_type": "segment"}
    return [
        *(
            rename(f"{theirs}.{old}_embeddings.weight", f"text.words.{ours}.weight")
            for old, ours in tables.items()
        ),
        *norm_rules(f"{theirs}.LayerNorm", "text.words.norm"),
        drop(buffer, restore),
    ]


def _picture(start: str, cls: str, pos: str, patches: str, positions: int, width: int) -> Rules:
    """Class token, positions and projection of patches."""
    shapes = (1, positions, width), (positions, width)
    return [
        reshape(f"{start}.{cls}", "image.cls", (1, 1, -1), (-1,)),
        reshape(f"{start}.{pos}", "image.pos", *shapes),
        rename(f"{start}.{patches}.*", "image.patches.*"),
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
