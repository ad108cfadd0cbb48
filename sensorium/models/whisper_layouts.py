"""Whisper's weights as OpenAI, Hugging Face, CTranslate2 and whisper.cpp hold them, and back."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import spoken
from sensorium.data.tokenizers.spoken import ENGLISH_ONLY, Spoken
from sensorium.models.declaration import Declaration
from sensorium.models.published import (
    Published,
    Said,
    Shapes,
    Understood,
    built,
    config_of,
    layers,
    matches,
    must,
    only,
    shape,
)
from sensorium.models.whisper import ALIGNED, SIZES, Aligned, Size, upper_half, whisper
from sensorium.models.whisper_files import hf_files
from sensorium.models.whisper_rules import CT2_MAP, GGML_MAP, HF_MAP, OPENAI_MAP
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap

CONFIG, GENERATION, TOKENIZER = "config.json", "generation_config.json", "tokenizer.json"
CT2, GGML = "ctranslate2", "ggml"  # under these names a file's own header is handed on
HEAD = 64  # width of a head in every published size
Files = Callable[[Declaration, Mapping[str, Any]], dict[str, bytes]]


class Keys(NamedTuple):
    """What a layout calls the tensors that sizes are read off."""

    conv: str
    word: str
    frames: str
    length: str
    hearing: str
    speaking: str


OPENAI = Keys(
    conv="encoder.conv1.weight",
    word="decoder.token_embedding.weight",
    frames="encoder.positional_embedding",
    length="decoder.positional_embedding",
    hearing="encoder.blocks.{i}.attn_ln.weight",
    speaking="decoder.blocks.{i}.attn_ln.weight",
)
HF = Keys(
    conv="model.encoder.conv1.weight",
    word="model.decoder.embed_tokens.weight",
    frames="model.encoder.embed_positions.weight",
    length="model.decoder.embed_positions.weight",
    hearing="model.encoder.layers.{i}.fc1.weight",
    speaking="model.decoder.layers.{i}.fc1.weight",
)
CT = Keys(
    conv="encoder/conv1/weight",
    word="decoder/embeddings/weight",
    frames="encoder/position_encodings/encodings",
    length="decoder/position_encodings/encodings",
    hearing="encoder/layer_{i}/ffn/linear_0/weight",
    speaking="decoder/layer_{i}/ffn/linear_0/weight",
)


def _args(shapes: Shapes, keys: Keys, heads: int | None) -> dict[str, Any]:
    """The arguments that shapes tell; heads are 64 wide where nobody says otherwise."""
    width, mels, _ = shape(shapes, keys.conv, 3)
    vocab, _ = shape(shapes, keys.word, 2)
    count = heads or width // HEAD
    if not count or width % count:
        raise WeightsError(f"a width of {width} cannot be shared by {count} heads: say heads=")
    return dict(
        size=Size(width, layers(shapes, keys.speaking), count),
        listening=layers(shapes, keys.hearing),
        mels=mels,
        vocab=vocab,
        frames=shape(shapes, keys.frames, 2)[0],
        length=shape(shapes, keys.length, 2)[0],
    )


def understood(
    args: dict[str, Any], aligned: Any, source: str, notes: Sequence[str] = ()
) -> Understood:
    """The model with its tokenizer and the heads that word timestamps are read off."""
    size, said = args["size"], list(notes)
    found = checked_heads(aligned, size, source) if aligned is not None else None
    if found is None:
        same = [name for name, d in SIZES.items() if d.args | args == d.args]
        found = ALIGNED[same[0]] if len(same) == 1 else upper_half(size)
        if len(same) != 1:
            why = f"{' and '.join(same)} have these sizes" if same else "of no published size"
            said.append(f"word timestamps are read off the upper half of the decoder: {why}")
    declaration = Declaration(whisper, args | {"aligned": found})
    if args["vocab"] < ENGLISH_ONLY:
        return Understood(declaration, None, notes=(*said, "no tokenizer: its ids mean nothing"))
    try:
        words = spoken.published(args["vocab"])
    except DataError as wrong:
        raise WeightsError(str(wrong)) from wrong
    return Understood(declaration, None, words.spec(), notes=tuple(said), table=words.data())


def checked_heads(said: Any, size: Size, where: str) -> Aligned:
    """Layers and heads that a file names, each in the decoder.

    Raises:
        WeightsError: they are no such pairs.
    """
    fine = isinstance(said, list) and all(
        isinstance(one, list)
        and len(one) == 2
        and all(type(x) is int for x in one)
        and 0 <= one[0] < size.layers
        and 0 <= one[1] < size.heads
        for one in said
    )
    if not fine or not said:
        raise WeightsError(f"{where}: alignment_heads are not layers and heads of the decoder")
    return tuple((layer, head) for layer, head in said)


def _openai(shapes: Shapes, said: Said) -> Understood:
    return understood(_args(shapes, OPENAI, said.heads), None, "")


def _hf(shapes: Shapes, said: Said) -> Understood:
    config = config_of(said, CONFIG, ("whisper",))
    heads, aligned = said.heads, None
    if config is not None:
        only(
            {k: config[k] for k in ("activation_function", "scale_embedding") if k in config},
            {"activation_function": "gelu", "scale_embedding": False},
            CONFIG,
        )
        heads = config.get("decoder_attention_heads", heads)
        if config.get("encoder_attention_heads", heads) != heads or type(heads) is not int:
            raise WeightsError(f"{CONFIG}: encoder and decoder must have the same heads")
    args = _args(shapes, HF, heads)
    if config is not None:
        matches(
            config,
            {"d_model": args["size"].width, "num_mel_bins": args["mels"]}
            | {"vocab_size": args["vocab"], "encoder_layers": args["listening"]},
            CONFIG,
        )
    aligned = said.beside.get(GENERATION, {}).get("alignment_heads")
    same_words(said.beside.get(TOKENIZER), args["vocab"])
    return understood(args, aligned, GENERATION)


def _ct2(shapes: Shapes, said: Said) -> Understood:
    args = _args(shapes, CT, said.heads)
    config, header = said.beside.get(CONFIG), said.beside.get(CT2, {})
    if config is None:
        raise WeightsError(f"no {CONFIG} beside model.bin: copy the whole folder")
    words = header.get("words")
    if words is None and TOKENIZER not in said.beside:
        raise WeightsError(
            "no vocabulary beside model.bin (vocabulary.json, vocabulary.txt or tokenizer.json):"
            " copy the whole folder"
        )
    same_words(said.beside.get(TOKENIZER), args["vocab"])
    if words is not None:
        same_names(words, args["vocab"], "vocabulary")
    return understood(args, config.get("alignment_heads"), CONFIG)


def _ggml(shapes: Shapes, said: Said) -> Understood:
    header = said.beside.get(GGML, {})
    args = _args(shapes, OPENAI, header.get("heads", said.heads))
    own = {"vocab": args["vocab"], "listening": args["listening"], "mels": args["mels"]}
    matches(header, own | {"width": args["size"].width, "frames": args["frames"]}, "its header")
    found = understood(args, None, "")
    words = header.get("words")
    if words is not None and args["vocab"] >= ENGLISH_ONLY:
        own_words = spoken.published(args["vocab"])
        for place, word in enumerate(words):
            if place < own_words.vocab and word and own_words.spelt(place) != word:
                _other(f"word {place} of the file is {word!r}")
    return found


def same_words(file: Mapping[str, Any] | None, vocab: int) -> None:
    """Refuses a tokenizer.json that is not that of the released models.

    Raises:
        WeightsError: it names the first id that differs.
    """
    if file is None or vocab < ENGLISH_ONLY:
        return
    names = file.get("model", {}).get("vocab") if isinstance(file.get("model"), Mapping) else None
    if not isinstance(names, Mapping):
        raise WeightsError(f"{TOKENIZER} holds no vocabulary")
    words = spoken.published(vocab)
    end = Spoken(words).eot
    own = {name: i for i, name in enumerate(words.names[:end])}
    for name, place in names.items():
        if place < end and own.get(name) != place:
            _other(f"{TOKENIZER}: {name!r} is id {place}, in the released models {own.get(name)}")


def same_names(names: Sequence[str], vocab: int, where: str) -> None:
    """Refuses a list of ids' names that is not that of the released models."""
    words = spoken.published(vocab)
    end = Spoken(words).eot
    if len(names) < end:
        raise WeightsError(f"{where} has {len(names)} words, the model {vocab}: it is cut off")
    for place, (own, theirs) in enumerate(zip(words.names[:end], names, strict=False)):
        if own != theirs:
            _other(f"{where}: id {place} is {theirs!r}, in the released models {own!r}")


