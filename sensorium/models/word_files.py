"""Tokenizers and chat templates as published files hold them, to ours.

What a file says of its tokenizer is matched to what ours do, exactly, or refused.
"""

import json
from collections.abc import Mapping
from typing import Any

from sensorium.data.chat import matched
from sensorium.data.errors import DataError
from sensorium.data.tokenizers import byte_level, pieces, unigram
from sensorium.data.tokenizers.byte_level import COMPOSED, LLAMA3, ByteLevel
from sensorium.data.tokenizers.pieces import SentencePieces
from sensorium.data.tokenizers.unigram import Unigram
from sensorium.data.tokenizers.words import Words
from sensorium.models.published import Said, Understood
from sensorium.weights.errors import WeightsError

GGUF = "tokenizer.ggml."
GGUF_SPLITS = {"gpt-2": "gpt2", "smollm": "digits", "starcoder": "digits", "llama-bpe": "llama3"}
NORMAL, UNKNOWN, CONTROL, ADDED, UNUSED = 1, 2, 3, 4, 5
TOKENIZER, ABOUT = "tokenizer.json", "tokenizer_config.json"
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_LLAMA3 = {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False}
FORMS: dict[str, list[dict[str, Any]]] = {  # a tokenizer.json's "pre_tokenizer", step by step
    "gpt2": [_BYTES],
    "digits": [{"type": "Digits", "individual_digits": True}, _BYTES],
    "llama3": [_LLAMA3, _BYTES | {"use_regex": False}],
    "gpt2-nfc": [_BYTES],
}
NFC = {"type": "NFC"}
JOINED = [  # a "normalizer": how SentencePiece's texts are prepared
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
]
UNSEEN = {"type": "Replace", "pattern": {"String": "\0"}, "content": ""}


class Found(dict[str, Any]):
    """What files beside the weights hold of tokenizer and template, parsed, by file name."""


def read_words(understood: Understood, values: Mapping[str, Any]) -> Understood:
    """The model with its tokenizer and its template, as far as they are known here.

    Raises:
        WeightsError: the tokenizer is of a kind that ours cannot be, or its vocabulary is larger
            than the model's.
    """
    notes = list(understood.notes)
    try:
        words = hf(values) if isinstance(values, Found) else gguf(values)
    except DataError as wrong:
        raise WeightsError(f"the tokenizer: {wrong}") from wrong
    if words is None:
        note = "no tokenizer beside the file: prompts are given as ids"
        return understood._replace(notes=(*notes, note))
    size = understood.declaration.args["vocab"]
    if words.vocab > size:
        raise WeightsError(f"the tokenizer has {words.vocab} ids, the model {size}")
    chat = None
    text = values.get(ABOUT, {}).get("chat_template", values.get("tokenizer.chat_template"))
    if isinstance(text, str):
        try:
            chat = matched(text)
        except DataError as wrong:
            notes.append(str(wrong))
    return understood._replace(
        tokenizer=words.spec(), table=words.data(), chat=chat, notes=tuple(notes)
    )


# --- GGUF -------------------------------------------------------------------------------------


