"""ViLBERT: "Pretraining Task-Agnostic Visiolinguistic Representations".

Lu et al. 2019, arXiv 1908.02265; its second version is "12-in-1" (Lu et al. 2020, 1912.02315).

A BERT of words and a smaller, wider-headed stack of regions, which read each other in co-attention
layers; the declaration says before which layers those stand. Before a picture's regions goes a
token of all of it (their mean), and both streams' first tokens are pooled, and multiplied.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize, bert_layers, bert_words
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.visualbert import chosen
from sensorium.nn.activation import activation
from sensorium.nn.attention import CrossAttention
from sensorium.nn.block import MLP, Block, Post, layer_norm, post_layer
from sensorium.nn.heads import OfPair, OfPooled, OfRegions, Unread
from sensorium.nn.pair import PairBlock, PairStack
from sensorium.nn.pool import Together, pooler
from sensorium.nn.regions import Box, Look, RegionEmbed, WholePicture, area
from sensorium.nn.weight_norm import NormedLinear
from sensorium.nn.words import Answer, Dropped, Transform, WithTasks, bert_init, masked_words

MATCH = 0  # the label of a right pair; the caption is what is replaced in a wrong one
PRETRAINING = ("mlm", "itm", "mrc")
TASKS = 20  # rows of the table of tasks in the second version


class RegionSize(NamedTuple):
    """The transformer of the stream of regions."""

    width: int
    layers: int
    heads: int
    hidden: int


class MeetSize(NamedTuple):
    """Co-attention: its width, its heads (128 wide), and where its layers stand.

    Layer i comes before layer `text[i]` of the words and layer `image[i]` of the regions.
    """

    width: int
    heads: int
    text: tuple[int, ...]
    image: tuple[int, ...]


class Answers(NamedTuple):
    """How many answers: of "vqa", of "gqa", and of the detector, background first ("mrc")."""

    vqa: int
    gqa: int
    classes: int


ANSWERS = Answers(3129, 1533, 1601)


def vilbert(
    text: BertSize,
    feature: int,
    image: RegionSize,
    meet: MeetSize,
    heads: tuple[str, ...] = PRETRAINING,
    answers: Answers = ANSWERS,
    tasks: int = 0,
    drop: float = 0.1,
) -> TwoStream:
    """ViLBERT with the heads that are named.

    The published weights have parts that nothing reads: a second projection in every co-attention
    layer and, with a head of fine-tuning, one number a word. They are kept (`unread`), so that a
    file which comes in goes out whole.

    Args:
        feature: width of a region's feature.
        heads: "mlm", "itm" and "mrc" (pre-training); "vqa" (of the second version; "vqa_normed" is
            that of the first, weight-normed), "gqa", "nlvr" (the text is read with each picture,
            both vectors answer), "entail" (3 classes), "rank" and "vcr" (one number a pair: the
            published weights have one such head for both), "ground" (one number a region).
        tasks: rows of the table of tasks (second version; 0: none), see `nn.words.WithTasks`.
        drop: everywhere but inside "vqa_normed", where it is 0.5 (0: nowhere).

    Raises:
        ValueError: there is no head of such a name, or co-attention stands before no layer.
    """
    eps, d, e = 1e-12, text.width, meet.width
    words = bert_words(text, eps, drop)
    parts = dict(look=Look(feature, image.width), place=Box(area, 5, image.width))
    seen = RegionEmbed(parts, norm=layer_norm(image.width, eps), drop=drop)

    def gelu() -> nn.Module:
        return activation("gelu")

    def answer(count: int, width: int = e) -> nn.Module:
        return Answer(width, count, gelu(), layer_norm(2 * e, eps), hidden=2 * e)

    def normed() -> nn.Module:
        thin = nn.Dropout(0.5 if drop else 0.0)
        return nn.Sequential(
            NormedLinear(e, 2 * e), nn.ReLU(), thin, NormedLinear(2 * e, answers.vqa)
        )

    def classes() -> nn.Module:
        transform = Transform(image.width, gelu(), layer_norm(image.width, eps))
        return nn.Sequential(transform, nn.Linear(image.width, answers.classes))

    made = {
        "mlm": lambda: masked_words(d, words.word, gelu(), layer_norm(d, eps)),
        "itm": lambda: nn.Linear(e, 2),
        "mrc": classes,
        "vqa": lambda: OfPooled(answer(answers.vqa)),
        "vqa_normed": lambda: OfPooled(normed()),
        "gqa": lambda: OfPooled(answer(answers.gqa)),
        "nlvr": lambda: OfPair(answer(2, 2 * e)),
        "entail": lambda: OfPooled(nn.Linear(e, 3)),
        "rank": lambda: OfPooled(nn.Linear(e, 1)),
        "vcr": lambda: OfPooled(nn.Linear(e, 1)),
        "ground": lambda: OfRegions(Dropped(drop, nn.Linear(image.width, 1))),
    }
    stands = order(text.layers, image.layers, meet)
    of_words = iter(bert_layers(text, "gelu", eps, drop))
    of_regions = iter(region_layers(image, eps, drop))
    layer = {
        "text": lambda: PairBlock(text=next(of_words)),
        "image": lambda: PairBlock(image=next(of_regions)),
        "meet": lambda: co_attention(text, image, meet, eps, drop),
    }
    net = TwoStream(
        text=WithTasks(words, tasks) if tasks else words,
        image=seen,
        stack=PairStack([layer[kind]() for kind, _ in stands]),
        pool=Together(pooler(d, e, nn.ReLU()), pooler(image.width, e, nn.ReLU()), drop),
        heads=chosen(made, heads),
        whole=WholePicture(seen),
    )
    spared = dict(meet=[(image.width, e), (d, e)] * len(meet.text))
    if tuned(heads):
        spared["words"] = [(1, d)]
    kept = {name: nn.ModuleList([Unread(*one) for one in size]) for name, size in spared.items()}
    net.add_module("unread", nn.ModuleDict(kept))
    bert_init(net)
    return net


def tuned(heads: Sequence[str]) -> bool:
    """Whether there is a head of fine-tuning: published files have all of them or none."""
    return not set(heads) <= set(PRETRAINING)


def region_layers(image: RegionSize, eps: float, drop: float) -> list[Block]:
    """BERT's layers in the width of the regions."""
    size = (image.width, image.heads, activation("gelu"), eps, image.hidden, drop)
    return [post_layer(*size) for _ in range(image.layers)]


