"""LLaVA's weights as Hugging Face and its authors publish them: to our model, and back.

Both files hold all of CLIP's tower, of which the last layer and the norm behind it are never run:
they are left out, and an export says that the tower ends where it is read.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sensorium.media.specs import Spec, openai_clip, padded_clip
from sensorium.models.declaration import Declaration
from sensorium.models.decoder_rules import llama_map
from sensorium.models.hf_files import CLIP_ACTS, clip_processor
from sensorium.models.llama import Size, llama
from sensorium.models.llama_layouts import LAYOUTS as LLAMA_LAYOUTS
from sensorium.models.llava import TINY, TINY_LINEAR, Tower, language, llava
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    agree,
    built,
    config_of,
    grid,
    must,
    number,
    only,
    part,
    shape,
    whole,
)
from sensorium.models.word_export import told
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import Drop, KeyMap, Rule, drop, prefix, rename, stack

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
THEIRS = {ours: theirs for theirs, ours in CLIP_ACTS.items()}
HEAD = 64  # the width of a head in OpenAI's towers
Rules = list[Rule | Drop]


class Names(NamedTuple):
    """What a layout calls its parts: what stands before the names of tower and language model."""

    tower: str
    text: str
    mlp: tuple[str, str]
    linear: str | None


HF = Names(
    tower="vision_tower.vision_model.",
    text="language_model.",
    mlp=("multi_modal_projector.linear_1", "multi_modal_projector.linear_2"),
    linear=None,
)
HF5 = HF._replace(tower="vision_tower.")
ORIGINAL = Names(
    tower="model.vision_tower.vision_tower.vision_model.",
    text="",
    mlp=("model.mm_projector.0", "model.mm_projector.2"),
    linear="model.mm_projector",
)
LLAMA = next(one for one in LLAMA_LAYOUTS if one.name == "hf-llama")


# --- names ------------------------------------------------------------------------------------


def tower_rules(layers: int | None) -> Rules:
    """CLIP's image tower; with a count of layers those behind it are left out, and must be few."""
    rules: Rules = [
        rename("embeddings.class_embedding", "embed.cls"),
        rename("embeddings.patch_embedding.weight", "embed.patches.weight"),
        rename("embeddings.position_embedding.weight", "embed.pos"),
        rename("pre_layrnorm.*", "embed.norm.*"),
        drop("embeddings.position_ids"),
        drop("post_layernorm.*"),
    ]
    for i in ["{i}"] if layers is None else range(layers):
        t, o = f"encoder.layers.{i}", f"stack.blocks.{i}"
        rules += [
            rename(f"{t}.layer_norm1.*", f"{o}.attn.norm.*"),
            stack(tuple(f"{t}.self_attn.{x}_proj.*" for x in "qkv"), f"{o}.attn.f.qkv.*"),
            rename(f"{t}.self_attn.out_proj.*", f"{o}.attn.f.out.*"),
            rename(f"{t}.layer_norm2.*", f"{o}.mlp.norm.*"),
            rename(f"{t}.mlp.fc1.*", f"{o}.mlp.f.up.*"),
            rename(f"{t}.mlp.fc2.*", f"{o}.mlp.f.down.*"),
        ]
    return rules if layers is None else [*rules, drop(f"encoder.layers.{layers}.**")]


def key_map(names: Names, declaration: Declaration, layers: int | None) -> KeyMap:
    """The rules for one model."""
    args = declaration.args
    t = args["text"]
    size = Size(t.width, t.layers, t.heads, t.groups, t.head, t.hidden)
    words = llama_map(size, not t.tied)
    bridge: Rules = [
        rename(f"{theirs}.*", f"bridge.{i}.*") for theirs, i in zip(names.mlp, (0, 2), strict=True)
    ]
    if args.get("bridge", "mlp") == "linear":
        bridge = [rename(f"{names.linear}.*", "bridge.*")]
    return KeyMap(
        [
            *prefix(tower_rules(layers), theirs=names.tower, ours="image."),
            *prefix([*words.rules, *words.drops], theirs=names.text, ours="decoder."),
            *bridge,
        ]
    )


