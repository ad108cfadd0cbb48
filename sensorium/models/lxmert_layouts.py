"""LXMERT's weights as its authors and Hugging Face publish them: to our model, and back."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from sensorium.models.bert_layouts import (
    CONFIG,
    DROP,
    EPS,
    NO_WORDS,
    Liberty,
    bert_config,
    bert_size,
    fixed,
    heads_of,
    sizes,
)
from sensorium.models.declaration import Declaration
from sensorium.models.lxmert import (
    ANSWERS,
    PRETRAINING,
    SIZES,
    CrossSize,
    ObjectSize,
    lxmert,
)
from sensorium.models.lxmert_rules import (
    HF,
    ORIGINAL,
    PARALLEL,
    TUNED,
    Depths,
    Names,
    lxmert_rules,
)
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    agree,
    built,
    config_of,
    layers,
    matches,
    must,
    number,
    only,
    shape,
    whole,
)
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

SEEN = "obj_predict_head.decoder_dict"
HF_CLASSES = {
    PRETRAINING: "LxmertForPreTraining",
    ("vqa",): "LxmertForQuestionAnswering",
}
FILES = {"lxmert": (PRETRAINING,), "hf-lxmert": tuple(HF_CLASSES)}
TUNED_FILES = (("vqa",), ("nlvr",))


def _understand(names: Names, name: str, shapes: Shapes, said: Said) -> Understood:
    t = names.trunk
    width, feature = shape(shapes, f"{t}.encoder.visn_fc.visn_fc.weight", 2)
    if shape(shapes, f"{t}.encoder.visn_fc.box_fc.weight", 2)[1] != 4:
        raise WeightsError("boxes are read as other numbers than the four of their corners")
    told, config = _told(name, width, said)
    text = bert_size(shapes, f"{t}.embeddings", f"{t}.encoder.layer.{{i}}", told.heads)
    seen = layers(shapes, f"{t}.encoder.r_layers.{{i}}.intermediate.dense.weight")
    cross = layers(shapes, f"{t}.encoder.x_layers.{{i}}.lang_inter.dense.weight")
    heads, notes = _heads(names, shapes)
    usual = SIZES["base"].args["image"]
    image = ObjectSize(
        seen,
        _count(shapes, "obj", whole(config, "num_object_labels", usual.classes, CONFIG)),
        _count(shapes, "attr", whole(config, "num_attr_labels", usual.attributes, CONFIG)),
    )
    args: dict[str, Any] = dict(text=text, feature=feature, image=image, cross=CrossSize(cross))
    args |= dict(heads=heads, drop=told.drop)
    if {"qa", "vqa"} & set(heads):
        args["answers"] = shape(shapes, f"{names.answer}.3.bias", 1)[0]
    if config:
        told_twice = sizes(text) | {"l_layers": text.layers, "r_layers": seen, "x_layers": cross}
        told_twice.pop("num_hidden_layers")
        matches(config, told_twice | {"visual_feat_dim": feature, "visual_pos_dim": 4}, CONFIG)
    return Understood(Declaration(lxmert, args), None, notes=(*notes, NO_WORDS))


def _told(name: str, width: int, said: Said) -> tuple[Liberty, Mapping[str, Any]]:
    """What no tensor shows: the layouts mean gelu and eps 1e-12, a configuration says the rest."""
    config = config_of(said, CONFIG, ("lxmert",)) if name == "hf-lxmert" else None
    if config is None:
        return fixed(name, width, said), {}
    only({k: config[k] for k in ("hidden_act",) if k in config}, {"hidden_act": "gelu"}, CONFIG)
    heads = agree(CONFIG, "heads", said.heads, whole(config, "num_attention_heads", 12, CONFIG))
    agree(CONFIG, "act", said.act, "gelu")
    agree(CONFIG, "eps", said.eps, EPS)
    drop = config.get("hidden_dropout_prob", DROP)
    drop = 0.0 if drop == 0 else number(config, "hidden_dropout_prob", DROP, CONFIG)
    return Liberty("gelu", EPS, drop, heads_of(width, heads)), config


def _count(shapes: Shapes, name: str, usual: int) -> int:
    key = f"{SEEN}.{name}.bias"
    return shape(shapes, key, 1)[0] if key in shapes else usual


def _heads(names: Names, shapes: Shapes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The heads that a file has, and how the head of answers was told."""
    found = {
        "mlm": "cls.predictions.bias",
        "itm": "cls.seq_relationship.bias",
        **{name: f"{SEEN}.{name}.bias" for name in ("obj", "attr", "feat")},
    }
    heads = tuple(name for name, key in found.items() if key in shapes)
    if f"{names.answer}.0.weight" not in shapes:
        return heads, ()
    hidden, width = shape(shapes, f"{names.answer}.0.weight", 2)
    if heads:
        return (*heads, "qa"), ()
    name = "nlvr" if hidden == width else "vqa"
    return (name,), (f"{names.answer} reads {width} numbers: the head {name}",)


