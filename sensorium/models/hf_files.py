"""The JSON files of Hugging Face's CLIP folders: read, and written for transformers to open."""

import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from sensorium.data.tokenizers.bpe import BYTES, PLACE
from sensorium.data.tokenizers.clip_bpe import KIND, TABLE, VOCAB
from sensorium.media.specs import Spec, openai_clip
from sensorium.models.declaration import Declaration
from sensorium.models.published import normaliser, number, only
from sensorium.weights.errors import WeightsError

CLIP_ACTS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
BICUBIC = 3
START, END = "<|startoftext|>", "<|endoftext|>"


def clip_processor(pixels: int, settings: Mapping[str, Any] | None) -> tuple[Spec, tuple[str, ...]]:
    """The transform of a CLIP folder, from its preprocessor_config.json if there is one.

    It is OpenAI's with the file's mean and std. Hugging Face's own differs from that by a crop one
    pixel to the left or up where the picture overlaps by an odd number of pixels.

    Raises:
        WeightsError: the file asks for another resize, crop or scale.
    """
    spec, where = openai_clip(pixels), "preprocessor_config.json"
    if settings is None:
        return spec, ("no preprocessor_config.json beside the file: OpenAI's transform",)
    side = {"height": pixels, "width": pixels}
    size = settings.get("size", pixels)
    crop = settings.get("crop_size", pixels)
    if size not in (pixels, {"shortest_edge": pixels}) or crop not in (pixels, side):
        raise WeightsError(f"{where} resizes to {size} and crops {crop}; the model reads {pixels}")
    flags = ("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb")
    fixed = {key: settings[key] for key in (*flags, "resample") if key in settings}
    only(fixed, dict.fromkeys(flags, True) | {"resample": BICUBIC}, where)
    rescaled(settings, where)
    return spec | normaliser(settings, "image_mean", "image_std", where), ()


def rescaled(settings: Mapping[str, Any], where: str) -> None:
    """Refuses pixels scaled by another factor than 1/255."""
    if abs(number(settings, "rescale_factor", 1 / 255, where) * 255 - 1) > 1e-6:
        raise WeightsError(f"{where} scales pixels by another factor than 1/255")


def clip_config(declaration: Declaration) -> dict[str, bytes]:
    """config.json of a CLIP model with a ViT."""
    args = declaration.args
    image, text, embed = args["image"], args["text"], args["embed"]
    act = {ours: theirs for theirs, ours in CLIP_ACTS.items()}[args["act"]]
    common = {"hidden_act": act, "layer_norm_eps": args["eps"], "projection_dim": embed}
    language = {
        "model_type": "clip_text_model",
        **tower(text),
        "max_position_embeddings": text.length,
        "vocab_size": text.vocab,
        "bos_token_id": text.vocab - 2,
        "eos_token_id": text.vocab - 1,
        "pad_token_id": 1,
    }
    vision = {
        "model_type": "clip_vision_model",
        **tower(image),
        "image_size": image.pixels,
        "patch_size": image.patch,
    }
    config = {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": embed,
        "text_config": language | common,
        "vision_config": vision | common,
    }
    return {"config.json": json.dumps(config, indent=1).encode()}


def tower(size: Any) -> dict[str, int]:
    """Width, depth and heads of a tower in Hugging Face's words."""
    return {
        "hidden_size": size.width,
        "intermediate_size": 4 * size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
    }


def clip_tokenizer(spec: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The files of CLIP's tokenizer; none where the model has no tokenizer.

    Raises:
        WeightsError: the model has another tokenizer, which CLIPTokenizer cannot be.
    """
    if spec is None:
        return {}
    if spec.get("kind") != KIND:
        raise WeightsError(f"layout hf-clip: tokenizer {spec.get('kind')} is not CLIP's")
    packed = (files("sensorium.data.tokenizers") / "tables" / TABLE).read_bytes()
    merges = gzip.decompress(packed).decode().split("\n")[1 : VOCAB - 512 - 2 + 1]
    letters = [BYTES[b] for b in PLACE]
    names = [*letters, *(x + "</w>" for x in letters), *(m.replace(" ", "") for m in merges)]
    vocab = {name: i for i, name in enumerate([*names, START, END])}
    about = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": spec["length"],
        "bos_token": START,
        "eos_token": END,
        "unk_token": END,
        "pad_token": END,
    }
    return {
        "vocab.json": json.dumps(vocab, ensure_ascii=False).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
        "tokenizer_config.json": json.dumps(about, indent=1).encode(),
    }
