"""UNITER: "UNiversal Image-TExt Representation Learning".

Chen et al. 2020, arXiv 1909.11740.

Words (cased) and a detector's regions in one BERT. What is seen and where it is are normed apart,
summed with the segment row of pictures, and normed again; a masked region's feature is zero plus a
learnt vector. Of each pair only one side is masked at a time.
"""

from torch import nn

from sensorium.forms.single_stream import SingleStream
from sensorium.models.bert import BertSize, bert_layers, bert_words
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.visualbert import chosen
from sensorium.nn.activation import activation
from sensorium.nn.attention import CrossAttention
from sensorium.nn.block import Stack, layer_norm
from sensorium.nn.heads import OfBoth, OfPair, OfPairAttention, OfPooled, OfRegions
from sensorium.nn.pool import pooler
from sensorium.nn.regions import Box, Kind, Look, RegionEmbed, sides_and_area
from sensorium.nn.words import Answer, Tied, Transform, bert_init, masked_words

MATCH = 1  # the label of a right pair; the picture is what is replaced in a wrong one
PRETRAINING = ("mlm", "itm", "mrfr", "mrc")
ANSWERS, CLASSES = 3129, 1601  # of VQA v2; of the detector, background first


def uniter(
    text: BertSize,
    feature: int = 2048,
    heads: tuple[str, ...] = PRETRAINING,
    answers: int = ANSWERS,
    classes: int = CLASSES,
    eps: float = 1e-12,
    drop: float = 0.1,
) -> SingleStream:
    """UNITER with the heads that are named.

    Args:
        text: `types` is 2; 3 for "nlvr", "nlvr_paired" and "nlvr_triplet" (the second picture's
            row), 4 for "vcr" (question, picture, answer, rationale).
        heads: "mlm", "itm", "mrfr", "mrc" (pre-training), "vqa", "entail" (3 classes), "nlvr" (the
            two readings attend to each other; "nlvr_paired" and "nlvr_triplet" are the paper's
            other set-ups), "vcr" (wrong and right, one row a choice), "ground" (one number a
            region; "ground_mlp" is RefCOCO+'s), "rank" (one number a pair).
        answers: of "vqa".
        classes: of "mrc".

    Raises:
        ValueError: there is no head of such a name.
    """
    d = text.width
    words = bert_words(text, eps, drop)
    look = Look(feature, d, norm=layer_norm(d, eps), hidden=True)
    place = Box(sides_and_area, 7, d, norm=layer_norm(d, eps))
    parts = dict(look=look, place=place, kind=Kind(words.segment, offset=1))

    def gelu() -> nn.Module:
        return activation("gelu")

    def transform() -> Transform:
        return Transform(d, gelu(), layer_norm(d, eps))

    def answer(count: int, act: nn.Module) -> OfPooled:
        return OfPooled(Answer(d, count, act, layer_norm(2 * d, eps)))

    def attention() -> OfPairAttention:
        return OfPairAttention(
            left=CrossAttention(d, text.heads, drop=drop),
            right=CrossAttention(d, text.heads, drop=drop),
            mix=nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Dropout(drop)),
            score=nn.Sequential(nn.Linear(d, 1), nn.ReLU()),
            head=nn.Linear(2 * d, 2),
            drop=drop,
        )

    made = {
        "mlm": lambda: masked_words(d, words.word, gelu(), layer_norm(d, eps)),
        "itm": lambda: nn.Linear(d, 2),
        "mrfr": lambda: nn.Sequential(transform(), Tied(look.proj, turned=True)),
        "mrc": lambda: nn.Sequential(transform(), nn.Linear(d, classes)),
        "vqa": lambda: answer(answers, gelu()),
        "entail": lambda: answer(3, gelu()),
        "nlvr": attention,
        "nlvr_paired": lambda: OfPair(nn.Linear(2 * d, 2)),
        "nlvr_triplet": lambda: OfBoth(nn.Linear(d, 2)),
        "vcr": lambda: answer(2, activation("relu")),
        "ground": lambda: OfRegions(nn.Linear(d, 1)),
        "ground_mlp": lambda: OfRegions(nn.Sequential(transform(), nn.Linear(d, 1))),
        "rank": lambda: OfPooled(nn.Linear(d, 1)),
    }
    net = SingleStream(
        text=words,
        image=RegionEmbed(parts, norm=layer_norm(d, eps), drop=drop),
        stack=Stack(bert_layers(text, "gelu", eps, drop)),
        pool=pooler(d),
        heads=chosen(made, heads),
    )
    bert_init(net)
    return net


FROM_BERT = {  # where BERT's tensors go (`models.start`); its "next sentence" is not used
    "embed.": "text.",
    "stack.": "stack.",
    "pool.": "pool.",
    "heads.mlm.": "heads.mlm.",
    "heads.nsp.": "",
}


def _size(width: int, layers: int) -> Declaration:
    return Declaration(
        uniter, dict(text=BertSize(28996, 512, 2, width, layers, width // 64, 4 * width))
    )


SIZES = {"base": _size(768, 12), "large": _size(1024, 24)}
_SMALL = BertSize(1000, 40, 4, 64, 2, 4, 128)
_HEADS = (*PRETRAINING, "vqa", "nlvr", "nlvr_paired", "nlvr_triplet", "vcr", "ground", "rank")
TINY = Declaration(
    uniter, dict(text=_SMALL, feature=32, heads=_HEADS, answers=12, classes=21, drop=0.0)
)
PAPER = Paper(
    name="UNITER",
    year=2020,
    citation="Chen et al., UNITER, arXiv 1909.11740",
    text="BERT",
    vision="Faster R-CNN",
    fusion="single stream",
    objectives="MLM+ITM+WRA+MRFR+MRC",
    data="CC+COCO+VG+SBU",
    notes={"objectives": "MRC of the released models compares distributions (KL)"},
)
