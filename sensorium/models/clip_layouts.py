"""CLIP's weights as OpenAI, open_clip and Hugging Face publish them: to our models, and back."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sensorium.data.tokenizers import ClipBPE
from sensorium.data.tokenizers.clip_bpe import KIND, VOCAB
from sensorium.media.specs import Spec, openai_clip
from sensorium.models.clip import ResNetSize, TextSize, ViTSize, clip_resnet, clip_vit
from sensorium.models.clip_rules import HF_MAP, OPEN_MAPS, OPEN_TEXT_MAPS, OPENAI_MAPS
from sensorium.models.declaration import Declaration
from sensorium.models.hf_files import CLIP_ACTS, clip_config, clip_processor, clip_tokenizer
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    agree,
    built,
    config_of,
    grid,
    layers,
    matches,
    must,
    normaliser,
    number,
    only,
    part,
    shape,
    whole,
)
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

HEAD = 64  # the width of a head in all of OpenAI's models, and in every text tower
WIDEST = 1024  # of the image towers with such heads; ViT-H and larger ones differ
EPS = 1e-5
ACT_UNKNOWN = (
    'no tensor shows which activation the weights were trained with: say act="quick_gelu"'
    " (OpenAI's weights and models trained like them) or act=\"gelu\" (most of LAION's and"
    " DataComp's), as their publisher says, or put {file} beside the file"
)


# --- from a file to a model -----------------------------------------------------------------------


def openai_sizes(
    shapes: Shapes, text: str, heads: int | None
) -> tuple[ViTSize | ResNetSize, TextSize, int]:
    """Both towers' sizes from shapes in OpenAI's names; `text` is the prefix of the text tower.

    `heads` are those of a ViT tower; None stands for the 64-wide ones of OpenAI's models.
    """
    words = text_size(
        shapes,
        f"{text}token_embedding.weight",
        f"{text}positional_embedding",
        f"{text}transformer.resblocks.{{i}}.attn.in_proj_weight",
    )
    embed = shape(shapes, f"{text}text_projection", 2)[1]
    if "visual.proj" in shapes:
        conv = shape(shapes, "visual.conv1.weight", 4)
        rows = shape(shapes, "visual.positional_embedding", 2)[0]
        depth = layers(shapes, "visual.transformer.resblocks.{i}.attn.in_proj_weight")
        side = conv[3] * grid(rows, "visual.positional_embedding")
        wide = heads or by_width(conv[0], HEAD, "the image tower")
        return ViTSize(side, conv[3], conv[0], depth, wide), words, embed
    width = shape(shapes, "visual.layer1.0.conv1.weight", 4)[0]
    key = "visual.attnpool.positional_embedding"
    side = 32 * grid(shape(shapes, key, 2)[0], key)
    depths = tuple(layers(shapes, f"visual.layer{s}.{{i}}.conv1.weight") for s in (1, 2, 3, 4))
    blocks = (depths[0], depths[1], depths[2], depths[3])
    return ResNetSize(side, blocks, width, by_width(32 * width, HEAD, "the pool")), words, embed


def text_size(shapes: Shapes, word: str, pos: str, block: str) -> TextSize:
    """The text tower's size; its heads are 64 wide in every published CLIP model of these names."""
    vocab, width = shape(shapes, word, 2)
    length, _ = shape(shapes, pos, 2)
    heads = by_width(width, HEAD, "the text tower")
    return TextSize(vocab, length, width, layers(shapes, block), heads)


def by_width(width: int, head: int, what: str) -> int:
    """How many heads of a width there are."""
    if width % head:
        raise WeightsError(f"{what} is {width} wide, which is no multiple of heads of {head}")
    return width // head


def _declared(
    image: ViTSize | ResNetSize, text: TextSize, embed: int, act: str, eps: float
) -> Declaration:
    """The declaration of a CLIP model of these sizes."""
    function = clip_vit if isinstance(image, ViTSize) else clip_resnet
    return Declaration(function, dict(image=image, text=text, embed=embed, act=act, eps=eps))


def words(size: TextSize) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """CLIP's tokenizer, if the vocabulary is of its size; else none, and a note."""
    if size.vocab == VOCAB:
        return dict(ClipBPE(size.length).spec()), ()
    return None, (f"vocabulary of {size.vocab}, not CLIP's {VOCAB}: no tokenizer, texts not read",)