def gguf(values: Mapping[str, Any]) -> Words | None:
    """The tokenizer of a GGUF file; None where it has none.

    DataError: it is of a kind that ours cannot be.
    """
    kind = values.get(f"{GGUF}model")
    if kind is None or kind == "none":
        return None
    names, types = (values.get(f"{GGUF}{key}") for key in ("tokens", "token_type"))
    if not isinstance(names, list) or not isinstance(types, list) or len(names) != len(types):
        raise DataError("tokens and their types are no two lists of one length")
    special = (CONTROL, UNKNOWN, UNUSED)
    specials = {
        str(n): i for i, (n, t) in enumerate(zip(names, types, strict=True)) if t in special
    }
    ids = {key: values.get(f"{GGUF}{name}_token_id") for key, name in IDS.items()}
    if kind == "gpt2":
        split = GGUF_SPLITS.get(str(values.get(f"{GGUF}pre")))
        if split is None:
            known = ", ".join(GGUF_SPLITS)
            raise DataError(f"texts are cut by {values.get(f'{GGUF}pre')!r}; known are {known}")
        if values.get(f"{GGUF}add_space_prefix", False):
            raise DataError("a space is put before texts, which byte-level tokenizers here do not")
        added = {str(n): i for i, (n, t) in enumerate(zip(names, types, strict=True)) if t == ADDED}
        begins = values.get(f"{GGUF}add_bos_token", split == "llama3") is True
        merges = values.get(f"{GGUF}merges", [])
        return ByteLevel(
            byte_level.Table(
                names, merges, split, specials, added, **ids, begins=begins, whole=split == "llama3"
            )
        )
    if kind == "llama":
        if ADDED in types:
            raise DataError("it has tokens added by a user, which SentencePiece's here have not")
        begins = values.get(f"{GGUF}add_bos_token", True) is True
        prefix = values.get(f"{GGUF}add_space_prefix", True) is True
        scores = values.get(f"{GGUF}scores", [])
        return SentencePieces(
            pieces.Table(
                names, scores, specials, ids["bos"], ids["eos"], ids["pad"], begins, prefix
            )
        )
    raise DataError(f"it is of kind {kind!r}; known are gpt2 and llama")


IDS = {"bos": "bos", "eos": "eos", "pad": "padding"}


# --- Hugging Face -----------------------------------------------------------------------------


def hf_words(said: Said) -> Found:
    """The files beside the weights that say what the tokenizer is."""
    return Found({name: said.beside[name] for name in (TOKENIZER, ABOUT) if name in said.beside})


def hf(values: Mapping[str, Any]) -> Words | None:
    """The tokenizer of a tokenizer.json; None where there is none.

    DataError: it is of a kind that ours cannot be; the message says which part is not known.
    """
    whole = values.get(TOKENIZER)
    if whole is None:
        return None
    model, about = whole.get("model", {}), values.get(ABOUT, {})
    if model.get("type") == "Unigram":
        return _unigram(whole, about)
    if model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
        raise DataError(f"its model is of type {model.get('type')!r}; BPE and Unigram are known")
    extra = {one["content"]: one for one in whole.get("added_tokens") or ()}
    of = {**model["vocab"], **{name: one["id"] for name, one in extra.items()}}
    names = [""] * len(of)
    for name, id in of.items():
        if type(id) is not int or not 0 <= id < len(names) or names[id]:
            raise DataError(f"its ids are not 0 to {len(names) - 1}, each once ({name!r}: {id!r})")
        names[id] = name
    specials = {name: one["id"] for name, one in extra.items() if one.get("special")}
    added = {name: one["id"] for name, one in extra.items() if not one.get("special")}
    ids = {key: _named(about.get(f"{key}_token"), of) for key in IDS}
    merges = [" ".join(m) if isinstance(m, list) else str(m) for m in model.get("merges", ())]
    begins = bool(about.get("add_bos_token", _begins(whole, about)))
    if _by_pieces(whole):
        scores = _scores(names, merges)
        if added:
            raise DataError(f"it has added tokens that texts may contain ({next(iter(added))!r})")
        bos, eos, pad = (ids[key] for key in IDS)
        prefix = (whole.get("normalizer") or {}).get("normalizers") != JOINED[1:]
        return SentencePieces(pieces.Table(names, scores, specials, bos, eos, pad, begins, prefix))
    split = _split(whole)
    return ByteLevel(
        byte_level.Table(
            names,
            merges,
            split,
            specials,
            added,
            **ids,
            begins=begins,
            whole=bool(model.get("ignore_merges")),
        )
    )


