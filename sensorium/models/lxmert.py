"""LXMERT: "Learning Cross-Modality Encoder Representations from Transformers".

Tan and Bansal 2019, arXiv 1908.07490.

Three encoders: one of words, one of a detector's objects, and one in which both read each other.
In a layer of the third the two directions share one attention with one set of weights; then each
stream attends to itself and goes through its own MLP. An object is half the sum of what is seen and
where it is, both normed. Nothing starts from BERT's weights.
"""

from typing import NamedTuple

from torch import nn

from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize, bert_layers, bert_words
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.visualbert import chosen
from sensorium.nn.activation import activation
from sensorium.nn.attention import CrossAttention
from sensorium.nn.block import Block, Post, layer_norm
from sensorium.nn.heads import OfPair, OfPooled
from sensorium.nn.pair import PairBlock, PairStack
from sensorium.nn.pool import OfText, pooler
from sensorium.nn.regions import Box, Look, RegionEmbed, corners
from sensorium.nn.words import Answer, Behind, Transform, bert_init, masked_words

MATCH = 1  # the label of a right pair; the sentence is what is replaced in a wrong one
SEEN = ("obj", "attr", "feat")  # heads of objects, which share one transform
PRETRAINING = ("mlm", "itm", *SEEN, "qa")
ANSWERS = 9500  # of the pre-training's table; 3,129 in VQA v2, 1,842 in GQA
PADDING = 0  # row 0 of all three tables never learns: [CLS]'s position, and the segment of all text


class ObjectSize(NamedTuple):
    """Layers of the object encoder, and the detector's vocabulary."""

    layers: int
    classes: int
    attributes: int


class CrossSize(NamedTuple):
    """Layers of the cross-modality encoder."""

    layers: int


def lxmert(
    text: BertSize,
    feature: int,
    image: ObjectSize,
    cross: CrossSize,
    heads: tuple[str, ...] = PRETRAINING,
    answers: int = ANSWERS,
    eps: float = 1e-12,
    drop: float = 0.1,
) -> TwoStream:
    """LXMERT with the heads that are named.

    Args:
        text: `layers` are those of the language encoder; all three have its width.
        feature: width of an object's feature.
        heads: "mlm", "itm", "obj", "attr", "feat" and "qa" (pre-training), "vqa" (and GQA), "nlvr"
            (the sentence is read with each picture, both vectors answer).
        answers: of "qa" and "vqa".

    Raises:
        ValueError: there is no head of such a name.
    """
    d = text.width
    words = bert_words(text, eps, drop, PADDING)
    parts = dict(
        look=Look(feature, d, norm=layer_norm(d, eps)),
        place=Box(corners, 4, d, norm=layer_norm(d, eps)),
    )

    def gelu() -> nn.Module:
        return activation("gelu")

    def layers(count: int) -> list[Block]:
        return bert_layers(text._replace(layers=count), "gelu", eps, drop)

    def look() -> Block:
        attention = CrossAttention(d, text.heads, drop=drop)
        return Block(cross=Post(attention, layer_norm(d, eps), drop))

    pairs = zip(layers(cross.layers), layers(cross.layers), strict=True)
    blocks = [PairBlock(text=layer) for layer in layers(text.layers)]
    blocks += [PairBlock(image=layer) for layer in layers(image.layers)]
    blocks += [PairBlock(text=ours, image=seen, both=look()) for ours, seen in pairs]
    transform = Transform(d, gelu(), layer_norm(d, eps))
    owner = next((name for name in SEEN if name in heads), None)

    def seen(name: str, count: int) -> nn.Module:
        head = nn.Linear(d, count)
        return nn.Sequential(transform, head) if name == owner else Behind(transform, head)

    made = {
        "mlm": lambda: masked_words(d, words.word, gelu(), layer_norm(d, eps)),
        "itm": lambda: nn.Linear(d, 2),
        "obj": lambda: seen("obj", image.classes),
        "attr": lambda: seen("attr", image.attributes),
        "feat": lambda: seen("feat", feature),
        "qa": lambda: Answer(d, answers, gelu(), layer_norm(2 * d, eps)),
        "vqa": lambda: OfPooled(Answer(d, answers, gelu(), layer_norm(2 * d, eps))),
        "nlvr": lambda: OfPair(Answer(2 * d, 2, gelu(), layer_norm(2 * d, eps), hidden=2 * d)),
    }
    net = TwoStream(
        text=words,
        image=RegionEmbed(parts, drop=drop, scale=0.5),
        stack=PairStack(blocks),
        pool=OfText(pooler(d)),
        heads=chosen(made, heads),
    )
    bert_init(net)
    for table in (words.word, words.pos, words.segment):
        nn.init.normal_(table.weight, std=0.02)  # row 0 is drawn like the others, then never learns
    return net


_TEXT = BertSize(30522, 512, 2, 768, 9, 12, 3072)
SIZES = {
    "base": Declaration(
        lxmert, dict(text=_TEXT, feature=2048, image=ObjectSize(5, 1600, 400), cross=CrossSize(5))
    ),
}
TINY = Declaration(
    lxmert,
    dict(
        text=BertSize(1000, 40, 2, 64, 2, 4, 128),
        feature=32,
        image=ObjectSize(1, 20, 9),
        cross=CrossSize(2),
        heads=(*PRETRAINING, "vqa", "nlvr"),
        answers=12,
        drop=0.0,
    ),
)
PAPER = Paper(
    name="LXMERT",
    year=2019,
    citation="Tan and Bansal, LXMERT, arXiv 1908.07490",
    text="BERT",
    vision="Faster R-CNN",
    fusion="dual stream",
    objectives="MLM+ITM+MRC+MRFR+VQA",
    data="COCO+VG+VQA",
    notes={
        "text": "BERT's form and vocabulary, 9 layers, none of its weights",
        "objectives": "MRC names objects and attributes; VQA is answering as pre-training",
        "data": "VQA stands for the questions of VQA v2, GQA and VG-QA",
    },
)
