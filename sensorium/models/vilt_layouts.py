"""ViLT's weights as its authors and Hugging Face publish them: to our model, and back."""

import json
from collections.abc import Mapping
from typing import Any

from sensorium.media.specs import HALF, Spec
from sensorium.media.specs import vilt as vilt_spec
from sensorium.models.bert import BertSize
from sensorium.models.bert_layouts import (
    CONFIG,
    DROP,
    EPS,
    NO_WORDS,
    bert_config,
    bert_size,
    configured,
    fixed,
    sizes,
)
from sensorium.models.declaration import Declaration
from sensorium.models.hf_files import BICUBIC, rescaled
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    agree,
    built,
    grid,
    layers,
    matches,
    must,
    normaliser,
    only,
    shape,
)
from sensorium.models.vilt import ANSWERS, PRETRAINING, vilt
from sensorium.models.vilt_rules import hf_vilt, original_vilt
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

PROCESSOR = "preprocessor_config.json"
TRUNK_EPS = 1e-6
PIXELS, PATCH = 384, 32
HF_CLASSES = {  # by the head that each class has
    ("mlm",): "ViltForMaskedLM",
    ("vqa",): "ViltForQuestionAnswering",
    ("nlvr",): "ViltForImagesAndTextClassification",
    ("rank",): "ViltForImageAndTextRetrieval",
}
HEADS = {  # where a file of the release shows a head
    "mlm": "mlm_score.bias",
    "itm": "itm_score.fc.bias",
    "vqa": "vqa_classifier.3.bias",
    "nlvr": "nlvr2_classifier.3.bias",
    "rank": "rank_output.bias",
}


# --- the release ----------------------------------------------------------------------------------


def _original(shapes: Shapes, said: Said) -> Understood:
    words, block = "text_embeddings", "transformer.blocks.{i}.mlp.fc1.weight"
    vocab, width = shape(shapes, f"{words}.word_embeddings.weight", 2)
    told = fixed("vilt", width, said)
    length = shape(shapes, f"{words}.position_embeddings.weight", 2)[0]
    types = shape(shapes, f"{words}.token_type_embeddings.weight", 2)[0]
    hidden = shape(shapes, block.replace("{i}", "0"), 2)[0]
    size = BertSize(vocab, length, types, width, layers(shapes, block), told.heads, hidden)
    heads = tuple(name for name, key in HEADS.items() if key in shapes)
    answers = shape(shapes, HEADS["vqa"], 1)[0] if "vqa" in heads else ANSWERS
    names = "transformer.patch_embed.proj.weight", "transformer.pos_embed"
    pixels, patch = _pixels(shapes, *names)
    args = dict(text=size, pixels=pixels, patch=patch, heads=heads, answers=answers)
    return Understood(Declaration(vilt, args), vilt_spec(pixels, patch), notes=(NO_WORDS,))


def _pixels(shapes: Shapes, conv: str, pos: str) -> tuple[int, int]:
    """Sides of the picture and of a patch."""
    patch = shape(shapes, conv, 4)[3]
    return patch * grid(shape(shapes, pos, 3)[1], pos), patch


def _original_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    args = _args(declaration, "vilt")
    eps, drop = tuple(args.get("eps", (EPS, TRUNK_EPS))), args.get("drop", DROP)
    must(eps == (EPS, TRUNK_EPS), "vilt", f"it means eps {EPS} and {TRUNK_EPS}, not {eps}")
    must(drop == DROP, "vilt", f"it means dropout {DROP}, not {drop}")
    plain = vilt_spec(args.get("pixels", PIXELS), args.get("patch", PATCH))
    must(manifest["transform"] == plain, "vilt", "its transform is not ViLT's")
    return {}


# --- Hugging Face ---------------------------------------------------------------------------------


def _hf(shapes: Shapes, said: Said) -> Understood:
    e = "vilt.embeddings"
    width = shape(shapes, f"{e}.text_embeddings.word_embeddings.weight", 2)[1]
    told, config = configured(said, width, ("vilt",))
    agree("layout hf-vilt", "act", told.act, "gelu")
    size = bert_size(shapes, f"{e}.text_embeddings", "vilt.encoder.layer.{i}", told.heads)
    names = f"{e}.patch_embeddings.projection.weight", f"{e}.position_embeddings"
    pixels, patch = _pixels(shapes, *names)
    rows = {"modality_type_vocab_size": shape(shapes, f"{e}.token_type_embeddings.weight", 2)[0]}
    matches(config, sizes(size) | rows | {"image_size": pixels, "patch_size": patch}, CONFIG)
    only({k: config[k] for k in ("qkv_bias",) if k in config}, {"qkv_bias": True}, CONFIG)
    heads, answers = _hf_heads(shapes, width)
    most = config.get("max_image_length", -1)
    if type(most) is not int or most == 0:
        raise WeightsError(f"{CONFIG}: max_image_length is {most!r}, not a number of patches")
    args: dict[str, Any] = dict(text=size, pixels=pixels, patch=patch, heads=heads, drop=told.drop)
    args |= dict(answers=answers, eps=(told.eps, told.eps), most=most if most > 0 else None)
    spec, notes = _processor(pixels, patch, said.beside.get(PROCESSOR))
    labels = _labels(config, answers) if "vqa" in heads else None
    return Understood(Declaration(vilt, args), spec, None, labels, (*notes, NO_WORDS))


