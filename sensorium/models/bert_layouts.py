"""BERT's weights as Hugging Face and Google publish them: to our model, and back.

What is here for sizes and configurations serves every system that took BERT's layers over.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from sensorium.models.bert import BertSize, bert
from sensorium.models.bert_rules import google_bert, hf_bert
from sensorium.models.declaration import Declaration
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

EPS, DROP, HEAD = 1e-12, 0.1, 64  # of every BERT published; heads are 64 wide
CONFIG = "config.json"
ACTS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
NO_WORDS = "no vocab.txt is read: give the tokenizer (data.tokenizers.WordPiece) its vocabulary"


class Liberty(NamedTuple):
    """What no tensor shows of BERT's layers."""

    act: str
    eps: float
    drop: float
    heads: int


def bert_size(shapes: Shapes, table: str, layer: str, heads: int) -> BertSize:
    """The size from shapes: `table` is the embeddings' prefix, `layer` a layer's, with `{i}`.

    Raises:
        WeightsError: a tensor that tells it is missing, or heads do not share the width.
    """
    vocab, width = shape(shapes, f"{table}.word_embeddings.weight", 2)
    length = shape(shapes, f"{table}.position_embeddings.weight", 2)[0]
    types = shape(shapes, f"{table}.token_type_embeddings.weight", 2)[0]
    up = f"{layer}.intermediate.dense.weight"
    depth, hidden = layers(shapes, up), shape(shapes, up.replace("{i}", "0"), 2)[0]
    if heads < 1 or width % heads:
        raise WeightsError(f"{heads} heads cannot share a width of {width}: say heads=")
    return BertSize(vocab, length, types, width, depth, heads, hidden)


def heads_of(width: int, said: int | None) -> int:
    """How many heads: those said, or 64 wide ones, as in every published size.

    Raises:
        WeightsError: none were said, and the width is not one of whole heads of 64.
    """
    if said is None and width % HEAD:
        raise WeightsError(f"no tensor shows how many heads share a width of {width}: say heads=")
    return said or width // HEAD


def fixed(layout: str, width: int, said: Said, act: str = "gelu") -> Liberty:
    """The values that a layout means whatever a file holds.

    Raises:
        WeightsError: something else was said.
    """
    acts, eps = agree(layout, "act", said.act, act), agree(layout, "eps", said.eps, EPS)
    return Liberty(acts, eps, DROP, heads_of(width, said.heads))


def configured(said: Said, width: int, kinds: tuple[str, ...]) -> tuple[Liberty, Mapping[str, Any]]:
    """The values that config.json says, or the caller does where there is none.

    Raises:
        WeightsError: neither says them, or they are not understood.
    """
    config = config_of(said, CONFIG, kinds)
    if config is None:
        if said.act is None or said.eps is None:
            raise WeightsError(
                "no tensor shows the activation and the norms' eps: say act= and eps= (most BERTs:"
                ' act="gelu", eps=1e-12), or put config.json beside the file'
            )
        return Liberty(said.act, said.eps, DROP, heads_of(width, said.heads)), {}
    known = {"position_embedding_type": "absolute", "is_decoder": False}
    only({k: config[k] for k in known if k in config}, known, CONFIG)
    act = str(config.get("hidden_act", "gelu"))
    if act not in ACTS:
        raise WeightsError(f"{CONFIG}: hidden_act {act!r}; known are {', '.join(ACTS)}")
    share = config.get("hidden_dropout_prob", DROP)
    if not isinstance(share, (int, float)) or not 0 <= share < 1:
        raise WeightsError(f"{CONFIG}: hidden_dropout_prob is {share!r}, not a share")
    heads = whole(config, "num_attention_heads", 12, CONFIG)
    liberty = Liberty(
        agree(CONFIG, "act", said.act, ACTS[act]),
        agree(CONFIG, "eps", said.eps, number(config, "layer_norm_eps", EPS, CONFIG)),
        float(share),
        agree(CONFIG, "heads", said.heads, heads),
    )
    return liberty, config