def _keys(names: Names, name: str, declaration: Declaration) -> KeyMap:
    must(built(declaration, lxmert), name, "it holds LXMERT only")
    args = declaration.args
    heads = tuple(args.get("heads", PRETRAINING))
    most = len({"qa", "vqa", "nlvr"} & set(heads)) < 2
    must(most, name, f"of the heads of answers it holds one, not all of {heads}")
    tuned = names.answer == TUNED.answer
    fits = set(heads) <= {"vqa", "nlvr"} if tuned else "nlvr" not in heads
    must(fits, name, f"it has no place for all of {heads}")
    depths = Depths(args["text"].layers, args["image"].layers, args["cross"].layers)
    return lxmert_rules(names, depths, heads)


def _files(
    names: Names, name: str, declaration: Declaration, manifest: Mapping[str, Any]
) -> dict[str, bytes]:
    _keys(names, name, declaration)
    args, heads = declaration.args, tuple(declaration.args.get("heads", PRETRAINING))
    must(args.get("eps", EPS) == EPS, name, f"it means eps {EPS}, not {args.get('eps')}")
    if name != "hf-lxmert":
        drop = args.get("drop", DROP)
        must(drop == DROP, name, f"it means dropout {DROP}, not {drop}")
        return {}
    must(heads in HF_CLASSES, name, f"no class of transformers has the heads {heads}")
    text, image = args["text"], args["image"]
    config = bert_config("lxmert", text, args) | {
        "architectures": [HF_CLASSES[heads]],
        "l_layers": text.layers,
        "r_layers": image.layers,
        "x_layers": args["cross"].layers,
        "visual_feat_dim": args["feature"],
        "visual_pos_dim": 4,
        "num_object_labels": image.classes,
        "num_attr_labels": image.attributes,
        "num_qa_labels": args.get("answers", ANSWERS),
    }
    for key in ("layer_norm_eps", "num_hidden_layers"):  # which its configuration does not have
        config.pop(key)
    return {CONFIG: json.dumps(config, indent=1).encode()}


def _layout(name: str, about: str, names: Names) -> Published:
    maps = tuple(lxmert_rules(names, None, heads) for heads in FILES.get(name, TUNED_FILES))
    understand, keys = partial(_understand, names, name), partial(_keys, names, name)
    return Published(name, about, maps, understand, keys, partial(_files, names, name))


LAYOUTS = (
    _layout("lxmert", "LXMERT's release, pre-trained (gelu, eps 1e-12)", ORIGINAL),
    _layout("lxmert-tuned", "the same, fine-tuned for VQA, GQA or NLVR2", TUNED),
    _layout("lxmert-tuned-parallel", "the same, fine-tuned on several GPUs", PARALLEL),
    _layout("hf-lxmert", "Hugging Face's LXMERT, pre-trained or for questions", HF),
)
