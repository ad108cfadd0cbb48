"""The key-map rules of ViLBERT's two releases, and of BERT's weights as its start."""

from collections.abc import Collection
from typing import NamedTuple

from sensorium.models.bert import BertSize
from sensorium.models.bert_rules import (
    Rules,
    attention_rules,
    cross_rules,
    embedding_rules,
    masked_word_rules,
    mlp_rules,
)
from sensorium.models.vilbert import MeetSize, RegionSize, order, tuned
from sensorium.weights.rules import KeyMap, drop, rename, reshape

KINDS = {"text": "layer", "image": "v_layer", "meet": "c_layer"}  # ours, theirs


class Sizes(NamedTuple):
    """What the places of layers depend on."""

    text: BertSize
    image: RegionSize
    meet: MeetSize


def vilbert_rules(sizes: Sizes | None, heads: Collection[str], tasks: bool = False) -> KeyMap:
    """Either release's files; without sizes the rules of any, for names."""
    words, regions = "text.words" if tasks else "text", "bert.v_embeddings"
    rules: Rules = [
        *embedding_rules("bert.embeddings", words),
        rename(f"{regions}.image_embeddings.*", "image.parts.look.proj.*"),
        rename(f"{regions}.image_location_embeddings.*", "image.parts.place.proj.*"),
        rename(f"{regions}.LayerNorm.*", "image.norm.*"),
        rename("bert.t_pooler.dense.*", "pool.text.proj.0.*"),
        rename("bert.v_pooler.dense.*", "pool.image.proj.0.*"),
    ]
    if tasks:
        rules.append(rename("bert.embeddings.task_embeddings.weight", "text.tasks.weight"))
    for kind, number, block in places(sizes):
        theirs = f"bert.encoder.{KINDS[kind]}.{number}"
        rules += co_attention(theirs, block) if kind == "meet" else one_layer(theirs, block, kind)
    rules += spared(sizes, tuned(tuple(heads)))
    return KeyMap([*rules, *head_rules(heads, f"{words}.word.weight")])


def places(sizes: Sizes | None) -> list[tuple[str, str, str]]:
    """Kind and number of each layer, and the block of ours that it is."""
    if sizes is None:
        return [(kind, "{i}", f"stack.{kind}.{{i}}") for kind in KINDS]
    stands = order(sizes.text.layers, sizes.image.layers, sizes.meet)
    return [(kind, str(i), f"stack.blocks.{at}") for at, (kind, i) in enumerate(stands)]


def one_layer(theirs: str, ours: str, kind: str) -> Rules:
    """A layer of one stream."""
    up, down = f"{theirs}.intermediate", f"{theirs}.output"
    attention = attention_rules(f"{theirs}.attention", f"{ours}.{kind}.attn")
    return [*attention, *mlp_rules((up, down), f"{ours}.{kind}.mlp")]


def co_attention(theirs: str, ours: str) -> Rules:
    """A layer where the streams meet: their 1 is the picture, their 2 the text."""
    rules: Rules = []
    for stream, asks, told, short in (("image", 1, 2, "v"), ("text", 2, 1, "t")):
        t, o = theirs, f"{ours}.to_{stream}.cross"
        names = {f"{t}.att.query": f"{t}.biattention.query{asks}"}
        names |= {f"{t}.att.{part}": f"{t}.biattention.{part}{told}" for part in ("key", "value")}
        names |= {f"{t}.out.dense": f"{t}.biOutput.dense{asks}"}
        names |= {f"{t}.out.LayerNorm": f"{t}.biOutput.LayerNorm{asks}"}
        plain = cross_rules(t, o, ("att", "out"))
        rules += [renamed(one, names) for one in plain]
        up, down = f"{theirs}.{short}_intermediate", f"{theirs}.{short}_output"
        rules += mlp_rules((up, down), f"{ours}.{stream}.mlp")
    return rules


def renamed(one, names: dict[str, str]):
    """The same rule with other beginnings of their names."""
    theirs = tuple(names[key.removesuffix(".*")] + ".*" for key in one.theirs)
    return one._replace(theirs=theirs)


def spared(sizes: Sizes | None, words: bool) -> Rules:
    """What nothing reads."""
    out = "bert.encoder.c_layer.{i}.biOutput.q_dense"
    rules: Rules = [rename("linguisic_logit.*", "unread.words.0.*")] if words else []
    if sizes is None:
        return [*rules, *(drop(f"{out}{n}.*") for n in (1, 2))]
    for i in range(len(sizes.meet.text)):
        for n in (1, 2):
            theirs = out.replace("{i}", str(i))
            rules.append(rename(f"{theirs}{n}.*", f"unread.meet.{2 * i + n - 1}.*"))
    return rules


def head_rules(heads: Collection[str], word: str) -> Rules:
    """The heads that the net has."""

    def answer(theirs: str, ours: str) -> Rules:
        pairs = (("0", "up"), ("2", "norm"), ("3", "down"))
        return [rename(f"{theirs}.logit_fc.{a}.*", f"heads.{ours}.head.{z}.*") for a, z in pairs]

    def normed(theirs: str, ours: str) -> Rules:
        return [
            reshape(f"{theirs}.weight_g", f"{ours}.gain", (), (1,)),
            rename(f"{theirs}.weight_v", f"{ours}.weight"),
            rename(f"{theirs}.bias", f"{ours}.bias"),
        ]

    seen, main = "cls.imagePredictions", "vil_prediction.main"
    of_heads: dict[str, Rules] = {
        "mlm": masked_word_rules("cls.predictions", word, bias=False),
        "itm": [rename("cls.bi_seq_relationship.*", "heads.itm.*")],
        "mrc": [
            rename(f"{seen}.transform.dense.*", "heads.mrc.0.dense.*"),
            rename(f"{seen}.transform.LayerNorm.*", "heads.mrc.0.norm.*"),
            rename(f"{seen}.decoder.*", "heads.mrc.1.*"),
        ],
        "vqa": answer("vil_prediction", "vqa"),
        "vqa_normed": [
            *normed(f"{main}.0", "heads.vqa_normed.head.0"),
            *normed(f"{main}.3", "heads.vqa_normed.head.3"),
        ],
        "gqa": answer("vil_prediction_gqa", "gqa"),
        "nlvr": answer("vil_binary_prediction", "nlvr"),
        "entail": [rename("vil_tri_prediction.*", "heads.entail.head.*")],
        "rank": [rename("vil_logit.*", "heads.rank.head.*")],
        "vcr": [rename("vil_logit.*", "heads.vcr.head.*")],
        "ground": [rename("vision_logit.*", "heads.ground.head.head.*")],
    }
    return [rule for name in heads for rule in of_heads[name]]


def from_bert(sizes: Sizes, tasks: bool = False) -> KeyMap:
    """BERT's weights (Hugging Face's names) as the start of the words' stream and their head.

    What else a ViLBERT has is not there: load with the `expected` names that begin with "text.", or
    are of blocks of the text, or of `heads.mlm`.
    """
    words = "text.words" if tasks else "text"
    rules: Rules = [
        *embedding_rules("bert.embeddings", words),
        *masked_word_rules("cls.predictions", f"{words}.word.weight"),
        drop("bert.pooler.**"),
        drop("cls.seq_relationship.**"),
    ]
    for kind, number, block in places(sizes):
        if kind == "text":
            rules += one_layer(f"bert.encoder.layer.{number}", block, kind)
    return KeyMap(rules)