def _other(what: str) -> None:
    raise WeightsError(f"{what}: a vocabulary of another kind is not supported")


def _keys(name: str, keymap: KeyMap):
    def chosen(declaration: Declaration) -> KeyMap:
        must(built(declaration, whisper), name, "it holds Whisper models only")
        return keymap

    return chosen


def _own(name: str, files: Files) -> Files:
    """The same files, of Whisper models only."""

    def made(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
        must(built(declaration, whisper), name, "it holds Whisper models only")
        return files(declaration, manifest)

    return made


def _openai_files(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """The ten sizes, which OpenAI keeps in the same file."""
    return {"dims.json": json.dumps(dims(declaration), indent=1).encode()}


def dims(declaration: Declaration) -> dict[str, int]:
    """A model's sizes in OpenAI's words."""
    args, size = declaration.args, declaration.args["size"]
    return {
        "n_mels": args["mels"],
        "n_audio_ctx": args["frames"],
        "n_audio_state": size.width,
        "n_audio_head": size.heads,
        "n_audio_layer": args["listening"],
        "n_vocab": args["vocab"],
        "n_text_ctx": args["length"],
        "n_text_state": size.width,
        "n_text_head": size.heads,
        "n_text_layer": size.layers,
    }


def _unwritten(declaration: Declaration, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    raise WeightsError("this layout is read and not written: export as hf-whisper instead")


LAYOUTS = [
    Published(
        "openai-whisper",
        "OpenAI's Whisper (.pt)",
        (OPENAI_MAP,),
        _openai,
        _keys("openai-whisper", OPENAI_MAP),
        _own("openai-whisper", _openai_files),
    ),
    Published(
        "hf-whisper",
        "Whisper as transformers and the Hugging Face hub have it",
        (HF_MAP,),
        _hf,
        _keys("hf-whisper", HF_MAP),
        _own("hf-whisper", hf_files),
    ),
    Published(
        "ctranslate2-whisper",
        "CTranslate2's model.bin (faster-whisper), float or 8 bits; read only",
        (CT2_MAP,),
        _ct2,
        _keys("ctranslate2-whisper", CT2_MAP),
        _own("ctranslate2-whisper", _unwritten),
    ),
    Published(
        "ggml-whisper",
        "whisper.cpp's ggml files, packed or not; read only",
        (GGML_MAP,),
        _ggml,
        _keys("ggml-whisper", GGML_MAP),
        _own("ggml-whisper", _unwritten),
    ),
]