def keys(names: Names, layout: str) -> Callable[[Declaration], KeyMap]:
    """The choice of the rules; a layout without a name for one linear bridge has none."""

    def keymap(declaration: Declaration) -> KeyMap:
        held(names, layout, declaration)
        return key_map(names, declaration, declaration.args["image"].layers)

    return keymap


def held(names: Names, layout: str, declaration: Declaration) -> None:
    """Refuses what the layout cannot hold."""
    must(built(declaration, llava), layout, "it holds LLaVA models only")
    one = declaration.args.get("bridge", "mlp") == "linear"
    must(not one or names.linear is not None, layout, "its bridge has two layers, not one")


# --- from files to models ----------------------------------------------------------------------


def tower_of(shapes: Shapes, names: Names, used: int, heads: int, act: str, eps: float) -> Tower:
    """The tower's size from shapes."""
    top = f"{names.tower}embeddings"
    if f"{top}.class_embedding" not in shapes:
        raise WeightsError(
            f"no tensor {top}.class_embedding: the file holds no image tower. Put the tensors of"
            f" the tower that config.json names beside it into one file, as {names.tower}*"
        )
    width, _, patch, _ = shape(shapes, f"{top}.patch_embedding.weight", 4)
    rows = shape(shapes, f"{top}.position_embedding.weight", 2)[0]
    if width % heads:
        raise WeightsError(f"an image tower {width} wide cannot have {heads} heads")
    side = patch * grid(rows, f"{top}.position_embedding.weight")
    return Tower(side, patch, width, used, heads, act, eps)


def depth(shapes: Shapes, names: Names, layer: Any) -> int:
    """How many layers are run to reach the states that are read.

    `layer` counts what enters the first layer as 0, and from the end below zero. At most one layer
    of those in the file may stand behind it.
    """
    start = f"{names.tower}encoder.layers."
    numbers = {int(key[len(start) :].split(".")[0]) for key in shapes if key.startswith(start)}
    count = max(numbers, default=-1) + 1
    if type(layer) is not int:
        raise WeightsError(f"{CONFIG}: the states of layers {layer!r} are read; one is known here")
    used = layer if layer >= 0 else count + 1 + layer
    if not count - 1 <= used <= count or used < 1:
        raise WeightsError(
            f"{CONFIG}: the states behind layer {used} of {count} are read; the last layer, or the"
            " one before it, is known here"
        )
    return used


def words_of(shapes: Shapes, said: Said, names: Names, config: Mapping[str, Any]) -> Understood:
    """The language model alone, its tokenizer and template with it."""
    kind = config.get("model_type", "llama")
    if kind not in ("llama", "llava", "llava_llama"):
        raise WeightsError(f"{CONFIG}: the language model is of model_type {kind!r}, not 'llama'")
    own = {k[len(names.text) :]: s for k, s in shapes.items() if k.startswith(names.text)}
    beside = dict(said.beside) | {CONFIG: {**config, "model_type": "llama"}}
    return LLAMA.understand(own, said._replace(beside=beside, act=None, heads=None))


def understood(of: Understood, tower: Tower, bridge: str, look: Spec, *notes: str) -> Understood:
    """Language model, tower and bridge as one."""
    try:
        text = language(of.declaration)
    except ValueError as wrong:
        raise WeightsError(str(wrong)) from wrong
    args = dict(image=tower, text=text, bridge=bridge)
    unread = "the layer of the image tower behind the states that are read, and its last norm, are"
    told = (*of.notes, *notes, f"{unread} left out")
    return of._replace(declaration=Declaration(llava, args), transform=look, notes=told)