def bert_config(kind: str, size: BertSize, args: Mapping[str, Any]) -> dict[str, Any]:
    """config.json's values of BERT's layers. `args` are the declaration's."""
    acts = {ours: theirs for theirs, ours in reversed(ACTS.items())}
    return {
        "model_type": kind,
        "hidden_act": acts[args.get("act", "gelu")],
        "layer_norm_eps": args.get("eps", EPS),
        "hidden_dropout_prob": args.get("drop", DROP),
        "attention_probs_dropout_prob": args.get("drop", DROP),
        "vocab_size": size.vocab,
        "max_position_embeddings": size.length,
        "type_vocab_size": size.types,
        "hidden_size": size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "intermediate_size": size.hidden,
    }


def sizes(size: BertSize) -> dict[str, int]:
    """The values of a configuration that weights show as well."""
    config = bert_config("", size, {})
    keys = ("vocab_size", "max_position_embeddings", "type_vocab_size", "hidden_size")
    return {key: config[key] for key in (*keys, "num_hidden_layers", "intermediate_size")}


def _hf(shapes: Shapes, said: Said) -> Understood:
    width = shape(shapes, "bert.embeddings.word_embeddings.weight", 2)[1]
    told, config = configured(said, width, ("bert",))
    size = bert_size(shapes, "bert.embeddings", "bert.encoder.layer.{i}", told.heads)
    matches(config, sizes(size), CONFIG)
    args = dict(text=size, act=told.act, eps=told.eps, drop=told.drop)
    return Understood(Declaration(bert, args), None, notes=(NO_WORDS,))


def _hf_files(name: str, declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, bert), name, "it holds BERT only")
    config = bert_config("bert", declaration.args["text"], declaration.args)
    config["architectures"] = ["BertForPreTraining"]
    return {CONFIG: json.dumps(config, indent=1).encode()}


def _google(shapes: Shapes, said: Said) -> Understood:
    renamed = {_dotted(key): value for key, value in shapes.items()}
    width = shape(renamed, "bert.embeddings.word_embeddings.weight", 2)[1]
    told = fixed("google-bert", width, said, "gelu_tanh")
    size = bert_size(renamed, "bert.embeddings", "bert.encoder.layer.{i}", told.heads)
    hidden = shape(renamed, "bert.encoder.layer.0.intermediate.dense.weight", 2)[1]
    args = dict(text=size._replace(hidden=hidden), act=told.act, eps=told.eps, drop=told.drop)
    return Understood(Declaration(bert, args), None, notes=(NO_WORDS,))


def _dotted(key: str) -> str:
    """A TensorFlow name as the PyTorch one that tells the same size (kernels lie the other way)."""
    key = key.replace("/", ".").replace("layer_", "layer.").replace(".kernel", ".weight")
    return f"{key}.weight" if key.endswith("_embeddings") else key


def _google_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    must(built(declaration, bert), "google-bert", "it holds BERT only")
    act = declaration.args.get("act", "gelu")
    must(act == "gelu_tanh", "google-bert", f"it means gelu_tanh, not {act}")
    return {}


def _map(name: str, keys: KeyMap, declaration: Declaration) -> KeyMap:
    must(built(declaration, bert), name, "it holds BERT only")
    return keys


def _hf_layout(name: str, about: str, old: bool) -> Published:
    keys = hf_bert(old)
    return Published(name, about, (keys,), _hf, partial(_map, name, keys), partial(_hf_files, name))


LAYOUTS = (
    _hf_layout("hf-bert", "Hugging Face's BERT; needs config.json, or act= and eps=", False),
    _hf_layout("hf-bert-old", "the same with norms called gamma and beta", True),
    Published(
        "google-bert",
        "Google's TensorFlow names, as .npz (gelu_tanh, eps 1e-12)",
        (google_bert(),),
        _google,
        partial(_map, "google-bert", google_bert()),
        _google_files,
        "model.npz",
    ),
)
