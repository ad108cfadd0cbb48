"""The key-map rules of BERT's published layouts, and of the layers that other systems took over."""

from sensorium.weights import ops
from sensorium.weights.rules import Drop, KeyMap, Rule, drop, rename, rule, stack

Rules = list[Rule | Drop]


def norm_rules(theirs: str, ours: str, old: bool = False) -> Rules:
    """A layer norm; in `old` files it is called gamma and beta."""
    if not old:
        return [rename(f"{theirs}.*", f"{ours}.*")]
    return [
        rename(f"{theirs}.gamma", f"{ours}.weight"),
        rename(f"{theirs}.beta", f"{ours}.bias"),
    ]


def attention_rules(theirs: str, ours: str, names: tuple[str, str] = ("self", "output"), old=False):
    """Self-attention and the norm behind it: `theirs`.self.query, `ours`.f.qkv, `ours`.norm."""
    inner, out = names
    asked = tuple(f"{theirs}.{inner}.{part}.*" for part in ("query", "key", "value"))
    return [
        stack(asked, f"{ours}.f.qkv.*"),
        rename(f"{theirs}.{out}.dense.*", f"{ours}.f.out.*"),
        *norm_rules(f"{theirs}.{out}.LayerNorm", f"{ours}.norm", old),
    ]


def cross_rules(theirs: str, ours: str, names: tuple[str, str] = ("self", "output"), old=False):
    """Cross-attention: its keys and values are one product of ours."""
    inner, out = names
    told = tuple(f"{theirs}.{inner}.{part}.*" for part in ("key", "value"))
    return [
        rename(f"{theirs}.{inner}.query.*", f"{ours}.f.q.*"),
        stack(told, f"{ours}.f.kv.*"),
        rename(f"{theirs}.{out}.dense.*", f"{ours}.f.out.*"),
        *norm_rules(f"{theirs}.{out}.LayerNorm", f"{ours}.norm", old),
    ]


def mlp_rules(theirs: tuple[str, str], ours: str, old: bool = False) -> Rules:
    """The MLP: `theirs` names its two halves ("layer.0.intermediate", "layer.0.output")."""
    up, down = theirs
    return [
        rename(f"{up}.dense.*", f"{ours}.f.up.*"),
        rename(f"{down}.dense.*", f"{ours}.f.down.*"),
        *norm_rules(f"{down}.LayerNorm", f"{ours}.norm", old),
    ]


def layer_rules(theirs: str, ours: str, old: bool = False) -> Rules:
    """A stack of BERT's layers: `theirs` is "bert.encoder.layer", `ours` "stack.blocks"."""
    t, o = f"{theirs}.{{i}}", f"{ours}.{{i}}"
    return [
        *attention_rules(f"{t}.attention", f"{o}.attn", old=old),
        *mlp_rules((f"{t}.intermediate", f"{t}.output"), f"{o}.mlp", old),
    ]


def embedding_rules(theirs: str, ours: str, norm: str | None = None, old: bool = False) -> Rules:
    """The three tables and the norm behind their sum (`norm`: ours, where it is another part's)."""
    return [
        rename(f"{theirs}.word_embeddings.weight", f"{ours}.word.weight"),
        rename(f"{theirs}.position_embeddings.weight", f"{ours}.pos.weight"),
        rename(f"{theirs}.token_type_embeddings.weight", f"{ours}.segment.weight"),
        *norm_rules(f"{theirs}.LayerNorm", norm or f"{ours}.norm", old),
        drop(f"{theirs}.position_ids"),
    ]


def masked_word_rules(theirs: str, word: str, old: bool = False, bias: bool = True) -> Rules:
    """The head for masked words: `theirs` is "cls.predictions", `word` our table's name.

    The decoder is the word table again, and is proved to be; `bias`: files have its bias twice.
    """
    twice = [drop(f"{theirs}.decoder.bias", lambda s: {f"{theirs}.decoder.bias": s[_BIAS].clone()})]
    return [
        rename(f"{theirs}.transform.dense.*", "heads.mlm.0.dense.*"),
        *norm_rules(f"{theirs}.transform.LayerNorm", "heads.mlm.0.norm", old),
        rename(f"{theirs}.bias", _BIAS),
        drop(f"{theirs}.decoder.weight", lambda s: {f"{theirs}.decoder.weight": s[word].clone()}),
        *(twice if bias else []),
    ]


_BIAS = "heads.mlm.1.bias"


def hf_bert(old: bool = False) -> KeyMap:
    """BERT as Hugging Face has it (BertForPreTraining); `old` files say gamma and beta."""
    return KeyMap(
        [
            *embedding_rules("bert.embeddings", "embed", old=old),
            *layer_rules("bert.encoder.layer", "stack.blocks", old),
            rename("bert.pooler.dense.*", "pool.proj.0.*"),
            *masked_word_rules("cls.predictions", "embed.word.weight", old),
            rename("cls.seq_relationship.*", "heads.nsp.*"),
        ]
    )


def google_bert() -> KeyMap:
    """BERT as Google released it: the names of its TensorFlow checkpoints, kernels (in, out)."""
    t, o = "bert/encoder/layer_{i}", "stack.blocks.{i}"
    qkv = [f"{t}/attention/self/{part}" for part in ("query", "key", "value")]
    turn, joined = ops.permute(1, 0), ops.concat(3)

    def dense(theirs: str, ours: str) -> Rules:
        weight = rule(f"{theirs}/kernel", f"{ours}.weight", turn)
        return [weight, rename(f"{theirs}/bias", f"{ours}.bias")]

    def norm(theirs: str, ours: str) -> Rules:
        gain = rename(f"{theirs}/gamma", f"{ours}.weight")
        return [gain, rename(f"{theirs}/beta", f"{ours}.bias")]

    kernels, biases = (tuple(f"{x}/{kind}" for x in qkv) for kind in ("kernel", "bias"))
    return KeyMap(
        [
            rename("bert/embeddings/word_embeddings", "embed.word.weight"),
            rename("bert/embeddings/position_embeddings", "embed.pos.weight"),
            rename("bert/embeddings/token_type_embeddings", "embed.segment.weight"),
            *norm("bert/embeddings/LayerNorm", "embed.norm"),
            rule(kernels, f"{o}.attn.f.qkv.weight", turn, joined),
            rule(biases, f"{o}.attn.f.qkv.bias", joined),
            *dense(f"{t}/attention/output/dense", f"{o}.attn.f.out"),
            *norm(f"{t}/attention/output/LayerNorm", f"{o}.attn.norm"),
            *dense(f"{t}/intermediate/dense", f"{o}.mlp.f.up"),
            *dense(f"{t}/output/dense", f"{o}.mlp.f.down"),
            *norm(f"{t}/output/LayerNorm", f"{o}.mlp.norm"),
            *dense("bert/pooler/dense", "pool.proj.0"),
            *dense("cls/predictions/transform/dense", "heads.mlm.0.dense"),
            *norm("cls/predictions/transform/LayerNorm", "heads.mlm.0.norm"),
            rename("cls/predictions/output_bias", _BIAS),
            rename("cls/seq_relationship/output_weights", "heads.nsp.weight"),
            rename("cls/seq_relationship/output_bias", "heads.nsp.bias"),
        ]
    )
