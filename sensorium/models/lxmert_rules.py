"""The key-map rules of LXMERT's published layouts: the original release and Hugging Face."""

from collections.abc import Collection
from typing import NamedTuple

from sensorium.models.bert_rules import (
    Rules,
    attention_rules,
    cross_rules,
    embedding_rules,
    masked_word_rules,
    mlp_rules,
)
from sensorium.models.lxmert import SEEN
from sensorium.weights.rules import KeyMap, rename

WORDS = "text.word.weight"


class Depths(NamedTuple):
    """Layers of the three encoders, which stand one after the other in one list of ours."""

    text: int
    image: int
    cross: int


class Names(NamedTuple):
    """What a layout calls the trunk and the head of answers."""

    trunk: str
    answer: str


ORIGINAL = Names("bert", "answer_head.logit_fc")
TUNED = Names("lxrt_encoder.model.bert", "logit_fc")
PARALLEL = Names("lxrt_encoder.model.module.bert", "logit_fc")  # trained on several processors
HF = Names("lxmert", "answer_head.logit_fc")


def lxmert_rules(names: Names, depths: Depths | None, heads: Collection[str]) -> KeyMap:
    """The rules of a layout for a net with these heads; without depths those of any, for names."""
    trunk, ours = f"{names.trunk}.encoder", "image.parts"
    rules: Rules = [
        *embedding_rules(f"{names.trunk}.embeddings", "text"),
        rename(f"{trunk}.visn_fc.visn_fc.*", f"{ours}.look.proj.*"),
        rename(f"{trunk}.visn_fc.visn_layer_norm.*", f"{ours}.look.norm.*"),
        rename(f"{trunk}.visn_fc.box_fc.*", f"{ours}.place.proj.*"),
        rename(f"{trunk}.visn_fc.box_layer_norm.*", f"{ours}.place.norm.*"),
        rename(f"{names.trunk}.pooler.dense.*", "pool.pool.proj.0.*"),
    ]
    text, image, cross = places(depths)
    for i, block in text:
        rules += one_layer(f"{trunk}.layer.{i}", f"{block}.text")
    for i, block in image:
        rules += one_layer(f"{trunk}.r_layers.{i}", f"{block}.image")
    for i, block in cross:
        rules += both_ways(f"{trunk}.x_layers.{i}", block)
    return KeyMap([*rules, *head_rules(names, heads)])


def places(depths: Depths | None) -> tuple[list[tuple[str, str]], ...]:
    """Of each encoder the numbers of its layers, and the blocks of ours that they are."""
    if depths is None:
        return tuple([("{i}", f"stack.{name}.{{i}}")] for name in Depths._fields)
    starts = (0, depths.text, depths.text + depths.image)
    return tuple(
        [(str(i), f"stack.blocks.{start + i}") for i in range(count)]
        for start, count in zip(starts, depths, strict=True)
    )


def both_ways(theirs: str, ours: str) -> Rules:
    """A layer in which both streams read each other."""
    rules = cross_rules(f"{theirs}.visual_attention", f"{ours}.both.cross", ("att", "output"))
    for name, stream in (("lang", "text"), ("visn", "image")):
        rules += attention_rules(f"{theirs}.{name}_self_att", f"{ours}.{stream}.attn")
        up, down = f"{theirs}.{name}_inter", f"{theirs}.{name}_output"
        rules += mlp_rules((up, down), f"{ours}.{stream}.mlp")
    return rules


def one_layer(theirs: str, ours: str) -> Rules:
    """A layer of BERT."""
    attention = attention_rules(f"{theirs}.attention", f"{ours}.attn")
    up, down = f"{theirs}.intermediate", f"{theirs}.output"
    return [*attention, *mlp_rules((up, down), f"{ours}.mlp")]


def head_rules(names: Names, heads: Collection[str]) -> Rules:
    """The heads that the net has."""
    owner = next((name for name in SEEN if name in heads), None)

    def answer(ours: str) -> Rules:
        pairs = (("0", "up"), ("2", "norm"), ("3", "down"))
        return [rename(f"{names.answer}.{a}.*", f"{ours}.{z}.*") for a, z in pairs]

    def seen(name: str) -> Rules:
        theirs = "obj_predict_head"
        decoder = f"{theirs}.decoder_dict.{name}.*"
        if name != owner:
            return [rename(decoder, f"heads.{name}.head.*")]
        return [
            rename(f"{theirs}.transform.dense.*", f"heads.{name}.0.dense.*"),
            rename(f"{theirs}.transform.LayerNorm.*", f"heads.{name}.0.norm.*"),
            rename(decoder, f"heads.{name}.1.*"),
        ]

    of_heads: dict[str, Rules] = {
        "mlm": masked_word_rules("cls.predictions", WORDS, bias=False),
        "itm": [rename("cls.seq_relationship.*", "heads.itm.*")],
        **{name: seen(name) for name in SEEN},
        "qa": answer("heads.qa"),
        "vqa": answer("heads.vqa.head"),
        "nlvr": answer("heads.nlvr.head"),
    }
    return [rule for name in heads for rule in of_heads[name]]