def _openai(shapes: Shapes, said: Said) -> Understood:
    where = "layout openai-clip"
    act = agree(where, "act", said.act, "quick_gelu")
    eps = agree(where, "eps", said.eps, EPS)
    agree(where, "heads", said.heads, None)
    image, text, embed = openai_sizes(shapes, "", None)
    tokenizer, notes = words(text)
    declaration = _declared(image, text, embed, act, eps)
    return Understood(declaration, openai_clip(image.pixels), tokenizer, None, notes)


def _open(prefixed: str):
    def understand(shapes: Shapes, said: Said) -> Understood:
        config = said.beside.get("open_clip_config.json")
        act, heads, spec, notes = said.act, said.heads, None, ()
        model: Mapping[str, Any] = {}
        if config is not None:
            model = part(config, "model_cfg", "open_clip_config.json")
            where = "open_clip_config.json"
            act = agree(where, "act", act, "quick_gelu" if model.get("quick_gelu") else "gelu")
            heads = agree(where, "heads", heads, _open_config(model))
            spec = part(config, "preprocess_cfg", where) if "preprocess_cfg" in config else None
        if act is None:
            raise WeightsError(ACT_UNKNOWN.format(file="its open_clip_config.json"))
        image, text, embed = openai_sizes(shapes, prefixed, heads)
        if model:
            told = {"image_size": image.pixels, "width": image.width}
            matches(model["vision_cfg"], told, "open_clip_config.json: vision_cfg")
            told = {"context_length": text.length, "vocab_size": text.vocab, "width": text.width}
            matches(model["text_cfg"], told, "open_clip_config.json: text_cfg")
        if isinstance(image, ViTSize) and heads is None and image.width > WIDEST:
            raise WeightsError(
                f"an image tower {image.width} wide has heads of 80 or more: say heads=, or put its"
                " open_clip_config.json beside the file (ViT-H-14 has 16)"
            )
        if spec is None:
            notes = ("no preprocess_cfg beside the file: OpenAI's transform, open_clip's default",)
        tokenizer, more = words(text)
        declaration = _declared(image, text, embed, act, agree("open-clip", "eps", said.eps, EPS))
        return Understood(
            declaration, _open_transform(image.pixels, spec or {}), tokenizer, None, notes + more
        )

    return understand


def _open_config(model: Mapping[str, Any]) -> int | None:
    """Heads of the image tower, once everything else that the configuration says is understood."""
    vision, text = (part(model, key, "model_cfg") for key in ("vision_cfg", "text_cfg"))
    only(
        {k: v for k, v in model.items() if k not in ("vision_cfg", "text_cfg")},
        {"embed_dim": ..., "quick_gelu": ..., "custom_text": ...},
        "open_clip_config.json",
    )
    plain = {"layers": ..., "width": ..., "mlp_ratio": 4.0, "ls_init_value": None}
    image = {"image_size": ..., "patch_size": ..., "head_width": ..., "pool_type": "tok"}
    only(vision, plain | image, "vision_cfg")
    language = {"context_length": ..., "vocab_size": ..., "heads": ..., "pool_type": "argmax"}
    only(text, plain | language, "text_cfg")
    heads, width = whole(text, "heads", 8, "text_cfg"), whole(text, "width", 512, "text_cfg")
    if heads * HEAD != width:
        raise WeightsError(f"text_cfg asks for {heads} heads of {width}, not {HEAD} wide ones")
    if isinstance(vision.get("layers"), list):
        only(vision, plain | image | {"head_width": HEAD}, "vision_cfg")
        return None
    head = whole(vision, "head_width", HEAD, "vision_cfg")
    return by_width(whole(vision, "width", 768, "vision_cfg"), head, "vision_cfg: an image tower")


def _open_transform(pixels: int, said: Mapping[str, Any]) -> Spec:
    known = {"mean": ..., "std": ..., "size": ..., "mode": "RGB", "fill_color": ...}
    known |= {"resize_mode": "shortest", "interpolation": "bicubic"}
    only(said, known, "preprocess_cfg")
    return openai_clip(pixels) | normaliser(said, "mean", "std", "preprocess_cfg")


