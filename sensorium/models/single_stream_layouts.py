"""VisualBERT's and UNITER's weights as they are published: to our models, and back."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

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
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    built,
    matches,
    must,
    shape,
)
from sensorium.models.uniter import ANSWERS, uniter
from sensorium.models.uniter_rules import original_uniter
from sensorium.models.visualbert import PRETRAINING, visualbert
from sensorium.models.visualbert_rules import hf_visualbert, original_visualbert
from sensorium.weights.rules import KeyMap

HF_CLASSES = {  # by the heads that each class has
    ("mlm", "itm"): "VisualBertForPreTraining",
    ("vqa",): "VisualBertForQuestionAnswering",
    ("nlvr",): "VisualBertForVisualReasoning",
    ("vcr",): "VisualBertForMultipleChoice",
}
ROWS = {1: "vcr", 2: "nlvr"}  # rows of VisualBERT's one classifier; any other number: vqa
UNITER_FILES = (  # the heads that the release's files have together
    ("mlm", "itm", "mrfr", "mrc"),
    *(("itm", "rank"), ("vqa",), ("vcr",), ("nlvr",), ("nlvr_paired",), ("ground",)),
    ("ground_mlp",),
)


# --- VisualBERT -----------------------------------------------------------------------------------


def _task(shapes: Shapes, key: str) -> tuple[tuple[str, ...], int, tuple[str, ...]]:
    """The head that the one classifier is, its answers, and a note of how that was told."""
    if key not in shapes:
        return (), 0, ()
    rows = shape(shapes, key, 2)[0]
    name = ROWS.get(rows, "vqa")
    return (name,), rows, (f"{key} has {rows} rows: the head {name}",)


def _visualbert(shapes: Shapes, said: Said) -> Understood:
    table, layer = "bert.bert.embeddings", "bert.bert.encoder.layer.{i}"
    width, feature = shape(shapes, f"{table}.projection.weight", 2)
    told = fixed("visualbert", width, said)
    size = bert_size(shapes, table, layer, told.heads)
    task, answers, notes = _task(shapes, "bert.classifier.weight")
    heads = (*_pretraining(shapes, "bert.cls"), *task)
    heads += ("ground",) if "bert.flickr_attention.query.weight" in shapes else ()
    args = dict(text=size, feature=feature, heads=heads)
    args |= dict(answers=answers) if "vqa" in task else {}
    return Understood(Declaration(visualbert, args), None, notes=(*notes, NO_WORDS))


def _hf_visualbert(shapes: Shapes, said: Said) -> Understood:
    table, layer = "visual_bert.embeddings", "visual_bert.encoder.layer.{i}"
    width, feature = shape(shapes, f"{table}.visual_projection.weight", 2)
    told, config = configured(said, width, ("visual_bert",))
    size = bert_size(shapes, table, layer, told.heads)
    matches(config, sizes(size) | {"visual_embedding_dim": feature}, CONFIG)
    task, answers, notes = _task(shapes, "cls.weight")
    heads = (*_pretraining(shapes, "cls"), *task)
    heads += ("ground",) if "attention.query.weight" in shapes else ()
    args = dict(text=size, feature=feature, heads=heads, act=told.act, eps=told.eps, drop=told.drop)
    args |= dict(answers=answers) if "vqa" in task else {}
    return Understood(Declaration(visualbert, args), None, notes=(*notes, NO_WORDS))


def _pretraining(shapes: Shapes, theirs: str) -> tuple[str, ...]:
    mlm, itm = f"{theirs}.predictions.bias" in shapes, f"{theirs}.seq_relationship.bias" in shapes
    return (*(("mlm",) if mlm else ()), *(("itm",) if itm else ()))


def _visualbert_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, visualbert), "visualbert", "it holds VisualBERT only")
    _plain("visualbert", declaration)
    return {}


def _hf_visualbert_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, visualbert), "hf-visualbert", "it holds VisualBERT only")
    args, heads = declaration.args, tuple(declaration.args.get("heads", PRETRAINING))
    must(heads in HF_CLASSES, "hf-visualbert", f"no class of transformers has the heads {heads}")
    config = bert_config("visual_bert", args["text"], args)
    config |= {"visual_embedding_dim": args["feature"], "architectures": [HF_CLASSES[heads]]}
    if "vqa" in heads:
        config["num_labels"] = args.get("answers", ANSWERS)
    return {CONFIG: json.dumps(config, indent=1).encode()}


def _heads(declaration: Declaration, default: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(declaration.args.get("heads", default))


def _visualbert_map(name: str, declaration: Declaration) -> KeyMap:
    must(built(declaration, visualbert), name, "it holds VisualBERT only")
    make = original_visualbert if name == "visualbert" else hf_visualbert
    return make(_heads(declaration, PRETRAINING))


# --- UNITER ---------------------------------------------------------------------------------------


def _uniter(shapes: Shapes, said: Said) -> Understood:
    table, layer = "uniter.embeddings", "uniter.encoder.layer.{i}"
    width, feature = shape(shapes, "uniter.img_embeddings.img_linear.weight", 2)
    told = fixed("uniter", width, said)
    size = bert_size(shapes, table, layer, told.heads)
    args: dict[str, Any] = dict(text=size, feature=feature, heads=_uniter_heads(shapes, width))
    if "vqa_output.3.bias" in shapes and "vqa" in args["heads"]:
        args["answers"] = shape(shapes, "vqa_output.3.bias", 1)[0]
    if "mrc" in args["heads"]:
        args["classes"] = shape(shapes, "region_classifier.net.3.bias", 1)[0]
    return Understood(Declaration(uniter, args), None, notes=(NO_WORDS,))


def _uniter_heads(shapes: Shapes, width: int) -> tuple[str, ...]:
    """The heads that a file has; three answers are those of entailment."""
    found = {
        "mlm": "cls.predictions.bias",
        "itm": "itm_output.bias",
        "mrfr": "feat_regress.bias",
        "mrc": "region_classifier.net.3.bias",
        "nlvr": "attn1.in_proj_bias",
        "vcr": "vcr_output.3.bias",
        "ground": "re_output.bias",
        "ground_mlp": "re_output.3.bias",
        "rank": "rank_output.bias",
    }
    heads = [name for name, key in found.items() if key in shapes]
    if "vqa_output.3.bias" in shapes:
        heads.append("entail" if shape(shapes, "vqa_output.3.bias", 1)[0] == 3 else "vqa")
    if "nlvr2_output.weight" in shapes and "nlvr" not in heads:
        wide = shape(shapes, "nlvr2_output.weight", 2)[1] == 2 * width
        heads.append("nlvr_paired" if wide else "nlvr_triplet")
    return tuple(heads)


def _uniter_map(name: str, declaration: Declaration) -> KeyMap:
    must(built(declaration, uniter), name, "it holds UNITER only")
    heads = _heads(declaration, UNITER_FILES[0])
    must(len({"vqa", "entail"} & set(heads)) < 2, name, "vqa and entail have one name there")
    return original_uniter(declaration.args["text"].width, heads, old=name == "uniter-old")


def _uniter_files(
    name: str, declaration: Declaration, manifest: Mapping[str, Any]
) -> dict[str, bytes]:
    must(built(declaration, uniter), name, "it holds UNITER only")
    _plain(name, declaration)
    return {}


def _plain(name: str, declaration: Declaration) -> None:
    args = declaration.args
    act, eps, drop = args.get("act", "gelu"), args.get("eps", EPS), args.get("drop", DROP)
    must((act, eps) == ("gelu", EPS), name, f"it means gelu and eps {EPS}, not {act} and {eps}")
    must(drop == DROP, name, f"it means dropout {DROP}, not {drop}")


def _uniter_layout(name: str, about: str) -> Published:
    maps = tuple(original_uniter(64, heads, name == "uniter-old") for heads in UNITER_FILES)
    files, keys = partial(_uniter_files, name), partial(_uniter_map, name)
    return Published(name, about, maps, _uniter, keys, files)


LAYOUTS = (
    Published(
        "visualbert",
        "VisualBERT's release (.th files; gelu, eps 1e-12)",
        tuple(original_visualbert(heads) for heads in (*HF_CLASSES, (*PRETRAINING, "ground"))),
        _visualbert,
        partial(_visualbert_map, "visualbert"),
        _visualbert_files,
    ),
    Published(
        "hf-visualbert",
        "Hugging Face's VisualBERT; needs config.json, or act= and eps=",
        tuple(hf_visualbert(heads) for heads in HF_CLASSES),
        _hf_visualbert,
        partial(_visualbert_map, "hf-visualbert"),
        _hf_visualbert_files,
    ),
    _uniter_layout("uniter", "UNITER's release, pre-trained or of a task (gelu, eps 1e-12)"),
    _uniter_layout("uniter-old", "the same with norms called gamma and beta"),
)
