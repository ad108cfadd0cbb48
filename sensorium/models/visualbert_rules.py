"""The key-map rules of VisualBERT's published layouts: the original release and Hugging Face."""

from collections.abc import Collection

from sensorium.models.bert_rules import Rules, embedding_rules, layer_rules, masked_word_rules
from sensorium.weights.rules import KeyMap, drop, rename

TASKS = ("vqa", "nlvr", "vcr")  # heads that a file calls by one name: it has at most one of them
WORDS = "text.word.weight"


def original_visualbert(heads: Collection[str]) -> KeyMap:
    """The release's .th files. VCR's hold the detector too, which was trained with the model and is
    not part of it here."""
    old, ours = "bert.bert.embeddings", "image.parts"
    return KeyMap(
        [
            *embedding_rules(old, "text", norm="norm"),
            rename(f"{old}.projection.*", f"{ours}.look.proj.*"),
            rename(f"{old}.token_type_embeddings_visual.weight", f"{ours}.kind.table.weight"),
            rename(f"{old}.position_embeddings_visual.weight", f"{ours}.place.table.weight"),
            *layer_rules("bert.bert.encoder.layer", "stack.blocks"),
            rename("bert.bert.pooler.dense.*", "pool.proj.0.*"),
            *_pretraining("bert.cls", heads, bias=False),
            *_task("bert.classifier", heads),
            *([rename("bert.flickr_attention.**", "heads.ground.**")] if "ground" in heads else []),
            drop("detector.**"),
        ]
    )


def hf_visualbert(heads: Collection[str]) -> KeyMap:
    """transformers' VisualBert classes; which one depends on the heads."""
    new, ours = "visual_bert.embeddings", "image.parts"
    return KeyMap(
        [
            *embedding_rules(new, "text", norm="norm"),
            rename(f"{new}.visual_projection.*", f"{ours}.look.proj.*"),
            rename(f"{new}.visual_token_type_embeddings.weight", f"{ours}.kind.table.weight"),
            rename(f"{new}.visual_position_embeddings.weight", f"{ours}.place.table.weight"),
            *layer_rules("visual_bert.encoder.layer", "stack.blocks"),
            rename("visual_bert.pooler.dense.*", "pool.proj.0.*"),
            *_pretraining("cls", heads, bias=True),
            *_task("cls", heads),
            *([rename("attention.**", "heads.ground.**")] if "ground" in heads else []),
        ]
    )


def _pretraining(theirs: str, heads: Collection[str], bias: bool) -> Rules:
    rules: Rules = []
    if "mlm" in heads:
        rules += masked_word_rules(f"{theirs}.predictions", WORDS, bias=bias)
    if "itm" in heads:
        rules.append(rename(f"{theirs}.seq_relationship.*", "heads.itm.*"))
    return rules


def _task(theirs: str, heads: Collection[str]) -> Rules:
    return [rename(f"{theirs}.*", f"heads.{name}.head.head.*") for name in TASKS if name in heads]
