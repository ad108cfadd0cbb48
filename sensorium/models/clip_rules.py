"""The key-map rules of CLIP's published layouts: their names and ours, in both directions."""

import torch

from sensorium.models.published import grid
from sensorium.weights.rules import (
    Drop,
    KeyMap,
    Rule,
    State,
    drop,
    prefix,
    rename,
    reshape,
    stack,
    transpose,
)

Rules = list[Rule | Drop]


def openai_blocks(theirs: str, ours: str) -> Rules:
    """A transformer in the names of OpenAI's release."""
    t, o = f"{theirs}.{{i}}", f"{ours}.{{i}}"
    return [
        rename(f"{t}.ln_1.*", f"{o}.attn.norm.*"),
        rename(f"{t}.attn.in_proj_*", f"{o}.attn.f.qkv.*"),
        rename(f"{t}.attn.out_proj.*", f"{o}.attn.f.out.*"),
        rename(f"{t}.ln_2.*", f"{o}.mlp.norm.*"),
        rename(f"{t}.mlp.c_fc.*", f"{o}.mlp.f.up.*"),
        rename(f"{t}.mlp.c_proj.*", f"{o}.mlp.f.down.*"),
    ]


OPENAI_TEXT: Rules = [
    rename("token_embedding.weight", "text.embed.word.weight"),
    rename("positional_embedding", "text.embed.pos"),
    *openai_blocks("transformer.resblocks", "text.stack.blocks"),
    rename("ln_final.*", "text.pool.norm.*"),
    transpose("text_projection", "text.pool.proj.weight"),
]
OPENAI_VIT: Rules = [
    rename("visual.class_embedding", "image.embed.cls"),
    rename("visual.positional_embedding", "image.embed.pos"),
    rename("visual.conv1.weight", "image.embed.patches.weight"),
    rename("visual.ln_pre.*", "image.embed.norm.*"),
    *openai_blocks("visual.transformer.resblocks", "image.stack.blocks"),
    rename("visual.ln_post.*", "image.pool.norm.*"),
    transpose("visual.proj", "image.pool.proj.weight"),
]
OPENAI_RESNET: Rules = [
    *(rename(f"visual.conv{k}.weight", f"image.trunk.conv{k}.weight") for k in (1, 2, 3)),
    *(rename(f"visual.bn{k}.*", f"image.trunk.bn{k}.*") for k in (1, 2, 3)),
    *(
        rename(f"visual.layer{s + 1}.{{j}}.{t}", f"image.trunk.stages.{s}.{{j}}.{o}")
        for s in range(4)
        for t, o in (
            *((f"conv{k}.weight", f"conv{k}.weight") for k in (1, 2, 3)),
            *((f"bn{k}.*", f"bn{k}.*") for k in (1, 2, 3)),
            ("downsample.0.weight", "shortcut.1.weight"),
            ("downsample.1.*", "shortcut.2.*"),
        )
    ),
    rename("visual.attnpool.positional_embedding", "image.pool.pos"),
    *(
        rename(f"visual.attnpool.{name}_proj.*", f"image.pool.{ours}.*")
        for name, ours in (("q", "q"), ("k", "k"), ("v", "v"), ("c", "out"))
    ),
]
SCALE: Rules = [reshape("logit_scale", "log_scale", (), (1,))]


def written_sizes(ours: State) -> State:
    """The three sizes that OpenAI's archives carry as tensors beside the weights."""
    if "image.embed.pos" in ours:
        patches = ours["image.embed.patches.weight"].shape[-1]
        pixels = patches * grid(ours["image.embed.pos"].shape[0], "image.embed.pos")
    else:
        pixels = 32 * grid(ours["image.pool.pos"].shape[0], "image.pool.pos")
    sizes = {
        "input_resolution": pixels,
        "context_length": ours["text.embed.pos"].shape[0],
        "vocab_size": ours["text.embed.word.weight"].shape[0],
    }
    return {name: torch.tensor(size) for name, size in sizes.items()}


def _written(name: str) -> Drop:
    return drop(name, lambda ours: {name: written_sizes(ours)[name]})


SIZES_WRITTEN: Rules = [_written(n) for n in ("input_resolution", "context_length", "vocab_size")]
HF_TOWERS: Rules = [
    rule
    for theirs, ours in (("text_model", "text"), ("vision_model", "image"))
    for t, o in [(f"{theirs}.encoder.layers.{{i}}", f"{ours}.stack.blocks.{{i}}")]
    for rule in (
        rename(f"{t}.layer_norm1.*", f"{o}.attn.norm.*"),
        stack(tuple(f"{t}.self_attn.{x}_proj.*" for x in "qkv"), f"{o}.attn.f.qkv.*"),
        rename(f"{t}.self_attn.out_proj.*", f"{o}.attn.f.out.*"),
        rename(f"{t}.layer_norm2.*", f"{o}.mlp.norm.*"),
        rename(f"{t}.mlp.fc1.*", f"{o}.mlp.f.up.*"),
        rename(f"{t}.mlp.fc2.*", f"{o}.mlp.f.down.*"),
        drop(f"{theirs}.embeddings.position_ids"),
    )
]
HF: Rules = [
    *HF_TOWERS,
    rename("text_model.embeddings.token_embedding.weight", "text.embed.word.weight"),
    rename("text_model.embeddings.position_embedding.weight", "text.embed.pos"),
    rename("text_model.final_layer_norm.*", "text.pool.norm.*"),
    rename("text_projection.weight", "text.pool.proj.weight"),
    rename("vision_model.embeddings.class_embedding", "image.embed.cls"),
    rename("vision_model.embeddings.patch_embedding.weight", "image.embed.patches.weight"),
    rename("vision_model.embeddings.position_embedding.weight", "image.embed.pos"),
    rename("vision_model.pre_layrnorm.*", "image.embed.norm.*"),
    rename("vision_model.post_layernorm.*", "image.pool.norm.*"),
    rename("visual_projection.weight", "image.pool.proj.weight"),
    *SCALE,
]
OPEN_TEXT: Rules = prefix(OPENAI_TEXT, theirs="text.")


def _maps(text: Rules, more: Rules) -> tuple[KeyMap, KeyMap]:
    return tuple(KeyMap([*tower, *text, *SCALE, *more]) for tower in (OPENAI_VIT, OPENAI_RESNET))  # type: ignore[return-value]


OPENAI_MAPS = _maps(OPENAI_TEXT, SIZES_WRITTEN)
OPEN_MAPS = _maps(OPENAI_TEXT, [])
OPEN_TEXT_MAPS = _maps(OPEN_TEXT, [])
HF_MAP = KeyMap(HF)