def _hf(shapes: Shapes, said: Said) -> Understood:
    conv = shape(shapes, "vision_model.embeddings.patch_embedding.weight", 4)
    key = "vision_model.embeddings.position_embedding.weight"
    rows = shape(shapes, key, 2)[0]
    depth = layers(shapes, "vision_model.encoder.layers.{i}.self_attn.q_proj.weight")
    text = text_size(
        shapes,
        "text_model.embeddings.token_embedding.weight",
        "text_model.embeddings.position_embedding.weight",
        "text_model.encoder.layers.{i}.self_attn.q_proj.weight",
    )
    embed = shape(shapes, "visual_projection.weight", 2)[0]
    act, eps, heads = said.act, said.eps, said.heads
    config = config_of(said, "config.json", ("clip",))
    notes: tuple[str, ...] = ()
    if config is not None:
        act, eps, heads, notes = _hf_config(config, said, text, conv[0])
    if act is None:
        raise WeightsError(ACT_UNKNOWN.format(file="its config.json (hidden_act)"))
    if heads is None and conv[0] > WIDEST:
        raise WeightsError(
            f"an image tower {conv[0]} wide has heads of 80 or more: say heads=, or put its"
            " config.json beside the file"
        )
    heads = heads or by_width(conv[0], HEAD, "the image tower")
    image = ViTSize(conv[3] * grid(rows, key), conv[3], conv[0], depth, heads)
    if config is not None:
        told = {"image_size": image.pixels, "patch_size": image.patch, "hidden_size": image.width}
        matches(config["vision_config"], told, "config.json: vision_config")
        told = {"vocab_size": text.vocab, "hidden_size": text.width}
        matches(config["text_config"], told, "config.json: text_config")
    tokenizer, more = words(text)
    spec, told = clip_processor(image.pixels, said.beside.get("preprocessor_config.json"))
    declaration = _declared(image, text, embed, act, eps if eps is not None else EPS)
    return Understood(declaration, spec, tokenizer, None, notes + told + more)


def _hf_config(
    config: Mapping[str, Any], said: Said, text: TextSize, width: int
) -> tuple[str, float, int, tuple[str, ...]]:
    towers = [part(config, key, "config.json") for key in ("text_config", "vision_config")]
    acts = {str(one.get("hidden_act", "quick_gelu")) for one in towers}
    norms = {number(one, "layer_norm_eps", EPS, "config.json") for one in towers}
    if len(acts) > 1 or len(norms) > 1 or not acts <= set(CLIP_ACTS):
        raise WeightsError(
            f"config.json: hidden_act {sorted(acts)} and layer_norm_eps {sorted(norms)}; both"
            f" towers must have one of {sorted(CLIP_ACTS)} and one eps"
        )
    heads = [
        whole(one, "num_attention_heads", default, "config.json")
        for one, default in zip(towers, (8, 12), strict=True)
    ]
    if heads[0] != text.heads or width % heads[1]:
        raise WeightsError(f"config.json asks for {heads} heads, which the towers cannot have")
    unsaid = any("hidden_act" not in one for one in towers)
    notes = ("config.json leaves out hidden_act: quick_gelu, its default",) if unsaid else ()
    return (
        agree("config.json", "act", said.act, CLIP_ACTS[acts.pop()]),
        agree("config.json", "eps", said.eps, norms.pop()),
        agree("config.json", "heads", said.heads, heads[1]),
        notes,
    )


# --- from a model to files ----------------------------------------------------------------------


def _openai_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    by_tower(OPENAI_MAPS, "openai-clip")(declaration)
    args = declaration.args
    must(args["act"] == "quick_gelu", "openai-clip", f"it means quick_gelu, not {args['act']}")
    _clip_parts(declaration, manifest, "openai-clip")
    must(_head(declaration) == HEAD, "openai-clip", "its image tower's heads are not 64 wide")
    plain = openai_clip(args["image"].pixels)
    must(_means(manifest, plain), "openai-clip", "its mean and std are not OpenAI's")
    return {}


