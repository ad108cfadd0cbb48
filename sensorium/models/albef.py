"""ALBEF: "Align before Fuse", with momentum distillation.

Li et al. 2021, arXiv 2107.07651.

A ViT reads the picture, the lower half of a BERT the text; both are aligned by contrast; the upper
half of the BERT then reads the picture by cross-attention. Published weights rely on texts that do
not end in [SEP] (see `tokenizer`), on norms of two kinds, and on the fused [CLS] as it is.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from sensorium.data.tokenizers import WordPiece
from sensorium.forms.align_fuse import AlignFuse, Tower
from sensorium.models.bert import BertSize, bert_words
from sensorium.models.declaration import Declaration, Paper
from sensorium.models.visualbert import chosen
from sensorium.models.vit import Size
from sensorium.nn.activation import activation
from sensorium.nn.answering import OfAnswers
from sensorium.nn.block import Block, Stack, cross_layer, layer_norm, post_layer, pre_layer
from sensorium.nn.embed import PatchEmbed
from sensorium.nn.heads import OfPooled
from sensorium.nn.pool import First
from sensorium.nn.twin import OfTwo, TwinBlock, TwinStack
from sensorium.nn.words import bert_init, masked_words
from sensorium.weights.positions import resize_grid

MATCH = 1  # the label of a right pair
PRETRAINING = ("mlm", "itm")
TEMPERATURE = 0.07
FIRST, SECOND, NEITHER = 0, 1, 2  # of "ta": which picture the caption is of
TWO = ("nlvr", "ta")  # heads of the net that reads two pictures


def albef(
    text: BertSize,
    image: Size,
    embed: int | None = 256,
    fusion: int = 6,
    heads: tuple[str, ...] = PRETRAINING,
    decoder: int = 6,
    eps: tuple[float, float] = (1e-12, 1e-6),
    drop: float = 0.1,
) -> AlignFuse:
    """ALBEF with the heads that are named.

    Args:
        text: of both halves together: `layers` - `fusion` of the text's own, then those that fuse.
        embed: width of the shared space; None: there is none (fine-tuning on VQA, NLVR2 and VE).
        fusion: layers with cross-attention.
        heads: "mlm", "itm" (pre-training, and retrieval without "mlm"), "vqa" (a decoder that
            scores answers), "entail" (3 classes), "nlvr" (two pictures), "ta" (which of two
            pictures a caption is of). With one of the last two every layer that fuses stands there
            twice, the second for the second picture, with the first one's keys and values.
        decoder: layers of "vqa".
        eps: of the norms of BERT and of the ViT.
        drop: in the text's layers; the ViT has none.

    Raises:
        ValueError: there is no head of such a name.
    """
    d, (text_eps, image_eps) = text.width, eps
    words = bert_words(text, text_eps, drop)

    def gelu() -> nn.Module:
        return activation("gelu")

    def fusing() -> Block:
        size = (d, text.heads, gelu(), text_eps, text.hidden, drop)
        return cross_layer(*size, memory_width=image.width)

    def decoded() -> OfAnswers:
        own = bert_words(text, text_eps, drop)
        layer = (d, text.heads, gelu(), text_eps, text.hidden, drop)
        stack = Stack([cross_layer(*layer) for _ in range(decoder)])
        return OfAnswers(own, stack, masked_words(d, own.word, gelu(), layer_norm(d, text_eps)))

    def answer(count: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, count))

    made = {
        "mlm": lambda: masked_words(d, words.word, gelu(), layer_norm(d, text_eps)),
        "itm": lambda: nn.Linear(d, 2),
        "vqa": decoded,
        "entail": lambda: OfPooled(answer(3)),
        "nlvr": lambda: OfTwo(answer(2)),
        "ta": lambda: OfTwo(nn.Linear(d, 3)),
    }
    two = any(name in TWO for name in heads)
    own = (d, text.heads, gelu(), text_eps, text.hidden, drop)
    net = AlignFuse(
        image=picture(image, image_eps),
        text=Tower(words, Stack([post_layer(*own) for _ in range(text.layers - fusion)])),
        fusion=TwinStack([TwinBlock(fusing(), fusing()) for _ in range(fusion)])
        if two
        else Stack([fusing() for _ in range(fusion)]),
        image_pool=shared(image.width, embed),
        text_pool=shared(d, embed),
        pool=First(nn.Identity(), nn.Identity()),
        heads=chosen(made, heads),
        temperature=None if embed is None else TEMPERATURE,
    )
    bert_init(net)
    return net


def picture(size: Size, eps: float) -> Tower:
    """The ViT, with a norm behind its last layer."""
    s = size
    layers = [
        pre_layer(s.width, s.heads, activation("gelu"), eps, s.hidden) for _ in range(s.layers)
    ]
    embed = PatchEmbed(s.pixels, s.patch, s.width, bias=True)
    return Tower(embed, Stack(layers, layer_norm(s.width, eps)))


def shared(width: int, embed: int | None) -> First:
    """The first token, mapped to the shared space where there is one."""
    return First(nn.Identity(), nn.Identity() if embed is None else nn.Linear(width, embed))


def tokenizer(vocab: Sequence[str], length: int = 30, end: bool = False) -> WordPiece:
    """ALBEF's: uncased, without [SEP] at the end; answers of VQA have one (`end`).

    25 ids in pre-training and 30 at evaluation; clean texts first (`data.cleaning`). LAVIS puts
    [SEP] behind every text, and so shifts all scores a little.
    """
    return WordPiece(vocab, length, lower=True, truncate=True, longest_word=100, end=end)


def stretched(
    declaration: Declaration, tensors: Mapping[str, Tensor], pixels: int
) -> tuple[Declaration, dict[str, Tensor]]:
    """The same model for pictures of other sides: positions resized bicubically, class row kept.

    So were 256 pixels of pre-training made 384 of fine-tuning (`interpolate_pos_embed`).
    """
    size: Size = declaration.args["image"]
    old, new = size.pixels // size.patch, pixels // size.patch
    pos = resize_grid(tensors["image.embed.pos"], (old, old), (new, new), "bicubic")
    args = {**declaration.args, "image": size._replace(pixels=pixels)}
    return Declaration(declaration.function, args), {**tensors, "image.embed.pos": pos}


def twinned(trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a pre-trained model for one that reads two pictures: both halves of a layer
    start as what it was."""
    out = dict(trained)
    for name, tensor in trained.items():
        parts = name.split(".")  # fusion.blocks.0.cross.f.q.weight
        if parts[0] == "fusion" and ".f.kv." not in name:
            out[".".join([*parts[:3], f"{parts[3]}_second", *parts[4:]])] = tensor.clone()
    return out


