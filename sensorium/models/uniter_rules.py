"""The key-map rules of UNITER's release."""

from collections.abc import Collection

from sensorium.models.bert_rules import Rules, embedding_rules, layer_rules, masked_word_rules
from sensorium.weights.rules import KeyMap, drop, rename, split

LOOK = "image.parts.look"


def original_uniter(width: int, heads: Collection[str], old: bool = False) -> KeyMap:
    """The release's .pt files: pre-trained ones, and those of each fine-tuned task.

    `old` files call norms gamma and beta. The word table and the image projection, which two heads
    read again, are proved to be the same.
    """
    theirs = "uniter.img_embeddings"

    def norm(name: str, ours: str) -> Rules:
        pairs = (("gamma", "weight"), ("beta", "bias")) if old else (("*", "*"),)
        return [rename(f"{name}.{a}", f"{ours}.{z}") for a, z in pairs]

    def sequential(name: str, ours: str) -> Rules:
        """Linear, GELU, norm: 0, 1, 2."""
        return [rename(f"{name}.0.*", f"{ours}.dense.*"), *norm(f"{name}.2", f"{ours}.norm")]

    def answer(name: str, ours: str) -> Rules:
        up, down = rename(f"{name}.0.*", f"{ours}.up.*"), rename(f"{name}.3.*", f"{ours}.down.*")
        return [up, *norm(f"{name}.2", f"{ours}.norm"), down]

    def look(name: str, ours: str) -> Rules:
        """torch's attention of one sequence to another: queries, then keys and values."""
        cut = (width, 2 * width)
        return [
            split(f"{name}.in_proj_weight", (f"{ours}.q.weight", f"{ours}.kv.weight"), sizes=cut),
            split(f"{name}.in_proj_bias", (f"{ours}.q.bias", f"{ours}.kv.bias"), sizes=cut),
            rename(f"{name}.out_proj.*", f"{ours}.out.*"),
        ]

    word, tied = "text.word.weight", f"{LOOK}.proj.weight"
    of_heads: dict[str, Rules] = {
        "mlm": masked_word_rules("cls.predictions", word, old, bias=False),
        "itm": [rename("itm_output.*", "heads.itm.*")],
        "mrfr": [
            *sequential("feat_regress.net", "heads.mrfr.0"),
            rename("feat_regress.bias", "heads.mrfr.1.bias"),
            drop("feat_regress.weight", lambda s: {"feat_regress.weight": s[tied].clone()}),
        ],
        "mrc": [
            *sequential("region_classifier.net", "heads.mrc.0"),
            rename("region_classifier.net.3.*", "heads.mrc.1.*"),
        ],
        "vqa": answer("vqa_output", "heads.vqa.head"),
        "entail": answer("vqa_output", "heads.entail.head"),
        "vcr": answer("vcr_output", "heads.vcr.head"),
        "nlvr": [
            *look("attn1", "heads.nlvr.left"),
            *look("attn2", "heads.nlvr.right"),
            rename("fc.0.*", "heads.nlvr.mix.0.*"),
            rename("attn_pool.fc.0.*", "heads.nlvr.score.0.*"),
            rename("nlvr2_output.*", "heads.nlvr.head.*"),
        ],
        "nlvr_paired": [rename("nlvr2_output.*", "heads.nlvr_paired.head.*")],
        "nlvr_triplet": [rename("nlvr2_output.*", "heads.nlvr_triplet.head.*")],
        "ground": [rename("re_output.*", "heads.ground.head.*")],
        "ground_mlp": [
            *sequential("re_output", "heads.ground_mlp.head.0"),
            rename("re_output.3.*", "heads.ground_mlp.head.1.*"),
        ],
        "rank": [rename("rank_output.*", "heads.rank.head.*")],
    }
    return KeyMap(
        [
            *embedding_rules("uniter.embeddings", "text", old=old),
            rename(f"{theirs}.img_linear.*", f"{LOOK}.proj.*"),
            *norm(f"{theirs}.img_layer_norm", f"{LOOK}.norm"),
            rename(f"{theirs}.mask_embedding.weight", f"{LOOK}.mask.weight"),
            rename(f"{theirs}.pos_linear.*", "image.parts.place.proj.*"),
            *norm(f"{theirs}.pos_layer_norm", "image.parts.place.norm"),
            *norm(f"{theirs}.LayerNorm", "image.norm"),
            *layer_rules("uniter.encoder.layer", "stack.blocks", old),
            rename("uniter.pooler.dense.*", "pool.proj.0.*"),
            *(rule for name in heads for rule in of_heads[name]),
        ]
    )
