"""ViLBERT's weights as both its releases have them: to our model, and back."""

import json
from collections.abc import Mapping
from typing import Any

from sensorium.models.bert_layouts import (
    CONFIG,
    DROP,
    NO_WORDS,
    Liberty,
    bert_config,
    bert_size,
    fixed,
    sizes,
)
from sensorium.models.declaration import Declaration
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    agree,
    built,
    layers,
    matches,
    must,
    number,
    only,
    shape,
    whole,
)
from sensorium.models.vilbert import (
    ALL,
    ANSWERS,
    PRETRAINING,
    Answers,
    MeetSize,
    RegionSize,
    vilbert,
)
from sensorium.models.vilbert_rules import Sizes, vilbert_rules
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

NAME, HEAD = "vilbert", 128  # heads of regions and of co-attention are 128 wide where none is said
FIRST = (*PRETRAINING, "vqa_normed", "rank", "ground")
KEYS = {  # what tells that a file has a head
    "mlm": "cls.predictions.bias",
    "itm": "cls.bi_seq_relationship.bias",
    "mrc": "cls.imagePredictions.decoder.bias",
    "vqa": "vil_prediction.logit_fc.3.bias",
    "vqa_normed": "vil_prediction.main.3.bias",
    "gqa": "vil_prediction_gqa.logit_fc.3.bias",
    "nlvr": "vil_binary_prediction.logit_fc.3.bias",
    "entail": "vil_tri_prediction.bias",
    "rank": "vil_logit.bias",
    "ground": "vision_logit.bias",
}
GELU = {"hidden_act": "gelu", "v_hidden_act": "gelu", "fusion_method": "mul", "model": "bert"}


def _understand(shapes: Shapes, said: Said) -> Understood:
    t, v, c = (f"bert.encoder.{name}.{{i}}" for name in ("layer", "v_layer", "c_layer"))
    d = shape(shapes, "bert.embeddings.word_embeddings.weight", 2)[1]
    width, feature = shape(shapes, "bert.v_embeddings.image_embeddings.weight", 2)
    up = f"{v}.intermediate.dense.weight"
    together = layers(shapes, f"{c}.biattention.query1.weight")
    e = shape(shapes, f"{c}.biattention.query1.weight".replace("{i}", "0"), 2)[0]
    config = _config(said)
    told = _liberty(config, d, said)
    text = bert_size(shapes, "bert.embeddings", t, told.heads)
    seen, hidden = layers(shapes, up), shape(shapes, up.replace("{i}", "0"), 2)[0]
    image = RegionSize(width, seen, _of(config, "v_num_attention_heads", width), hidden)
    places = _places(config, text.layers, seen, together)
    meet = MeetSize(e, _of(config, "bi_num_attention_heads", e), *places)
    heads = tuple(name for name, key in KEYS.items() if key in shapes)
    many = [
        *(_rows(shapes, KEYS["vqa"], _rows(shapes, KEYS["vqa_normed"], ANSWERS.vqa)),),
        *(_rows(shapes, KEYS["gqa"], ANSWERS.gqa), _rows(shapes, KEYS["mrc"], ANSWERS.classes)),
    ]
    tasks = "bert.embeddings.task_embeddings.weight"
    args = dict(text=text, feature=feature, image=image, meet=meet, heads=heads)
    args |= dict(answers=Answers(*many), drop=told.drop)
    args |= dict(tasks=shape(shapes, tasks, 2)[0]) if tasks in shapes else {}
    own = {"v_hidden_size": width, "v_num_hidden_layers": seen, "bi_hidden_size": e}
    matches(config, sizes(text) | own | {"v_feature_size": feature}, CONFIG)
    guess = (
        f"no {CONFIG} beside the file: co-attention stands before the last {together} layers of"
        " words, heads of regions and of co-attention are 128 wide, as in every release"
    )
    notes = () if config else (guess,)
    return Understood(Declaration(vilbert, args), None, notes=(*notes, NO_WORDS))


def _config(said: Said) -> Mapping[str, Any]:
    """The release's configuration (bert_base_6layer_6conect.json), beside the file as config.json.

    Raises:
        WeightsError: it is another model's, or asks for what this model does not have.
    """
    config = said.beside.get(CONFIG, {})
    if config and "t_biattention_id" not in config:
        raise WeightsError(f"{CONFIG} beside the file is not ViLBERT's: it has no t_biattention_id")
    only({k: config[k] for k in GELU if k in config}, GELU, CONFIG)
    return config


