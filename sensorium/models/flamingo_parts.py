"""OpenFlamingo's published file, which holds what was trained alone, joined with what was not."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sensorium.data.interleaved import CHUNK, MARK
from sensorium.models.flamingo_rules import LANGUAGES, TEXT
from sensorium.models.published import Part
from sensorium.weights.errors import WeightsError

PARTS = ("lm", "tower")
GATE = "gated_cross_attn_layer"
TOKENIZER = "tokenizer.json"
NEW = (CHUNK, MARK, "<PAD>")  # in the order in which OpenFlamingo adds them; <PAD> if none is there


def join(trained: Part, parts: Mapping[str, Part]) -> Part:
    """The whole that is imported, with the language model's files and the new tokens beside it.

    Args:
        parts: `lm`, the language model's own file with its config.json, and `tower`, CLIP's.

    Raises:
        WeightsError: a file is another than is meant, or they are not of one model.
    """
    lm, tower = (parts[name] for name in PARTS)
    plain = {key.removeprefix("module."): t for key, t in trained.tensors.items()}
    if "perceiver.latents" not in plain:
        raise WeightsError(f"{trained.file}: no tensor perceiver.latents: this is no OpenFlamingo")
    if any(key.startswith("vision_encoder.") for key in plain):
        raise WeightsError(
            f"{trained.file}: is whole already (it has vision_encoder.*): leave out --lm and"
            " --tower, and put the language model's config.json beside it"
        )
    if "config.json" not in lm.beside:
        raise WeightsError(
            f"--lm {lm.file}: no config.json beside it, which says its kind and its heads: put the"
            " language model's there"
        )
    where = {"lm": f"--lm {lm.file}", "clip": f"--tower {tower.file}"}
    whole = completed(plain, lm.tensors, tower.tensors, where)
    _fit(trained.file, plain, lm, tower)
    beside = dict(lm.beside)
    top = _top(lm.tensors)
    if TOKENIZER in beside:
        names = [f"{TEXT}{one.words}" for one in LANGUAGES.values() if one.layers == top]
        rows = len(whole[next(name for name in names if name in whole)])
        beside[TOKENIZER] = _with_tokens(beside[TOKENIZER], rows, trained.file, lm.file)
    return Part(trained.file, whole, beside)


def completed(
    trained: Mapping[str, Tensor],
    lm: Mapping[str, Tensor],
    clip: Mapping[str, Tensor],
    where: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """A published file's tensors with those that were not trained: the whole that is imported.

    Args:
        trained: OpenFlamingo's checkpoint.pt; what it holds counts (the word vectors).
        lm: the language model's own file.
        clip: CLIP's in OpenAI's or open_clip's names.
        where: what errors call `lm` and `clip`.

    Raises:
        WeightsError: the language model is of no kind that is known here, or `clip` has no tower.
    """
    where = where or {"lm": "lm", "clip": "clip"}
    plain = {key.removeprefix("module."): tensor for key, tensor in trained.items()}
    top = _top(lm)
    if top is None:
        known = ", ".join(dict.fromkeys(one.layers for one in LANGUAGES.values()))
        raise WeightsError(
            f"{where['lm']}: no layers named {known}: give MPT's, GPT-NeoX's or LLaMA's own file in"
            " Hugging Face's names"
        )
    if "visual.conv1.weight" not in clip or "visual.class_embedding" not in clip:
        missing = [k for k in ("visual.conv1.weight", "visual.class_embedding") if k not in clip]
        raise WeightsError(
            f"{where['clip']}: no tensor {missing[0]}: give OpenAI's or open_clip's ViT-L/14"
        )
    out = {}
    for key, tensor in lm.items():
        head, _, rest = key.removeprefix(f"{top}.").partition(".")
        deep = key.startswith(f"{top}.")
        out[TEXT + (f"{top}.{head}.decoder_layer.{rest}" if deep else key)] = tensor
    if "lm_head.weight" in lm and LANGUAGES["mpt.mpt"].layers == top:
        del out[f"{TEXT}lm_head.weight"]  # a copy of word vectors that are replaced
    seen = {
        "vision_encoder." + key.removeprefix("visual."): tensor
        for key, tensor in clip.items()
        if key.startswith("visual.")
    }
    return {**out, **seen, **plain}


def _top(lm: Mapping[str, Any]) -> str | None:
    """Where a language model's layers stand, by its own names."""
    kinds = [one.layers for one in LANGUAGES.values()]
    return next((top for top in kinds if any(key.startswith(f"{top}.") for key in lm)), None)