def _hf_heads(shapes: Shapes, width: int) -> tuple[tuple[str, ...], int]:
    """The head a file has, and how many answers where it is that of VQA."""
    if "classifier.3.bias" in shapes:
        two = shape(shapes, "classifier.0.weight", 2)[1] == 2 * width
        rows = shape(shapes, "classifier.3.bias", 1)[0]
        return (("nlvr",), ANSWERS) if two else (("vqa",), rows)
    found = {"mlm": "mlm_score.bias", "rank": "rank_output.bias"}
    return tuple(name for name, key in found.items() if key in shapes), ANSWERS


def _labels(config: Mapping[str, Any], answers: int) -> tuple[str, ...] | None:
    """The answers by name, where the configuration has a name for each."""
    named = config.get("id2label")
    if not isinstance(named, Mapping) or set(named) != {str(i) for i in range(answers)}:
        return None
    return tuple(str(named[str(i)]) for i in range(answers))


def _processor(
    pixels: int, patch: int, settings: Mapping[str, Any] | None
) -> tuple[Spec, tuple[str, ...]]:
    spec = vilt_spec(pixels, patch)
    if settings is None:
        return spec, (f"no {PROCESSOR} beside the file: ViLT's own transform",)
    side = settings.get("size", pixels)
    if side not in (pixels, {"shortest_edge": pixels}):
        raise WeightsError(f"{PROCESSOR} resizes to {side}; the model was trained with {pixels}")
    flags = ("do_resize", "do_rescale", "do_normalize")
    known = {**dict.fromkeys(flags, True), "resample": BICUBIC, "size_divisor": patch}
    only({k: settings[k] for k in known if k in settings}, known, PROCESSOR)
    rescaled(settings, PROCESSOR)
    return spec | normaliser(settings, "image_mean", "image_std", PROCESSOR), ()


def _hf_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    args = _args(declaration, "hf-vilt")
    heads, size = tuple(args.get("heads", PRETRAINING)), args["text"]
    must(heads in HF_CLASSES, "hf-vilt", f"no class of transformers has the heads {heads}")
    eps, spec = set(args.get("eps", (EPS, TRUNK_EPS))), manifest["transform"]
    must(len(eps) == 1, "hf-vilt", f"it has one eps for all norms, not {sorted(eps)}")
    pixels, patch = args.get("pixels", PIXELS), args.get("patch", PATCH)
    plain = vilt_spec(pixels, patch)
    same = {**spec, "mean": list(HALF), "std": list(HALF)} == plain
    must(same, "hf-vilt", f"its transform {spec['name']} is not ViLT's")
    config = bert_config("vilt", size, {**args, "eps": eps.pop()})
    config |= {
        "architectures": [HF_CLASSES[heads]],
        "image_size": pixels,
        "patch_size": patch,
        "qkv_bias": True,
        "modality_type_vocab_size": size.types + ("nlvr" in heads),
        "max_image_length": args.get("most") or -1,
        "tie_word_embeddings": False,
    }
    if heads == ("nlvr",):
        config |= {"num_images": 2, "id2label": {"0": "False", "1": "True"}}
    if heads == ("vqa",):
        labels = manifest.get("labels") or [
            f"LABEL_{i}" for i in range(args.get("answers", ANSWERS))
        ]
        config["id2label"] = {str(i): label for i, label in enumerate(labels)}
        config["label2id"] = {label: i for i, label in enumerate(labels)}
    settings = {
        "image_processor_type": "ViltImageProcessor",
        **dict.fromkeys(("do_resize", "do_rescale", "do_normalize", "do_pad"), True),
        "resample": BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": pixels},
        "size_divisor": patch,
        "image_mean": list(spec["mean"]),
        "image_std": list(spec["std"]),
    }
    return {
        CONFIG: json.dumps(config, indent=1).encode(),
        PROCESSOR: json.dumps(settings, indent=1).encode(),
    }


# --- both -----------------------------------------------------------------------------------------


def _args(declaration: Declaration, layout: str) -> dict[str, Any]:
    must(built(declaration, vilt), layout, "it holds ViLT only")
    return declaration.args


def _keymap(layout: str):
    make = original_vilt if layout == "vilt" else hf_vilt

    def keymap(declaration: Declaration) -> KeyMap:
        args = _args(declaration, layout)
        side = args.get("pixels", PIXELS) // args.get("patch", PATCH)
        return make(tuple(args.get("heads", PRETRAINING)), side**2 + 1, args["text"].width)

    return keymap


LAYOUTS = (
    Published(
        "vilt",
        "ViLT's release, pre-trained or of a task (gelu, eps 1e-12 and 1e-6)",
        (original_vilt(tuple(HEADS), 10, 64),),
        _original,
        _keymap("vilt"),
        _original_files,
    ),
    Published(
        "hf-vilt",
        "Hugging Face's ViLT, one head a file; needs config.json, or act= and eps=",
        tuple(hf_vilt(heads, 10, 64) for heads in HF_CLASSES),
        _hf,
        _keymap("hf-vilt"),
        _hf_files,
    ),
)
