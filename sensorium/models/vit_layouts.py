"""ViT's weights as timm, Google and Hugging Face publish them: to our models, and back."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sensorium.media.specs import Spec, google_vit, square_vit, timm_vit
from sensorium.models.declaration import Declaration
from sensorium.models.hf_files import rescaled
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
from sensorium.models.vit import Size, vit
from sensorium.models.vit_rules import (
    BIG_VISION,
    GOOGLE,
    Names,
    flax_rules,
    hf_names,
    hf_rules,
    stacked_rules,
    timm_rules,
)
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}  # of a width, in every published ViT
EPS = 1e-6
HF_ACTS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
HF_EPS = 1e-12  # ViTConfig's default
PLAIN = Size(8, 8, 64, 2, 1, 64)  # any size: the names of a layout do not depend on it
BILINEAR, BICUBIC = 2, 3
TIMM = "config.json"


# --- timm -----------------------------------------------------------------------------------------


def _timm(shapes: Shapes, said: Said) -> Understood:
    conv = shape(shapes, "patch_embed.proj.weight", 4)
    config = said.beside.get("config.json")
    size = Size(
        conv[3] * grid(shape(shapes, "pos_embed", 3)[1], "pos_embed"),
        conv[3],
        conv[0],
        layers(shapes, "blocks.{i}.attn.qkv.weight"),
        _heads(conv[0], _timm_heads(config, said)),
        shape(shapes, "blocks.0.mlp.fc1.weight", 2)[0],
    )
    act, eps = agree("timm-vit", "act", said.act, "gelu"), agree("timm-vit", "eps", said.eps, EPS)
    declaration = _declared(shapes, size, act, eps, "head.weight", "pre_logits.fc.weight")
    spec, notes = _timm_transform(size.pixels, config)
    return Understood(declaration, spec, None, None, notes)


def _timm_heads(config: Mapping[str, Any] | None, said: Said) -> int | None:
    """Heads as config.json says, once what it changes of the model is understood."""
    if config is None:
        return said.heads
    only({k: config[k] for k in ("global_pool",) if k in config}, {"global_pool": "token"}, TIMM)
    args = part(config, "model_args", TIMM) if config.get("model_args") is not None else {}
    known = dict.fromkeys(("img_size", "patch_size", "embed_dim", "depth", "mlp_ratio"), ...)
    only(args, known | {"num_heads": ..., "num_classes": ..., "global_pool": "token"}, TIMM)
    if "num_heads" not in args:
        return said.heads
    return agree(TIMM, "heads", said.heads, whole(args, "num_heads", 12, TIMM))


def _timm_transform(pixels: int, config: Mapping[str, Any] | None) -> tuple[Spec, tuple[str, ...]]:
    crop = 0.9 if pixels < 384 else 1.0
    if config is None:
        note = f"no config.json beside the file: timm's transform of its ViTs (crop {crop})"
        return timm_vit(pixels, crop), (note,)
    said = part(config, "pretrained_cfg", "config.json")
    fixed = {"crop_mode": "center", "interpolation": "bicubic"}
    only({k: said[k] for k in fixed if k in said}, fixed, "config.json: pretrained_cfg")
    side = said.get("input_size", [3, pixels, pixels])
    if side != [3, pixels, pixels]:
        raise WeightsError(f"config.json: input_size {side}, the model reads {pixels}")
    share = number(said, "crop_pct", crop, TIMM)
    if not 0.1 <= share <= 1:
        raise WeightsError(f"config.json: crop_pct {share}, not a share of the side")
    return timm_vit(pixels, share) | normaliser(said, "mean", "std", TIMM), ()


def _timm_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    _holds(declaration, "timm-vit", "gelu", EPS)
    spec, size = manifest["transform"], declaration.args["size"]
    plain = spec["name"].split("-", 1)[-1] == "shorter-crop/1" and spec["filter"] == "bicubic"
    must(plain, "timm-vit", f"its transform {spec['name']} is not timm's")
    given = {
        "input_size": [3, size.pixels, size.pixels],
        "interpolation": "bicubic",
        "crop_pct": _crop(spec["size"], spec["resize"]),
        "crop_mode": "center",
        "mean": list(spec["mean"]),
        "std": list(spec["std"]),
    }
    args = {
        "img_size": size.pixels,
        "patch_size": size.patch,
        "embed_dim": size.width,
        "depth": size.layers,
        "num_heads": size.heads,
        "mlp_ratio": size.hidden / size.width,
    }
    config = {
        "architecture": "vit_base_patch16_224",  # which model_args make the model of this size
        "model_args": args,
        "num_classes": declaration.args["classes"],
        "global_pool": "token",
        "pretrained_cfg": given,
    }
    return {"config.json": json.dumps(config, indent=1).encode()}


def _crop(size: int, resize: int) -> float:
    """A share of the side that timm's rounding turns into `resize` again."""
    shares = (round(size / (resize + more), 6) for more in (0.0, 0.25, 0.5))
    return next(x for x in (0.9, 1.0, *shares) if int(size / x) == resize)