def _hf(names: Names) -> Callable[[Shapes, Said], Understood]:
    def understand(shapes: Shapes, said: Said) -> Understood:
        config = config_of(said, CONFIG, ("llava",))
        if config is None:
            raise WeightsError("no tensor shows heads and context: put config.json beside the file")
        known = {"vision_feature_select_strategy": "default", "projector_hidden_act": "gelu"}
        known |= {"multimodal_projector_bias": True}
        only({key: config[key] for key in known if key in config}, known, CONFIG)
        sight = part(config, "vision_config", CONFIG)
        where = f"{CONFIG}: vision_config"
        only({"model_type": sight.get("model_type")}, {"model_type": "clip_vision_model"}, where)
        act = sight.get("hidden_act", "quick_gelu")
        if act not in CLIP_ACTS:
            raise WeightsError(f"{where}: hidden_act is {act!r}; known are {', '.join(CLIP_ACTS)}")
        heads = whole(sight, "num_attention_heads", 12, where)
        eps = number(sight, "layer_norm_eps", 1e-5, where)
        used = depth(shapes, names, config.get("vision_feature_layer", -2))
        tower = tower_of(shapes, names, used, heads, CLIP_ACTS[act], eps)
        size = shape(shapes, f"{names.tower}encoder.layers.0.mlp.fc1.weight", 2)
        if size != (4 * tower.width, tower.width):
            raise WeightsError(f"{where}: the tower's MLP is not four times as wide as the tower")
        of = words_of(shapes, said, names, part(config, "text_config", CONFIG))
        settings = said.beside.get(PROCESSOR)
        if settings is not None and settings.get("do_pad"):
            look, notes = padded_clip(tower.pixels), ()
        else:
            look, notes = clip_processor(tower.pixels, settings)
        return understood(of, tower, "mlp", look, *notes)

    return understand


