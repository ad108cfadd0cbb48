"""The key-map rules of published decoders: their names and ours, in both directions."""

from collections.abc import Callable

from torch import Tensor

from sensorium.models.llama import Size
from sensorium.weights import ops
from sensorium.weights.errors import WeightsError
from sensorium.weights.ops import Op
from sensorium.weights.rules import Drop, KeyMap, Rule, drop, rename, rule, stack

Rules = list[Rule | Drop]
BLOCK = "stack.blocks.{i}"


def halves(heads: tuple[int, ...], turned: int) -> Op:
    """Rows of heads whose rotation pairs neighbours, reordered to pair i with i + turned / 2.

    Args:
        heads: how many each of the tensors has; 0: it is not rotated and stays as it is.
        turned: how many dimensions of a head are rotated, its first ones.
    """

    def along(to_ours: bool) -> Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def one(tensor: Tensor, count: int) -> Tensor:
            if not count:
                return tensor
            if tensor.shape[0] % count or tensor.shape[0] // count < turned:
                raise WeightsError(f"is {tuple(tensor.shape)}, not {count} heads of {turned}")
            rows = tensor.reshape(count, -1, *tensor.shape[1:]).clone()
            pairs = (turned // 2, 2) if to_ours else (2, turned // 2)
            front = rows[:, :turned].reshape(count, *pairs, *tensor.shape[1:])
            rows[:, :turned] = front.transpose(1, 2).reshape(count, turned, *tensor.shape[1:])
            return rows.reshape(tensor.shape)

        return lambda tensors: tuple(one(t, n) for t, n in zip(tensors, heads, strict=True))

    return Op(f"halves{heads}", along(True), along(False), lambda n: n)


def embedding(theirs: str, head: str | None) -> Rules:
    """The word vectors, and a head of its own where there is one."""
    found: Rules = [rename(theirs, "embed.word.weight")]
    return found if head is None else [*found, rename(head, "head.weight")]


def tied(*names: str) -> Rules:
    """Copies of the word vectors that some files hold beside them; compared, then left out."""
    return [drop(name, lambda ours, key=name: {key: ours["embed.word.weight"]}) for name in names]


# --- LLaMA ------------------------------------------------------------------------------------


def llama_map(size: Size, head: bool, names: str = "hf") -> KeyMap:
    """LLaMA in the names of Hugging Face ("hf"), of Meta ("meta") or of GGUF files ("gguf").

    Meta's and GGUF's heads rotate neighbours, Hugging Face's and ours halves.
    """
    top, block, turn = LLAMA_NAMES[names]
    t = block["layer"]
    parts = (size.heads * size.head, *(size.groups * size.head,) * 2)
    steps = [] if not turn else [halves((size.heads, size.groups, 0), size.head)]
    qkv = tuple(f"{t}.{block[x]}.weight" for x in "qkv")
    gate_up = tuple(f"{t}.{block[x]}.weight" for x in ("gate", "up"))
    single = {"out": "attn.f.out", "norm1": "attn.norm", "norm2": "mlp.norm", "down": "mlp.f.down"}
    return KeyMap(
        [
            *embedding(f"{top['word']}.weight", f"{top['head']}.weight" if head else None),
            *([] if head else tied(f"{top['head']}.weight")),
            rename(f"{top['norm']}.weight", "stack.norm.weight"),
            rule(qkv, f"{BLOCK}.attn.f.qkv.weight", *steps, ops.concat(3, sizes=parts)),
            stack(gate_up, f"{BLOCK}.mlp.f.gate_up.weight"),
            *(rename(f"{t}.{block[a]}.weight", f"{BLOCK}.{b}.weight") for a, b in single.items()),
            *(drop(name) for name in top["drops"].split()),
        ]
    )


LLAMA_NAMES: dict[str, tuple[dict[str, str], dict[str, str], bool]] = {
    "hf": (
        {
            "word": "model.embed_tokens",
            "head": "lm_head",
            "norm": "model.norm",
            "drops": "model.layers.{i}.self_attn.rotary_emb.inv_freq",
        },
        {
            "layer": "model.layers.{i}",
            **{x: f"self_attn.{x}_proj" for x in "qkv"},
            "out": "self_attn.o_proj",
            "norm1": "input_layernorm",
            "norm2": "post_attention_layernorm",
            **{x: f"mlp.{x}_proj" for x in ("gate", "up", "down")},
        },
        False,
    ),
    "meta": (
        {"word": "tok_embeddings", "head": "output", "norm": "norm", "drops": "rope.freqs"},
        {
            "layer": "layers.{i}",
            **{x: f"attention.w{x}" for x in "qkv"},
            "out": "attention.wo",
            "norm1": "attention_norm",
            "norm2": "ffn_norm",
            "gate": "feed_forward.w1",
            "down": "feed_forward.w2",
            "up": "feed_forward.w3",
        },
        True,
    ),
    "gguf": (
        {
            "word": "token_embd",
            "head": "output",
            "norm": "output_norm",
            "drops": "rope_freqs.weight",
        },
        {
            "layer": "blk.{i}",
            **{x: f"attn_{x}" for x in "qkv"},
            "out": "attn_output",
            "norm1": "attn_norm",
            "norm2": "ffn_norm",
            **{x: f"ffn_{x}" for x in ("gate", "up", "down")},
        },
        True,
    ),
}