# --- Google ---------------------------------------------------------------------------------------


def _flax(names: Names, shapes: Shapes, said: Said) -> Understood:
    conv = shape(shapes, "embedding/kernel", 4)
    block = f"Transformer/{names.block}/{names.attention}/query/kernel"
    if names.stacked:
        depth, _, heads, _ = shape(shapes, block, 4)
    else:
        depth = layers(shapes, block)
        _, heads, _ = shape(shapes, block.replace("{i}", "0"), 3)
    mlp = f"Transformer/{names.block}/{names.mlp}/Dense_0/kernel".replace("{i}", "0")
    rows = shape(shapes, names.positions, 3)[1]
    size = Size(
        conv[0] * grid(rows, names.positions),
        conv[0],
        conv[3],
        depth,
        agree("the query kernel", "heads", said.heads, heads),
        shape(shapes, mlp, 2 + names.stacked)[-1],
    )
    act = agree("flax", "act", said.act, "gelu_tanh")
    eps = agree("flax", "eps", said.eps, EPS)
    classes = shape(shapes, "head/kernel", 2)[1] if "head/kernel" in shapes else 0
    hidden = "pre_logits/kernel"
    pre = shape(shapes, hidden, 2)[1] if hidden in shapes else None
    args = dict(size=size, classes=classes, act=act, eps=eps, pre_logits=pre)
    return Understood(Declaration(vit, args), google_vit(size.pixels))


def _flax_files(
    name: str, declaration: Declaration, manifest: Mapping[str, Any]
) -> dict[str, bytes]:
    _holds(declaration, name, "gelu_tanh", EPS)
    same = manifest["transform"] == google_vit(declaration.args["size"].pixels)
    must(same, name, "its transform is not Google's")
    return {}


# --- Hugging Face ---------------------------------------------------------------------------------


def _hf(names: Names, shapes: Shapes, said: Said) -> Understood:
    start = "vit." if any(key.startswith("vit.") for key in shapes) else ""
    conv = shape(shapes, f"{start}embeddings.patch_embeddings.projection.weight", 4)
    act, eps, heads, labels = said.act, said.eps, said.heads, None
    config = config_of(said, "config.json", ("vit",))
    if config is not None:
        act, eps, heads, labels = _hf_config(config, said)
    if act is None or eps is None:
        raise WeightsError(
            "no tensor shows the activation and the norms' eps: say act= and eps= (Google's models:"
            ' act="gelu", eps=1e-12), or put config.json beside the file (hidden_act,'
            " layer_norm_eps)"
        )
    key = f"{start}embeddings.position_embeddings"
    size = Size(
        conv[3] * grid(shape(shapes, key, 3)[1], key),
        conv[3],
        conv[0],
        layers(shapes, f"{start}{names.block}.{names.attention}.weight"),
        _heads(conv[0], heads),
        shape(shapes, f"{start}{names.block}.{names.mlp}.weight".replace("{i}", "0"), 2)[0],
    )
    if config is not None:
        told = {"image_size": size.pixels, "patch_size": size.patch, "hidden_size": size.width}
        matches(config, told, "config.json")
    pooled = f"{start}pooler.dense.weight"
    if pooled in shapes and "classifier.weight" in shapes:
        raise WeightsError(f"{pooled} is beside a classifier, which does not read it: take it out")
    declaration = _declared(shapes, size, act, eps, "classifier.weight", pooled)
    if labels is not None and len(labels) != declaration.args["classes"]:
        labels = None
    spec, notes = _hf_transform(size.pixels, said.beside.get("preprocessor_config.json"))
    return Understood(declaration, spec, None, labels, notes)


