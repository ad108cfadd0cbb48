"""ViLT: "Vision-and-Language Transformer Without Convolution or Region Supervision".

Kim et al. 2021, arXiv 2102.03334.

One ViT reads the words and the linearly projected patches of a picture in its own shape. Norms are
of three kinds: 1e-12 behind the words and in the head for masked words, 1e-6 in the trunk, 1e-5 in
the heads of answers. The head for masked words is not tied to the word table.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from sensorium.forms.single_stream import SingleStream
from sensorium.models.bert import BertSize, bert_words
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.visualbert import chosen
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.heads import OfPair, OfPooled
from sensorium.nn.patched import PatchedEmbed, WordKind
from sensorium.nn.pool import pooler
from sensorium.nn.words import Transform, bert_init

MATCH = 1  # the label of a right pair; row 1 of the matching head is where ranking starts from
PRETRAINING = ("mlm", "itm")
ANSWERS = 3129  # of VQA v2
ANSWER_EPS = 1e-5  # torch's own, in the heads of answers


def vilt(
    text: BertSize,
    pixels: int = 384,
    patch: int = 32,
    heads: tuple[str, ...] = PRETRAINING,
    answers: int = ANSWERS,
    eps: tuple[float, float] = (1e-12, 1e-6),
    drop: float = 0.1,
    most: int | None = None,
) -> SingleStream:
    """ViLT with the heads that are named.

    Args:
        text: the table of kinds has `types` + 1 rows for "nlvr" (the second picture's), else
            `types`; the words have a table of `types` segments of their own beside it.
        pixels: side of the picture that the learned grid of positions is for; any shape is read.
        heads: "mlm", "itm" (pre-training), "vqa", "nlvr" (one reading a picture), "rank" (one
            number a pair).
        answers: of "vqa".
        eps: of the norms around words, and of the trunk's; Hugging Face has 1e-12 for both.
        most: patches of a picture; pre-training draws 200 of those that have more, in random order
            (`data.patched.drawn_patches`), fine-tuning reads all (None).

    Raises:
        ValueError: there is no head of such a name.
    """
    d, (word_eps, trunk_eps) = text.width, eps
    kinds = text.types + ("nlvr" in heads)
    image = PatchedEmbed(pixels // patch, patch, d, kinds, drop, most)
    words = bert_words(text, word_eps, drop)

    def gelu() -> nn.Module:
        return activation("gelu")

    def answer(width: int, count: int) -> nn.Sequential:
        norm = layer_norm(2 * d, ANSWER_EPS)  # before the activation
        return nn.Sequential(nn.Linear(width, 2 * d), norm, gelu(), nn.Linear(2 * d, count))

    made = {
        "mlm": lambda: nn.Sequential(
            Transform(d, gelu(), layer_norm(d, word_eps)), nn.Linear(d, text.vocab)
        ),
        "itm": lambda: nn.Linear(d, 2),
        "vqa": lambda: OfPooled(answer(d, answers)),
        "nlvr": lambda: OfPair(answer(2 * d, 2)),
        "rank": lambda: OfPooled(nn.Linear(d, 1)),
    }
    layer = (d, text.heads, gelu(), trunk_eps, text.hidden, drop)
    net = SingleStream(
        text=WordKind(words, image.kind),
        image=image,
        stack=Stack([pre_layer(*layer) for _ in range(text.layers)], layer_norm(d, trunk_eps)),
        pool=pooler(d),
        heads=chosen(made, heads),
    )
    bert_init(net)
    return net


def begun(net: SingleStream, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What fine-tuning starts from: the tensors of a pre-trained ViLT, for a net with other heads.

    Ranking starts as row 1 of the matching head, the second picture's kind as the first's; heads
    that were not trained keep their random start (`ViLTransformerSS.__init__`).
    """
    start = {**net.state_dict(), **{k: v for k, v in trained.items() if k in net.state_dict()}}
    kind = trained["image.kind.weight"]
    more = start_rows(net) - len(kind)
    start["image.kind.weight"] = kind[[*range(len(kind)), *[1] * more]]
    if "rank" in net.heads and "heads.itm.weight" in trained:
        for part in ("weight", "bias"):
            start[f"heads.rank.head.{part}"] = trained[f"heads.itm.{part}"][MATCH:]
    return {name: tensor.clone() for name, tensor in start.items()}


def start_rows(net: SingleStream) -> int:
    """How many kinds a net tells apart."""
    assert isinstance(net.image, PatchedEmbed)
    return net.image.kind.num_embeddings


_BASE = BertSize(30522, 40, 2, 768, 12, 12, 3072)
SIZES = {
    "B/32": Declaration(vilt, dict(text=_BASE, most=200)),
    "B/32-vqa": Declaration(vilt, dict(text=_BASE, heads=("vqa",))),
    "B/32-nlvr2": Declaration(vilt, dict(text=_BASE, heads=("nlvr",))),
    "B/32-retrieval": Declaration(vilt, dict(text=_BASE, heads=("itm", "rank"))),
}
_SMALL = BertSize(1000, 40, 2, 64, 2, 4, 128)
_HEADS = (*PRETRAINING, "vqa", "nlvr", "rank")
TINY = Declaration(vilt, dict(text=_SMALL, pixels=64, patch=16, heads=_HEADS, answers=12, drop=0.0))
PAPER = Paper(
    name="ViLT",
    year=2021,
    citation="Kim et al., ViLT, arXiv 2102.03334",
    text="word embeddings",
    vision="linear projection",
    fusion="single stream",
    objectives="MLM+ITM+WPA",
    data="CC+COCO+VG+SBU",
    notes={
        "text": "the survey says ViT: words are embedded, and the one ViT reads both",
        "objectives": "the survey leaves out WPA (word-patch alignment)",
    },
)
