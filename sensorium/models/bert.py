"""BERT: "Pre-training of Deep Bidirectional Transformers for Language Understanding".

Devlin et al. 2018, arXiv 1810.04805.

One post-norm encoder over word pieces, each the sum of word, position and segment; a pooler on the
first token, a head for masked words tied to the word table, and a head for "is this the next
sentence". It is also where VisualBERT, UNITER, ViLBERT and ALBEF take their first weights from.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.encoder import Reader
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, post_layer
from sensorium.nn.pool import pooler
from sensorium.nn.words import WordEmbed, bert_init, masked_words


class BertSize(NamedTuple):
    """Vocabulary, positions, segments, and the transformer's size."""

    vocab: int
    length: int
    types: int
    width: int
    layers: int
    heads: int
    hidden: int


def bert(text: BertSize, act: str = "gelu", eps: float = 1e-12, drop: float = 0.1) -> Reader:
    """BERT with both heads of its pre-training, initialised as the released code does.

    Args:
        act: "gelu" (erf) in Hugging Face and in all that was trained with PyTorch; the released
            TensorFlow code computes "gelu_tanh".
        drop: on the embedding, behind both branches of a layer, and on the shares of attention.
    """
    embed = bert_words(text, eps, drop)
    net = Reader(
        embed=embed,
        stack=Stack(bert_layers(text, act, eps, drop)),
        pool=pooler(text.width),
        heads=dict(
            mlm=masked_words(text.width, embed.word, activation(act), layer_norm(text.width, eps)),
            nsp=nn.Linear(text.width, 2),
        ),
    )
    bert_init(net)
    return net


def bert_words(text: BertSize, eps: float, drop: float, padding: int | None = None) -> WordEmbed:
    """BERT's embedding with its norm."""
    s, norm = text, layer_norm(text.width, eps)
    return WordEmbed(s.vocab, s.length, s.types, s.width, norm, drop, padding)


def bert_layers(text: BertSize, act: str, eps: float, drop: float) -> list:
    """BERT's layers."""
    s = text
    layer = (s.width, s.heads, activation(act), eps, s.hidden, drop)
    return [post_layer(*layer) for _ in range(s.layers)]


def _size(vocab: int, width: int, layers: int) -> Declaration:
    size = BertSize(vocab, 512, 2, width, layers, width // 64, 4 * width)
    return Declaration(bert, dict(text=size))


SIZES = {
    "base-uncased": _size(30522, 768, 12),
    "base-cased": _size(28996, 768, 12),
    "large-uncased": _size(30522, 1024, 24),
    "large-cased": _size(28996, 1024, 24),
    "medium-uncased": _size(30522, 512, 8),
    "small-uncased": _size(30522, 512, 4),
    "mini-uncased": _size(30522, 256, 4),
    "tiny-uncased": _size(30522, 128, 2),
}
TINY = Declaration(bert, dict(text=BertSize(1000, 40, 2, 64, 2, 4, 128), drop=0.0))
PAPER = Paper(
    name="BERT",
    year=2018,
    citation="Devlin et al., BERT, arXiv 1810.04805",
    text="BERT",
    vision="none",
    fusion="encoder alone",
    objectives="MLM+NSP",
    data="BooksCorpus, English Wikipedia",
)