def _liberty(config: Mapping[str, Any], width: int, said: Said) -> Liberty:
    """What no tensor shows of BERT's layers."""
    told = fixed(NAME, width, said)
    if not config:
        return told
    heads = agree(CONFIG, "heads", said.heads, whole(config, "num_attention_heads", 12, CONFIG))
    kinds = (
        f"{of}{what}_dropout_prob" for of in ("", "v_") for what in ("hidden", "attention_probs")
    )
    shares = {config.get(key, DROP) for key in kinds}
    if len(shares) > 1:
        raise WeightsError(f"{CONFIG}: dropout differs from part to part: {shares}")
    drop = 0.0 if shares == {0} else number(config, "hidden_dropout_prob", DROP, CONFIG)
    return told._replace(drop=drop, heads=heads)


def _of(config: Mapping[str, Any], key: str, width: int) -> int:
    """Heads that share a width.

    Raises:
        WeightsError: nothing says how many.
    """
    if not config and width % HEAD:
        raise WeightsError(f"no tensor shows how many heads share {width}: put {CONFIG} beside it")
    heads = whole(config, key, max(1, width // HEAD), CONFIG)
    if width % heads:
        raise WeightsError(f"{CONFIG}: {key} is {heads}, which cannot share a width of {width}")
    return heads


def _places(config: Mapping[str, Any], words: int, regions: int, count: int) -> list[tuple]:
    """Before which layers co-attention stands.

    Raises:
        WeightsError: a configuration has other numbers of them, or none has been given for more
            layers of co-attention than of words or regions.
    """
    if not config:
        if count > min(words, regions):
            raise WeightsError(f"{count} layers of co-attention: put {CONFIG} beside the file")
        return [tuple(range(words - count, words)), tuple(range(count))]
    out = []
    for key, most in (("t_biattention_id", words), ("v_biattention_id", regions)):
        places = config.get(key)
        sound = isinstance(places, list) and all(type(x) is int and 0 <= x <= most for x in places)
        if not isinstance(places, list) or not sound or len(places) != count:
            raise WeightsError(f"{CONFIG}: {key} is {places!r}, the weights have {count} of them")
        out.append(tuple(places))
    return out


def _rows(shapes: Shapes, key: str, usual: int) -> int:
    return shape(shapes, key, 1)[0] if key in shapes else usual


def _keys(declaration: Declaration) -> KeyMap:
    must(built(declaration, vilbert), NAME, "it holds ViLBERT only")
    args = declaration.args
    heads = tuple(args.get("heads", PRETRAINING))
    for one in ({"vqa", "vqa_normed"}, {"rank", "vcr"}):
        must(not one <= set(heads), NAME, f"it has one head for {' and '.join(sorted(one))}")
    sizes = Sizes(args["text"], args["image"], args["meet"])
    return vilbert_rules(sizes, heads, bool(args.get("tasks", 0)))


def _files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    _keys(declaration)
    args = declaration.args
    image, meet, drop = args["image"], args["meet"], args.get("drop", DROP)
    config = bert_config("bert", args["text"], args) | {
        "v_feature_size": args["feature"],
        "v_target_size": args.get("answers", ANSWERS).classes,
        "v_hidden_size": image.width,
        "v_num_hidden_layers": image.layers,
        "v_num_attention_heads": image.heads,
        "v_intermediate_size": image.hidden,
        "v_hidden_act": "gelu",
        "v_hidden_dropout_prob": drop,
        "v_attention_probs_dropout_prob": drop,
        "bi_hidden_size": meet.width,
        "bi_num_attention_heads": meet.heads,
        "t_biattention_id": list(meet.text),
        "v_biattention_id": list(meet.image),
        "fusion_method": "mul",
    }
    for key in ("model_type", "layer_norm_eps"):  # which its configurations do not have
        config.pop(key)
    return {CONFIG: json.dumps(config, indent=1).encode()}


LAYOUTS = (
    Published(
        NAME,
        "both of ViLBERT's releases, pre-trained or fine-tuned (gelu, eps 1e-12)",
        tuple(
            vilbert_rules(None, heads, tasks)
            for heads in (PRETRAINING, FIRST, ALL)
            for tasks in (False, True)
        ),
        _understand,
        _keys,
        _files,
    ),
)