def _fit(file: str, trained: Mapping[str, Tensor], lm: Part, tower: Part) -> None:
    """Raises WeightsError unless what was trained was so beside this language model and tower."""
    top = f"{_top(lm.tensors)}"
    gates = {key: t for key, t in trained.items() if f".{GATE}." in key}
    own = {key: t for key, t in gates.items() if key.startswith(f"{TEXT}{top}.")}
    if not own:
        meant = next(iter(gates), "none").removeprefix(TEXT).split(f".{GATE}.")[0]
        raise WeightsError(
            f"--lm {lm.file}: its layers are named {top}.*, and {file} was trained inside"
            f" {meant.rpartition('.')[0] or 'no'} layers: give the language model it was trained on"
        )
    depth = 1 + max(_number(key, f"{top}.") for key in lm.tensors if key.startswith(f"{top}."))
    last = 1 + max(_number(key, f"{TEXT}{top}.") for key in own)
    if last != depth:
        raise WeightsError(
            f"--lm {lm.file}: has {depth} layers, and {file} was trained inside {last}: give the"
            " language model it was trained on"
        )
    words = {one.words for one in LANGUAGES.values() if one.layers == top} & lm.tensors.keys()
    wide = lm.tensors[min(words)].shape[-1] if words else None
    for key, tensor in own.items():
        if wide is not None and key.endswith(".attn.to_q.weight") and tensor.shape[-1] != wide:
            raise WeightsError(
                f"--lm {lm.file}: its states are {wide} wide, and {file} was trained with"
                f" {tensor.shape[-1]} ({key}): give the language model it was trained on"
            )
    sees, reads = tower.tensors["visual.conv1.weight"].shape[0], trained["perceiver.latents"]
    if reads.shape[-1] != sees:
        raise WeightsError(
            f"--tower {tower.file}: its states are {sees} wide, and {file} reads"
            f" {reads.shape[-1]} (perceiver.latents): give the CLIP it was trained with, ViT-L/14"
        )


def _number(key: str, before: str) -> int:
    number = key.removeprefix(before).partition(".")[0]
    if not number.isdecimal():
        raise WeightsError(f"{key}: {number!r} is no layer's number")
    return int(number)


def _with_tokens(table: Mapping[str, Any], rows: int, file: str, lm: str) -> Mapping[str, Any]:
    """The language model's tokenizer.json with the tokens that OpenFlamingo adds behind its own.

    WeightsError: the word vectors are not those of this tokenizer and two or three new tokens.
    """
    added = list(table.get("added_tokens") or ())
    if any(one.get("content") == MARK for one in added):
        return table
    vocab = table.get("model", {}).get("vocab", ())
    ids = vocab.values() if isinstance(vocab, Mapping) else range(len(vocab))
    count = 1 + max([*ids, *(one["id"] for one in added)], default=-1)
    if rows - count not in (2, 3):
        raise WeightsError(
            f"{file}: has {rows} word vectors, and the tokenizer.json beside --lm {lm} {count}"
            " tokens; OpenFlamingo adds 2 or 3: give the tokenizer it was trained with"
        )
    new = [{"id": count + i, "content": NEW[i], "special": True} for i in range(rows - count)]
    return {**table, "added_tokens": [*added, *new]}