def co_attention(
    text: BertSize, image: RegionSize, meet: MeetSize, eps: float, drop: float
) -> PairBlock:
    """Each stream asks the other, both as they came in; then an MLP each (figure 2b)."""

    def look(asks: int, told: int) -> Block:
        attention = CrossAttention(asks, meet.heads, told, drop=drop, inner=meet.width)
        return Block(cross=Post(attention, layer_norm(asks, eps), drop))

    def alone(width: int, hidden: int) -> Block:
        mlp = MLP(width, hidden, activation("gelu"))
        return Block(mlp=Post(mlp, layer_norm(width, eps), drop))

    return PairBlock(
        text=alone(text.width, text.hidden),
        image=alone(image.width, image.hidden),
        to_text=look(text.width, image.width),
        to_image=look(image.width, text.width),
    )


def order(text: int, image: int, meet: MeetSize) -> list[tuple[str, int]]:
    """Who runs when: layers of the "text" and of the "image", and those where they "meet".

    Raises:
        ValueError: the places of co-attention do not rise, or lie beyond the layers.
    """
    for places, count in ((meet.text, text), (meet.image, image)):
        if len(meet.text) != len(meet.image) or list(places) != sorted(places):
            raise ValueError(f"co-attention stands at {meet.text} and {meet.image}: not in order")
        if places and places[-1] > count:
            raise ValueError(f"co-attention stands at {places}, there are {count} layers")
    stands: list[tuple[str, int]] = []
    t = v = 0
    for number, (words, regions) in enumerate(zip(meet.text, meet.image, strict=True)):
        stands += [("image", i) for i in range(v, regions)]
        stands += [("text", i) for i in range(t, words)]
        stands.append(("meet", number))
        t, v = words, regions
    return [
        *stands,
        *(("image", i) for i in range(v, image)),
        *(("text", i) for i in range(t, text)),
    ]


def with_task(ids: Sequence[int], task: int, vocab: int) -> list[int]:
    """The ids of a text for a net with tasks, which is told that of this number."""
    return [*ids, vocab + task]


_BERT = BertSize(30522, 512, 2, 768, 12, 12, 3072)
ALL = (*PRETRAINING, "vqa", "gqa", "nlvr", "entail", "rank", "ground")


def _size(layers: int) -> Declaration:
    """As many layers of regions and of co-attention, the latter before the last ones of words."""
    meet = MeetSize(1024, 8, tuple(range(12 - layers, 12)), tuple(range(layers)))
    return Declaration(
        vilbert,
        dict(text=_BERT, feature=2048, image=RegionSize(1024, layers, 8, 1024), meet=meet),
    )


def _with(declaration: Declaration, **more) -> Declaration:
    return declaration._replace(args=declaration.args | more)


SIZES = {
    "base": _size(6),
    "base-2": _size(2),
    "base-4": _size(4),
    "base-8": _size(8),
    "base-12-in-1": _with(_size(6), heads=ALL, tasks=TASKS),
}
TINY = Declaration(
    vilbert,
    dict(
        text=BertSize(20, 40, 2, 64, 3, 4, 128),
        feature=32,
        image=RegionSize(48, 2, 2, 48),
        meet=MeetSize(48, 2, (1, 2), (0, 1)),
        heads=(*ALL, "vqa_normed", "vcr"),
        answers=Answers(12, 7, 21),
        tasks=5,
        drop=0.0,
    ),
)
PAPER = Paper(
    name="ViLBERT",
    year=2019,
    citation="Lu et al., ViLBERT, arXiv 1908.02265",
    text="BERT",
    vision="Faster R-CNN",
    fusion="dual stream",
    objectives="MLM+MRC+ITM",
    data="CC",
    notes={"objectives": "MRC compares distributions (KL)"},
)
