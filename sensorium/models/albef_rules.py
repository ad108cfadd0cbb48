"""The key-map rules of ALBEF's release, which LAVIS' files share."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import Tensor

from sensorium.models.bert_rules import (
    Rules,
    attention_rules,
    cross_rules,
    masked_word_rules,
    mlp_rules,
    norm_rules,
)
from sensorium.models.vilt_rules import TIMM, picture_rules, trunk_rules, word_rules
from sensorium.weights.rules import Drop, KeyMap, State, drop, rename, reshape

TWICE = ("key", "value")
COPIED = ("visual_encoder", "text_encoder", "vision_proj", "text_proj", "text_decoder", "cls_head")
QUEUES = ("image_queue", "text_queue", "idx_queue", "queue_ptr")
ALONE = ("itm_head", "ta_head")  # of which there is no momentum copy


class Depth(NamedTuple):
    """How deep a net is, and whether its layers that fuse stand there twice."""

    text: int
    fusion: int
    decoder: int
    two: bool


def original_albef(
    heads: Collection[str],
    depth: Depth,
    pos: tuple[int, int],
    embed: bool,
    momentum: bool = False,
) -> KeyMap:
    """The release's `model` tensors: of the model, or of its momentum copy.

    A file has both side by side. One map keeps the one, the other map the other; the queues are in
    neither (`carried` hands them on). The copy has no matching head, and shares the temperature.

    Args:
        pos: shape of the table of positions.
        embed: whether there is a shared space.
    """
    m = "_m" if momentum else ""
    masked = "mlm" in heads
    bert = f"text_encoder{m}" + (".bert" if masked else "")
    rules: Rules = [
        *picture_rules(f"visual_encoder{m}", "image.embed", TIMM, pos),
        *trunk_rules(f"visual_encoder{m}", "image.stack"),
        *word_rules(f"{bert}.embeddings", "text.embed"),
    ]
    for i in range(depth.text):
        rules += layer(f"{bert}.encoder.layer.{i}", f"text.stack.blocks.{i}")
    for i in range(depth.fusion):
        rules += fusing(f"{bert}.encoder.layer", depth.text, i, depth.two)
    if embed:
        rules += [
            rename(f"vision_proj{m}.*", "image_pool.proj.*"),
            rename(f"text_proj{m}.*", "text_pool.proj.*"),
            reshape("temp", "temperature", (), (1,)),
        ]
    if masked:
        rules += masked_word_rules(f"text_encoder{m}.cls.predictions", "text.embed.word.weight")
    if "vqa" in heads:
        rules += decoding(f"text_decoder{m}", depth.decoder)
    for name in {"nlvr", "entail"} & set(heads):
        rules += [rename(f"cls_head{m}.{i}.*", f"heads.{name}.head.{i}.*") for i in (0, 2)]
    if momentum:
        rules += [drop(f"{name}.**") for name in (*COPIED, *ALONE)]
    else:
        rules += [rename("itm_head.*", "heads.itm.*")] if "itm" in heads else []
        rules += [rename("ta_head.*", "heads.ta.head.*")] if "ta" in heads else []
        rules += [drop(f"{name}_m.**") for name in COPIED]
    return KeyMap([*rules, *(drop(name) for name in QUEUES)])


def layer(theirs: str, ours: str, suffix: str = "", cross: bool = False) -> Rules:
    """A layer of BERT, with cross-attention or not; `suffix` is that of our branches' names."""
    return [
        *attention_rules(f"{theirs}.attention", f"{ours}.attn{suffix}"),
        *(cross_rules(f"{theirs}.crossattention", f"{ours}.cross{suffix}") if cross else []),
        *mlp_rules((f"{theirs}.intermediate", f"{theirs}.output"), f"{ours}.mlp{suffix}"),
    ]


def fusing(theirs: str, start: int, i: int, two: bool) -> Rules:
    """Layer i of those that fuse: one of theirs, or two, whose keys and values are proved equal."""
    ours = f"fusion.blocks.{i}"
    if not two:
        return layer(f"{theirs}.{start + i}", ours, cross=True)
    first, second = (f"{theirs}.{start + 2 * i + half}" for half in (0, 1))
    return [
        *layer(first, ours, cross=True),
        *without_kv(layer(second, ours, "_second", cross=True)),
        *shared(second, f"{ours}.cross.f.kv"),
    ]


def without_kv(rules: Rules) -> Rules:
    """The rules less that of keys and values."""
    return [one for one in rules if isinstance(one, Drop) or not one.ours[0].endswith(".kv.*")]


def shared(theirs: str, kv: str) -> Rules:
    """Keys and values that are another layer's."""
    rules: Rules = []
    for place, part in enumerate(TWICE):
        for kind in ("weight", "bias"):
            key = f"{theirs}.crossattention.self.{part}.{kind}"
            rules.append(drop(key, half(key, f"{kv}.{kind}", place)))
    return rules


def half(key: str, ours: str, place: int):
    """What makes one half of our tensor theirs again."""

    def restore(state: State) -> State:
        return {key: state[ours].chunk(2)[place].clone()}

    return restore


def decoding(theirs: str, layers: int) -> Rules:
    """The decoder of answers."""
    ours, head = "heads.vqa", f"{theirs}.cls.predictions"
    word, bias = f"{ours}.embed.word.weight", f"{ours}.head.1.bias"
    rules: Rules = [*word_rules(f"{theirs}.bert.embeddings", f"{ours}.embed")]
    for i in range(layers):
        rules += layer(f"{theirs}.bert.encoder.layer.{i}", f"{ours}.stack.blocks.{i}", cross=True)
    return [
        *rules,
        rename(f"{head}.transform.dense.*", f"{ours}.head.0.dense.*"),
        *norm_rules(f"{head}.transform.LayerNorm", f"{ours}.head.0.norm"),
        rename(f"{head}.bias", bias),
        drop(f"{head}.decoder.weight", lambda s: {f"{head}.decoder.weight": s[word].clone()}),
        drop(f"{head}.decoder.bias", lambda s: {f"{head}.decoder.bias": s[bias].clone()}),
    ]


def carried(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The queues of a file, which go with training and not with either model."""
    return {name: state[name] for name in QUEUES if name in state}
