"""VisualBERT: "A Simple and Performant Baseline for Vision and Language".

Li et al. 2019, arXiv 1908.03557.

Words and a detector's regions in one BERT; plain self-attention aligns them. A region is its
projected feature, one position vector that all regions share, and the kind of its picture; boxes
are not read. One norm stands over both kinds of token.
"""

from collections.abc import Sequence

import torch
from torch import nn

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import WordPiece
from sensorium.forms.single_stream import SingleStream
from sensorium.models.bert import BertSize, bert_layers
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm
from sensorium.nn.heads import OfBoth, OfPhrases, OfPooled, OfWord
from sensorium.nn.pool import pooler
from sensorium.nn.regions import LinkedWords, Look, OwnKind, RegionEmbed, SamePlace
from sensorium.nn.words import Dropped, WordEmbed, bert_init, masked_words

MATCH = 1  # the label of "the second caption is of this picture too"
PRETRAINING = ("mlm", "itm")
ANSWERS = 3129  # of VQA v2; answer 0 is "unknown" and is not chosen at evaluation


def visualbert(
    text: BertSize,
    feature: int,
    heads: tuple[str, ...] = PRETRAINING,
    answers: int = ANSWERS,
    act: str = "gelu",
    eps: float = 1e-12,
    drop: float = 0.1,
) -> SingleStream:
    """VisualBERT with the heads that are named.

    Args:
        feature: width of a region's feature: 2048 (VQA), 1024 (NLVR2), 512 (VCR), 2054 (Flickr30k).
        heads: "mlm" and "itm" (pre-training), "vqa" (reads the word before the last: end questions
            as `question` does), "nlvr" (both pictures in one sequence), "vcr" (one number a
            choice), "ground" (phrases to regions).
        answers: of "vqa".

    Raises:
        ValueError: there is no head of such a name.
    """
    d = text.width
    words = WordEmbed(text.vocab, text.length, text.types, d, nn.Identity())
    parts = dict(
        look=Look(feature, d),
        place=SamePlace(text.length, d),
        kind=OwnKind(text.types, d),
        linked=LinkedWords(words.pos),
    )
    made = {
        "mlm": lambda: masked_words(d, words.word, activation(act), layer_norm(d, eps)),
        "itm": lambda: nn.Linear(d, 2),
        "vqa": lambda: OfWord(Dropped(drop, nn.Linear(d, answers)), from_end=2),
        "nlvr": lambda: OfBoth(Dropped(drop, nn.Linear(d, 2))),
        "vcr": lambda: OfPooled(Dropped(drop, nn.Linear(d, 1))),
        "ground": lambda: OfPhrases(d, d // text.heads),
    }
    net = SingleStream(
        text=words,
        image=RegionEmbed(parts),
        stack=Stack(bert_layers(text, act, eps, drop)),
        pool=pooler(d),
        heads=chosen(made, heads),
        norm=layer_norm(d, eps),
        drop=drop,
    )
    bert_init(net)
    return net


FROM_BERT = {  # where BERT's tensors go (`models.start`); its "next sentence" becomes the match
    "embed.norm.": "norm.",
    "embed.": "text.",
    "stack.": "stack.",
    "pool.": "pool.",
    "heads.mlm.": "heads.mlm.",
    "heads.nsp.": "heads.itm.",
}


@torch.no_grad()
def start_regions(net: SingleStream) -> None:
    """The tables of regions start as those of words (the release's `special_visual_initialize`)."""
    parts = "image.parts"
    net.get_parameter(f"{parts}.kind.table.weight").copy_(net.get_parameter("text.segment.weight"))
    net.get_parameter(f"{parts}.place.table.weight").copy_(net.get_parameter("text.pos.weight"))


def chosen(made: dict, heads: Sequence[str]) -> dict[str, nn.Module]:
    """The heads that are named, made.

    Raises:
        ValueError: there is no head of such a name; the message lists those there are.
    """
    if unknown := [name for name in heads if name not in made]:
        raise ValueError(f"no heads are called {unknown}; there are: {', '.join(made)}")
    return {name: made[name]() for name in heads}


def question(words: WordPiece, text: str, where: str = "the question") -> list[int]:
    """[CLS] question ? [MASK] [SEP]: the answer is read at [MASK] (section 4.1).

    The question's own "?" is kept, as the released code does; a long question loses its end, where
    the tokenizer may cut (`truncate`), and is refused where it may not (DataError).
    """
    tail = [*words.ids("?"), words.mask, words.eot]
    ids = words.ids(text, where)
    room = words.length - 1 - len(tail)
    if len(ids) > room and not words.truncate:
        raise DataError(
            f"{where} is too long: {len(ids)} tokens, and there is room for {room} before"
            " ? [MASK] [SEP]. Shorten it, or build the tokenizer with truncate=True"
        )
    return [words.sot, *ids[:room], *tail]


_BASE = BertSize(30522, 512, 2, 768, 12, 12, 3072)
SIZES = {
    "base-vqa": Declaration(visualbert, dict(text=_BASE, feature=2048)),
    "base-nlvr2": Declaration(visualbert, dict(text=_BASE, feature=1024)),
    "base-vcr": Declaration(visualbert, dict(text=_BASE, feature=512)),
    "base-flickr30k": Declaration(visualbert, dict(text=_BASE, feature=2054)),
}
_SMALL = BertSize(1000, 40, 2, 64, 2, 4, 128)
_HEADS = ("mlm", "itm", "vqa", "nlvr", "vcr", "ground")
TINY = Declaration(visualbert, dict(text=_SMALL, feature=32, heads=_HEADS, answers=12, drop=0.0))
PAPER = Paper(
    name="VisualBERT",
    year=2019,
    citation="Li et al., VisualBERT, arXiv 1908.03557",
    text="BERT",
    vision="Faster R-CNN",
    fusion="single stream",
    objectives="MLM+ITM",
    data="COCO",
    notes={
        "vision": "the detector differs by task, and is trained along on VCR (a ResNet-50)",
        "objectives": "ITM asks whether the second of two captions is of this picture too",
    },
)