def _open_files(
    layout: str, declaration: Declaration, manifest: Mapping[str, Any]
) -> dict[str, bytes]:
    by_tower(OPEN_MAPS, layout)(declaration)
    args = declaration.args
    image, text = args["image"], args["text"]
    must(args["act"] in ("quick_gelu", "gelu"), layout, f"it knows no {args['act']}")
    _clip_parts(declaration, manifest, layout)
    deep = image.layers if isinstance(image, ViTSize) else list(image.blocks)
    vision = {"image_size": image.pixels, "layers": deep, "width": image.width}
    vision |= {"patch_size": image.patch if isinstance(image, ViTSize) else None}
    vision |= {"head_width": _head(declaration)}
    language = {"context_length": text.length, "vocab_size": text.vocab, "width": text.width}
    language |= {"heads": text.heads, "layers": text.layers}
    model = {"embed_dim": args["embed"], "quick_gelu": args["act"] == "quick_gelu"}
    spec = manifest["transform"]
    config = {
        "model_cfg": model | {"vision_cfg": vision, "text_cfg": language},
        "preprocess_cfg": {"mean": list(spec["mean"]), "std": list(spec["std"])},
    }
    return {"open_clip_config.json": json.dumps(config, indent=1).encode()}


def _hf_export(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, clip_vit), "hf-clip", "it holds ViT models only")
    acts = CLIP_ACTS.values()
    must(declaration.args["act"] in acts, "hf-clip", f"it knows no {declaration.args['act']}")
    return clip_config(declaration) | clip_tokenizer(manifest["tokenizer"]) | _processor(manifest)


def _processor(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    spec = manifest["transform"]
    side = {"height": spec["size"], "width": spec["size"]}
    plain = spec["name"].split("-", 1)[-1] == "shorter-crop/1" and spec["filter"] == "bicubic"
    must(plain, "hf-clip", f"its transform {spec['name']} is not CLIP's")
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), True),
        "do_convert_rgb": True,
        "resample": 3,
        "size": {"shortest_edge": spec["resize"]},
        "crop_size": side,
        "rescale_factor": 1 / 255,
        "image_mean": list(spec["mean"]),
        "image_std": list(spec["std"]),
    }
    return {"preprocessor_config.json": json.dumps(settings, indent=1).encode()}


def _clip_parts(declaration: Declaration, manifest: Mapping[str, Any], layout: str) -> None:
    args, words = declaration.args, manifest["tokenizer"]
    own = words is None or words["kind"] == KIND or args["text"].vocab != VOCAB
    must(own, layout, "its tokenizer is not CLIP's, but its vocabulary is as large")
    must(args["eps"] == EPS, layout, f"it means eps {EPS}, not {args['eps']}")
    narrow = args["text"].heads * HEAD == args["text"].width
    must(narrow, layout, "its text tower's heads are not 64 wide")


def _head(declaration: Declaration) -> int:
    image = declaration.args["image"]
    wide = image.width if isinstance(image, ViTSize) else 32 * image.width
    return wide // image.heads


def _means(manifest: Mapping[str, Any], plain: Spec) -> bool:
    return all(list(manifest["transform"][k]) == list(plain[k]) for k in ("mean", "std"))


def _hf_map(declaration: Declaration) -> KeyMap:
    must(built(declaration, clip_vit), "hf-clip", "it holds ViT models only")
    return HF_MAP


def by_tower(maps: tuple[KeyMap, KeyMap], layout: str):
    """The choice between the map of the ViT and that of the ResNet."""

    def choose(declaration: Declaration) -> KeyMap:
        for one, function in zip(maps, (clip_vit, clip_resnet), strict=True):
            if built(declaration, function):
                return one
        raise WeightsError(
            f"layout {layout} cannot hold this model: it holds CLIP models,"
            f" not {declaration.function.__name__}"
        )

    return choose


LAYOUTS = (
    Published(
        "openai-clip",
        "OpenAI's nine CLIP models (quick_gelu)",
        OPENAI_MAPS,
        _openai,
        by_tower(OPENAI_MAPS, "openai-clip"),
        _openai_files,
    ),
    Published(
        "open-clip",
        "open_clip's CLIP models; needs act= or open_clip_config.json",
        OPEN_MAPS,
        _open(""),
        by_tower(OPEN_MAPS, "open-clip"),
        partial(_open_files, "open-clip"),
        "open_clip_model.safetensors",
    ),
    Published(
        "open-clip-text",
        "the same with the text tower under text. (custom_text); needs act= or its config",
        OPEN_TEXT_MAPS,
        _open("text."),
        by_tower(OPEN_TEXT_MAPS, "open-clip-text"),
        partial(_open_files, "open-clip-text"),
        "open_clip_model.safetensors",
    ),
    Published(
        "hf-clip",
        "Hugging Face's CLIPModel (ViT); needs act= or config.json",
        (HF_MAP,),
        _hf,
        _hf_map,
        _hf_export,
    ),
)