def _hf_config(
    config: Mapping[str, Any], said: Said
) -> tuple[str, float, int, tuple[str, ...] | None]:
    where, act = "config.json", str(config.get("hidden_act", "gelu"))
    if act not in HF_ACTS:
        raise WeightsError(f"config.json: hidden_act {act!r}; known are {', '.join(HF_ACTS)}")
    only({k: config[k] for k in ("qkv_bias", "pooler_act") if k in config}, _KNOWN, where)
    named = config.get("id2label")
    labels: tuple[str, ...] | None = None
    if isinstance(named, Mapping) and sorted(named) == sorted(map(str, range(len(named)))):
        labels = tuple(str(named[str(i)]) for i in range(len(named)))
    return (
        agree(where, "act", said.act, HF_ACTS[act]),
        agree(where, "eps", said.eps, number(config, "layer_norm_eps", HF_EPS, where)),
        agree(where, "heads", said.heads, whole(config, "num_attention_heads", 12, where)),
        labels,
    )


_KNOWN = {"qkv_bias": True, "pooler_act": "tanh"}


def _hf_transform(pixels: int, settings: Mapping[str, Any] | None) -> tuple[Spec, tuple[str, ...]]:
    spec = square_vit(pixels)
    if settings is None:
        return spec, ("no preprocessor_config.json beside the file: ViTImageProcessor's defaults",)
    where = "preprocessor_config.json"
    flags: dict[str, Any] = dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), True)
    only({k: settings[k] for k in flags if k in settings}, flags, where)
    if settings.get("size", pixels) not in (pixels, {"height": pixels, "width": pixels}):
        raise WeightsError(f"{where}: size {settings['size']}, the model reads {pixels}")
    filters = {BILINEAR: "bilinear", BICUBIC: "bicubic"}
    resample = whole(settings, "resample", BILINEAR, where)
    if resample not in filters:
        raise WeightsError(f"{where}: resample {resample}; known are {filters}")
    rescaled(settings, where)
    given = normaliser(settings, "image_mean", "image_std", where)
    return spec | given | {"filter": filters[resample]}, ()


def _hf_files(
    layout: str, declaration: Declaration, manifest: Mapping[str, Any]
) -> dict[str, bytes]:
    must(built(declaration, vit), layout, "it holds ViT classifiers only")
    args, spec = declaration.args, manifest["transform"]
    size = args["size"]
    acts = {ours: theirs for theirs, ours in reversed(HF_ACTS.items())}
    must(args["act"] in acts, layout, f"it knows no {args['act']}")
    square = spec["name"].split("-", 1)[-1] == "square/1" and not spec["name"].startswith("plain")
    must(square, layout, f"its transform {spec['name']} is not ViTImageProcessor's")
    must(
        not (args["pre_logits"] and args["classes"]),
        layout,
        "ViTForImageClassification has no pooler, ViTModel no head",
    )
    config: dict[str, Any] = {
        "model_type": "vit",
        "architectures": ["ViTForImageClassification" if args["classes"] else "ViTModel"],
        "hidden_act": acts[args["act"]],
        "hidden_size": size.width,
        "image_size": size.pixels,
        "intermediate_size": size.hidden,
        "layer_norm_eps": args["eps"],
        "num_attention_heads": size.heads,
        "num_hidden_layers": size.layers,
        "patch_size": size.patch,
    }
    if args["pre_logits"]:
        config["pooler_output_size"] = args["pre_logits"]
    if args["classes"]:
        labels = manifest.get("labels") or [f"LABEL_{i}" for i in range(args["classes"])]
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    flags = dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), True)
    settings = {
        "image_processor_type": "ViTImageProcessor",
        **flags,
        "resample": BILINEAR if spec["filter"] == "bilinear" else BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"height": size.pixels, "width": size.pixels},
        "image_mean": list(spec["mean"]),
        "image_std": list(spec["std"]),
    }
    return {
        "config.json": json.dumps(config, indent=1).encode(),
        "preprocessor_config.json": json.dumps(settings, indent=1).encode(),
    }