def _original(shapes: Shapes, said: Said) -> Understood:
    config = config_of(said, CONFIG, ("llava", "llava_llama"))
    if config is None:
        raise WeightsError("no tensor shows heads and context: put config.json beside the file")
    known = {"mm_use_im_start_end": False, "mm_use_im_patch_token": ...}
    known |= {"mm_vision_select_feature": "patch", "mm_patch_merge_type": "flat"}
    only({key: config[key] for key in known if key in config}, known, CONFIG)
    kinds = {"linear": "linear", "mlp2x_gelu": "mlp"}
    bridge = config.get("mm_projector_type", "linear")
    if bridge not in kinds:
        raise WeightsError(f"{CONFIG}: mm_projector_type is {bridge!r}; known: {', '.join(kinds)}")
    name, notes = str(config.get("mm_vision_tower", "")), ()
    act = said.act
    if name.startswith("openai/clip-vit"):
        act = agree(CONFIG, "act", act, "quick_gelu")
    if act is None:
        raise WeightsError(
            f"{CONFIG} names the image tower {name!r}, whose activation is not known here: say"
            ' act="quick_gelu" (OpenAI\'s) or act="gelu"'
        )
    width = shape(shapes, f"{ORIGINAL.tower}pre_layrnorm.weight", 1)[0] if has(shapes) else HEAD
    heads = said.heads or max(1, width // HEAD)
    used = depth(shapes, ORIGINAL, config.get("mm_vision_select_layer", -2)) if has(shapes) else 0
    tower = tower_of(shapes, ORIGINAL, used, heads, act, said.eps or 1e-5)
    ratio = config.get("image_aspect_ratio", "square")
    if ratio not in ("square", "pad", None):
        raise WeightsError(f"{CONFIG}: image_aspect_ratio is {ratio!r}; known are square and pad")
    look = (padded_clip if ratio == "pad" else openai_clip)(tower.pixels)
    of = words_of(shapes, said._replace(eps=None), ORIGINAL, config)
    return understood(of, tower, kinds[bridge], look, *notes)


def has(shapes: Shapes) -> bool:
    """Whether an original file holds the image tower."""
    return any(key.startswith(ORIGINAL.tower) for key in shapes)


# --- from a model to files ----------------------------------------------------------------------


def _llama_config(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, Any]:
    t = declaration.args["text"]
    size = Size(t.width, t.layers, t.heads, t.groups, t.head, t.hidden)
    args = dict(size=size, vocab=t.vocab, length=t.length, eps=t.eps, theta=t.theta, tied=t.tied)
    return json.loads(LLAMA.files(Declaration(llama, args), manifest)[CONFIG])


def _hf_files(layout: str, names: Names):
    def files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
        held(names, layout, declaration)
        i = declaration.args["image"]
        must(i.act in THEIRS, layout, f"it knows no {i.act}")
        sight = {"model_type": "clip_vision_model", "hidden_size": i.width}
        sight |= {"intermediate_size": 4 * i.width, "num_hidden_layers": i.layers}
        sight |= {"num_attention_heads": i.heads, "image_size": i.pixels, "patch_size": i.patch}
        sight |= {"hidden_act": THEIRS[i.act], "layer_norm_eps": i.eps}
        text = _llama_config(declaration, manifest)
        config = {
            "model_type": "llava",
            "architectures": ["LlavaForConditionalGeneration"],
            "vision_config": sight,
            "text_config": text,
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
            "projector_hidden_act": "gelu",
            "multimodal_projector_bias": True,
            "image_seq_length": (i.pixels // i.patch) ** 2,
            "image_token_index": text["vocab_size"] - 1,
            "tie_word_embeddings": text["tie_word_embeddings"],
        }
        return {CONFIG: json.dumps(config, indent=1).encode()} | _processor(manifest, layout)

    return files


def _original_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    held(ORIGINAL, "llava", declaration)
    i, spec = declaration.args["image"], manifest["transform"]
    must(i.act == "quick_gelu" and i.eps == 1e-5, "llava", "its tower is not as OpenAI's are")
    must(i.heads * HEAD == i.width, "llava", f"its tower's heads are not {HEAD} wide")
    padded = spec == padded_clip(i.pixels)
    must(padded or spec == openai_clip(i.pixels), "llava", "it cannot say its transform")
    linear = declaration.args.get("bridge", "mlp") == "linear"
    config = _llama_config(declaration, manifest) | {
        "model_type": "llava",
        "architectures": ["LlavaLlamaForCausalLM"],
        "mm_projector_type": "linear" if linear else "mlp2x_gelu",
        "mm_hidden_size": i.width,
        "mm_vision_tower": f"openai/clip-vit-large-patch{i.patch}",
        "mm_vision_select_layer": -1,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": "pad" if padded else "square",
        "use_mm_proj": True,
    }
    return {CONFIG: json.dumps(config, indent=1).encode()}


def _processor(manifest: Mapping[str, Any], layout: str) -> dict[str, bytes]:
    spec, side = manifest["transform"], manifest["transform"]["size"]
    plain = {k: v for k, v in openai_clip(side).items() if k not in ("mean", "std")}
    same = {k: v for k, v in spec.items() if k not in ("mean", "std")} == plain
    must(same or spec == padded_clip(side), layout, f"it cannot say the transform {spec['name']}")
    settings = {
        "image_processor_type": "CLIPImageProcessor" if same else "LlavaImageProcessor",
        **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), True),
        **({} if same else {"do_pad": True}),
        "do_convert_rgb": True,
        "resample": 3,
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
        "rescale_factor": 1 / 255,
        "image_mean": list(spec["mean"]),
        "image_std": list(spec["std"]),
    }
    return {PROCESSOR: json.dumps(settings, indent=1).encode()}


def _maps(names: Names) -> tuple[KeyMap, ...]:
    tiny = (TINY, TINY_LINEAR) if names.linear is not None else (TINY,)
    return tuple(key_map(names, one, None) for one in tiny)


def _published(name: str, about: str, names: Names) -> Published:
    return Published(
        *(name, about, _maps(names), _hf(names), keys(names, name), _hf_files(name, names)),
        words=told,
    )


LAYOUTS = (
    _published("hf-llava", "Hugging Face's published LLaVA 1.5 (config.json beside it)", HF),
    _published("hf5-llava", "the same as transformers 5 writes it", HF5),
    Published(
        "llava",
        "the authors' LLaVA, its image tower in the file (config.json beside it)",
        _maps(ORIGINAL),
        _original,
        keys(ORIGINAL, "llava"),
        _original_files,
        words=told,
    ),
)