def answering(trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a pre-trained model for one that answers: its decoder starts as the layers
    that fuse, with the words and the head for masked words."""
    out = dict(trained)
    for start, to in (
        ("fusion.", "heads.vqa.stack."),
        ("text.embed.", "heads.vqa.embed."),
        ("heads.mlm.", "heads.vqa.head."),
    ):
        for name, tensor in trained.items():
            if name.startswith(start):
                out[to + name.removeprefix(start)] = tensor.clone()
    return out


_TEXT = BertSize(30522, 512, 2, 768, 12, 12, 3072)
_IMAGE = Size(256, 16, 768, 12, 12, 3072)
_TUNED = dict(text=_TEXT, image=_IMAGE._replace(pixels=384))
SIZES = {
    "base": Declaration(albef, dict(text=_TEXT, image=_IMAGE)),
    "base-retrieval": Declaration(albef, dict(**_TUNED, heads=("itm",))),
    "base-vqa": Declaration(albef, dict(**_TUNED, embed=None, heads=("vqa",))),
    "base-entail": Declaration(albef, dict(**_TUNED, embed=None, heads=("entail",))),
    "base-nlvr2": Declaration(albef, dict(**_TUNED, embed=None, heads=("nlvr",))),
    "base-assign": Declaration(albef, dict(text=_TEXT, image=_IMAGE, heads=("ta",))),
}
_WORDS = BertSize(1000, 40, 2, 64, 3, 4, 128)
_SEEN = Size(32, 8, 64, 2, 4, 128)
_ARGS = dict(text=_WORDS, image=_SEEN, embed=32, fusion=2, decoder=1, drop=0.0)
TINY = Declaration(albef, dict(**_ARGS, heads=(*PRETRAINING, "vqa", "entail")))
TINY_TWO = Declaration(albef, dict(**_ARGS, heads=TWO))
PAPER = Paper(
    name="ALBEF",
    year=2021,
    citation="Li et al., Align before Fuse, arXiv 2107.07651",
    text="BERT",
    vision="ViT",
    fusion="align, then fuse",
    objectives="MLM+ITM+CMCL",
    data="CC+COCO+VG+SBU",
    notes={
        "fusion": "the survey says dual stream: two towers, whose states one stack fuses",
        "objectives": "CMCL is the paper's ITC, with a momentum teacher",
        "data": "the larger of two sets adds CC12M",
    },
)