# --- shared ---------------------------------------------------------------------------------------


def _heads(width: int, said: int | None) -> int:
    if said is None and width not in HEADS:
        raise WeightsError(
            f"no tensor shows how many heads share a width of {width}: say heads= (the published"
            f" sizes have {', '.join(f'{h} at {w}' for w, h in HEADS.items())})"
        )
    heads = said or HEADS[width]
    if heads < 1 or width % heads:
        raise WeightsError(f"{heads} heads cannot share a width of {width}")
    return heads


def _declared(
    shapes: Shapes, size: Size, act: str, eps: float, head: str, pooled: str
) -> Declaration:
    classes = shape(shapes, head, 2)[0] if head in shapes else 0
    pre = shape(shapes, pooled, 2)[0] if pooled in shapes else None
    return Declaration(vit, dict(size=size, classes=classes, act=act, eps=eps, pre_logits=pre))


def _holds(declaration: Declaration, layout: str, act: str, eps: float) -> None:
    must(built(declaration, vit), layout, "it holds ViT classifiers only")
    args = declaration.args
    must(args["act"] == act, layout, f"it means {act}, not {args['act']}")
    must(args["eps"] == eps, layout, f"it means eps {eps}, not {args['eps']}")


def _flax_layout(name: str, about: str, names: Names) -> Published:
    rules = stacked_rules if names.stacked else flax_rules

    def keymap(declaration: Declaration) -> KeyMap:
        must(built(declaration, vit), name, "it holds ViT classifiers only")
        return KeyMap(rules(declaration.args["size"], names))

    return Published(
        name,
        about,
        (KeyMap(rules(PLAIN, names)),),
        partial(_flax, names),
        keymap,
        partial(_flax_files, name),
        "model.npz",
    )


def _hf_layout(name: str, about: str, old: bool) -> Published:
    def keymap(declaration: Declaration) -> KeyMap:
        must(built(declaration, vit), name, "it holds ViT classifiers only")
        start = "vit." if declaration.args["classes"] else ""
        return KeyMap(hf_rules(hf_names(old), start, declaration.args["size"]))

    maps = tuple(KeyMap(hf_rules(hf_names(old), start, PLAIN)) for start in ("vit.", ""))
    return Published(
        name, about, maps, partial(_hf, hf_names(old)), keymap, partial(_hf_files, name)
    )


def _timm_map(declaration: Declaration) -> KeyMap:
    must(built(declaration, vit), "timm-vit", "it holds ViT classifiers only")
    return KeyMap(timm_rules(declaration.args["size"]))


LAYOUTS = (
    Published(
        "timm-vit",
        "timm's ViTs (gelu, eps 1e-6)",
        (KeyMap(timm_rules(PLAIN)),),
        _timm,
        _timm_map,
        _timm_files,
    ),
    _flax_layout("google-vit", "Google's .npz archives, the paper's and AugReg's", GOOGLE),
    _flax_layout("big-vision-vit", "big_vision's .npz archives, a name a layer", BIG_VISION),
    _flax_layout(
        "big-vision-vit-stacked",
        "big_vision's .npz archives, layers stacked in one array",
        BIG_VISION._replace(block="encoderblock", stacked=True),
    ),
    _hf_layout("hf-vit", "Hugging Face's ViT files; needs config.json, or act= and eps=", True),
    _hf_layout("hf-vit-5", "the same in the names that transformers 5 uses in memory", False),
)