def _unigram(whole: Mapping[str, Any], about: Mapping[str, Any]) -> Unigram:
    """T5's and its like. Added tokens that stand behind the pieces are special, whatever they say.

    DataError: its ids are not in one row, or it falls back to bytes.
    """
    model = whole["model"]
    pairs = model.get("vocab")
    if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise DataError("its pieces are no list of names and scores")
    if model.get("byte_fallback"):
        raise DataError("it spells unknown letters as bytes, which unigrams here do not")
    names, scores = [str(name) for name, _ in pairs], [float(score) for _, score in pairs]
    for one in sorted(whole.get("added_tokens") or (), key=lambda one: one["id"]):
        if one["id"] == len(names):
            names.append(one["content"])
            scores.append(0.0)
        elif one["id"] > len(names) or names[one["id"]] != one["content"]:
            raise DataError(f"added token {one['content']!r} is id {one['id']}, out of its row")
    of = {name: i for i, name in enumerate(names)}
    specials = {one["content"]: one["id"] for one in whole.get("added_tokens") or ()}
    bos, eos, pad = (_named(about.get(f"{key}_token"), of) for key in IDS)
    unk = model.get("unk_id")
    if type(unk) is not int:
        raise DataError("it has no piece for what is unknown")
    prepare, cut = whole.get("normalizer"), whole.get("pre_tokenizer")
    steps = (prepare or {}).get("normalizers", ())
    if steps[:1] == [UNSEEN]:  # an export of ours says so what is done here in any case
        prepare = steps[1] if steps[1:] else None
    return Unigram(unigram.Table(names, scores, unk, specials, bos, eos, pad, prepare, cut))


def _named(token: Any, of: Mapping[str, int]) -> int | None:
    name = token.get("content") if isinstance(token, Mapping) else token
    return of.get(name) if isinstance(name, str) else None


def _begins(whole: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether its post-processor puts the start token first."""
    steps = whole.get("post_processor") or {}
    for step in steps.get("processors", [steps]):
        if step.get("type") == "TemplateProcessing" and step.get("single"):
            return "SpecialToken" in step["single"][0]
        if step.get("type") == "RobertaProcessing":  # BART's: <s> before, </s> behind
            return True
    return False


def _split(whole: Mapping[str, Any]) -> str:
    prepare = whole.get("normalizer")
    if prepare not in (None, NFC):
        raise DataError(f"it normalises texts ({prepare.get('type')})")
    cut = whole.get("pre_tokenizer") or {}
    steps = cut.get("pretokenizers", [cut])
    said = [{k: v for k, v in step.items() if k != "trim_offsets"} for step in steps]
    for step in said:
        if step.get("type") == "ByteLevel":
            step.setdefault("use_regex", True)  # files older than the setting do not say it
    for name, form in FORMS.items():
        if said == form and (name in COMPOSED) is (prepare == NFC):
            return name
    raise DataError(f"it cuts texts in a way that is not known here: {json.dumps(said)[:300]}")


def _by_pieces(whole: Mapping[str, Any]) -> bool:
    """Whether it is SentencePiece's BPE as converted from LLaMA's, with byte fallback."""
    model = whole["model"]
    if not model.get("byte_fallback"):
        return False
    steps = (whole.get("normalizer") or {}).get("normalizers", [])
    new = whole.get("pre_tokenizer") or {}
    first = new.get("type") == "Metaspace" and new.get("prepend_scheme") == "first"
    plain = steps == JOINED or (steps == JOINED[1:] and not new)
    if not plain and not (first and not new.get("split")):
        raise DataError("it has byte fallback, but does not prepare texts as LLaMA's does")
    return True


def _scores(names: list[str], merges: list[str]) -> list[float]:
    """Scores by which pieces are joined in the order of the merges that make them first."""
    ranks: dict[str, int] = {}
    for line in merges:
        ranks.setdefault(line.replace(" ", ""), len(ranks))
    return [-float(ranks.get(name, len(ranks))) for name in names]
