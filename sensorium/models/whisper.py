"""Whisper: "Robust Speech Recognition via Large-Scale Weak Supervision".

Radford et al. 2022, arXiv 2212.04356.

A log-mel spectrogram of 30 seconds is encoded, and a causal decoder reads it: language, task,
timestamps and text are tokens of one vocabulary.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.decoder import Decoder, WordEmbed
from sensorium.forms.listener import Listener
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.attention import SelfAttention
from sensorium.nn.block import MLP, Block, Pre, Stack, layer_norm
from sensorium.nn.grouped import GroupedAttention, Heads, MemoryAttention
from sensorium.nn.keyless import KeylessKV, KeylessQKV
from sensorium.nn.layer import Before, FeedForward, Layer, LayerStack
from sensorium.nn.mel import SoundEmbed

EPS = 1e-5
Aligned = tuple[tuple[int, int], ...]


class Size(NamedTuple):
    """Width of both halves, layers of the decoder, heads; MLPs are four times as wide."""

    width: int
    layers: int
    heads: int


def whisper(
    size: Size,
    listening: int,
    mels: int,
    vocab: int,
    frames: int = 1500,
    length: int = 448,
    aligned: tuple[tuple[int, int], ...] = (),
) -> Listener:
    """A Whisper.

    Args:
        listening: layers of the encoder; its width and heads are the decoder's.
        mels: bins of the spectrogram.
        frames: tokens of the encoder, 50 a second.
        length: context of the decoder in tokens.
        aligned: layer and head of the decoder's heads that follow what is being said; word
            timestamps are read off them. None: those of the upper half of the layers.
    """
    d = size.width
    layers = [hearing_layer(d, size.heads) for _ in range(listening)]
    stack = LayerStack(
        [speaking_layer(d, size.heads) for _ in range(size.layers)], layer_norm(d, EPS)
    )
    decoder = Decoder(WordEmbed(vocab, d, length), stack, None, length)
    return Listener(SoundEmbed(mels, frames, d), Stack(layers, layer_norm(d, EPS)), decoder)


def hearing_layer(width: int, heads: int) -> Block:
    """A layer of the encoder."""
    attention = SelfAttention(width, heads)
    attention.qkv = KeylessQKV(width)
    mlp = MLP(width, 4 * width, nn.GELU())
    return Block(attn=Pre(attention, layer_norm(width, EPS)), mlp=Pre(mlp, layer_norm(width, EPS)))


def speaking_layer(width: int, count: int) -> Layer:
    """A layer of the decoder: attention to the text so far, to what was heard, an MLP."""
    heads = Heads(count, count, width // count)
    attention = GroupedAttention(width, heads, bias=(True, True))
    attention.qkv = KeylessQKV(width)
    look = MemoryAttention(width, heads, width, bias=(True, True))
    look.kv = KeylessKV(width)
    mlp = FeedForward(width, 4 * width, nn.GELU(), bias=True)
    return Layer(
        attn=Before(attention, layer_norm(width, EPS)),
        cross=Before(look, layer_norm(width, EPS)),
        mlp=Before(mlp, layer_norm(width, EPS)),
    )


def upper_half(size: Size) -> Aligned:
    """Every head of the upper half of the decoder: what is taken where no heads were published."""
    return tuple((i, h) for i in range(size.layers // 2, size.layers) for h in range(size.heads))


def _heads(said: str) -> Aligned:
    """ "1.0 2.5" as ((1, 0), (2, 5))."""
    pairs = (one.split(".") for one in said.split())
    return tuple((int(layer), int(head)) for layer, head in pairs)


ALIGNED = {  # published with the released weights
    "tiny.en": _heads("1.0 2.0 2.5 3.0 3.1 3.2 3.3 3.4"),
    "tiny": _heads("2.2 3.0 3.2 3.3 3.4 3.5"),
    "base.en": _heads("3.3 4.7 5.1 5.5 5.7"),
    "base": _heads("3.1 4.2 4.3 4.7 5.1 5.2 5.4 5.6"),
    "small.en": _heads(
        "6.6 7.0 7.3 7.8 8.2 8.5 8.7 9.0 9.4 9.8 9.10 10.0 10.1 10.2 10.3 10.6 10.11 11.2 11.4"
    ),
    "small": _heads("5.3 5.9 8.0 8.4 8.7 8.8 9.0 9.7 9.9 10.5"),
    "medium.en": _heads(
        "11.4 14.1 14.12 14.14 15.4 16.0 16.4 16.9 17.12 17.14 18.7 18.10 18.15 20.0 20.3 20.9"
        " 20.14 21.12"
    ),
    "medium": _heads("13.15 15.4 15.15 16.1 20.0 23.4"),
    "large-v1": _heads("9.19 11.2 11.4 11.17 22.7 22.11 22.17 23.2 23.15"),
    "large-v2": _heads(
        "10.12 13.17 16.11 16.12 16.13 17.15 17.16 18.4 18.11 18.19 19.11 21.2 21.3 22.3 22.9 22.12"
        " 23.5 23.7 23.13 25.5 26.1 26.12 27.15"
    ),
    "large-v3": _heads("7.0 10.17 12.18 13.12 16.1 17.14 19.11 21.4 24.1 25.6"),
    "large-v3-turbo": _heads("2.4 2.11 3.3 3.6 3.11 3.14"),
}
ENGLISH, MANY, MORE = 51864, 51865, 51866  # vocabularies: English alone, 99 languages, 100


def _one(name: str, width: int, listening: int, vocab: int, layers: int = 0) -> Declaration:
    size = Size(width, layers or listening, width // 64)
    mels = 128 if vocab == MORE else 80
    args = dict(size=size, listening=listening, mels=mels, vocab=vocab, aligned=ALIGNED[name])
    return Declaration(whisper, args)


SIZES = {  # table 1 of the paper, and what was released after it
    "tiny.en": _one("tiny.en", 384, 4, ENGLISH),
    "tiny": _one("tiny", 384, 4, MANY),
    "base.en": _one("base.en", 512, 6, ENGLISH),
    "base": _one("base", 512, 6, MANY),
    "small.en": _one("small.en", 768, 12, ENGLISH),
    "small": _one("small", 768, 12, MANY),
    "medium.en": _one("medium.en", 1024, 24, ENGLISH),
    "medium": _one("medium", 1024, 24, MANY),
    "large-v1": _one("large-v1", 1280, 32, MANY),
    "large-v2": _one("large-v2", 1280, 32, MANY),
    "large-v3": _one("large-v3", 1280, 32, MORE),
    "large-v3-turbo": _one("large-v3-turbo", 1280, 32, MORE, layers=4),
}
TINY = Declaration(
    whisper, dict(size=Size(64, 2, 4), listening=2, mels=80, vocab=96, frames=20, length=64)
)
PAPER = Paper(
    name="Whisper",
    year=2022,
    citation="Radford et al., Robust Speech Recognition, arXiv 2212.04356",
    text="GPT2",
    vision="none (log-mel audio)",
    fusion="encoder-decoder",
    objectives="next token",
    data="self-collected (680k hours)",
)
