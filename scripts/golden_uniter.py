"""Makes golden/uniter.safetensors: what UNITER's own code says of weights by formula.

    python -m scripts.golden_uniter CHECKOUT    # of github.com/ChenRocks/UNITER

The weights come from tests/models/drawn.py, under the original's names; words and regions from
tests/models/joined.py, filled up and gathered as the original's data loaders do. apex' norm stands
for torch's. Masked regions are rows 0 and 2's first, masked words every third.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.models.drawn import state
from tests.models.joined import CLASSES, FEATURE, VOCAB, Rows, filled_up, mask, numbers, rows

GOLDEN = Path(__file__).parents[1] / "golden" / "uniter.safetensors"
SIZE = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=24,
)
ANSWERS = 5


def main(checkout: Path) -> None:
    theirs = original(checkout)
    made: dict[str, tuple[nn.Module, int]] = {}

    def net(name: str, build, *args, kinds: int = 2, **more) -> nn.Module:
        config = theirs["model"].UniterConfig(VOCAB, **SIZE, type_vocab_size=kinds)
        made[name] = build(config, FEATURE, *args, **more).eval(), kinds
        return made[name][0]

    net("pretraining", theirs["pretrain"].UniterForPretraining, CLASSES)
    net("vqa", theirs["vqa"].UniterForVisualQuestionAnswering, ANSWERS)
    net("nlvr", theirs["nlvr2"].UniterForNlvr2PairedAttn, kinds=3)
    net("nlvr_paired", theirs["nlvr2"].UniterForNlvr2Paired, kinds=3)
    net("nlvr_triplet", theirs["nlvr2"].UniterForNlvr2Triplet, kinds=3)
    net("vcr", theirs["vcr"].UniterForVisualCommonsenseReasoning, kinds=4)
    net("ground", theirs["re"].UniterForReferringExpressionComprehension)
    net("ground_mlp", theirs["re"].UniterForReferringExpressionComprehension, mlp=2)
    net("rank", theirs["itm"].UniterForImageTextRetrieval)
    out: dict[str, Tensor] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for name, (one, _) in made.items():
        names = {key: t.shape for key, t in one.state_dict().items()}
        drawn = state(names)
        drawn["uniter.img_embeddings.mask_embedding.weight"][0] = 0
        if name == "pretraining":
            table = drawn["uniter.embeddings.word_embeddings.weight"]
            drawn["cls.predictions.decoder.weight"] = table
            drawn["feat_regress.weight"] = drawn["uniter.img_embeddings.img_linear.weight"]
        one.load_state_dict(drawn)
        shapes[name] = {key: list(shape) for key, shape in names.items()}
        with torch.no_grad():
            out |= said(one, name)
    kept = {name: tensor.contiguous() for name, tensor in out.items()}
    save_file(kept, GOLDEN, {"shapes": json.dumps(shapes)})


def said(net, name: str) -> dict[str, Tensor]:
    """States and answers of a net with one kind of head."""
    some = rows()
    if name == "pretraining":
        batch = filled(some)
        real = batch["attn_masks"].bool()
        states = net.uniter(
            *(batch[k] for k in ("input_ids", "position_ids", "img_feat", "img_pos_feat")),
            batch["attn_masks"],
            batch["gather_index"],
        )
        made = {f"state.{i}": x[real] for i, x in enumerate(states)}
        made["pooled"] = net.uniter.pooler(states[-1])
        made["itm"] = net(batch | {"targets": None}, "itm", compute_loss=False)[0]
        made["mlm"] = net(batch, "mlm", compute_loss=False)
        for task in ("mrfr", "mrc-kl"):
            hidden = batch | {"img_feat": batch["hidden_feat"]}
            made[task] = net(hidden, task, compute_loss=False)
        return made
    if name in ("nlvr", "nlvr_paired"):
        pairs = [row for a, z in seconds(some) for row in (a, z)]
        kinds = filled_up([one.kind + 1 for one in pairs])
        return {name: net(filled(pairs) | {"img_type_ids": kinds}, compute_loss=False)}
    if name == "nlvr_triplet":
        both = filled([one._replace(kind=one.kind + 1) for one in some])
        kinds = filled_up([one.kind + 1 for one in some])
        return {name: net(both | {"img_type_ids": kinds}, compute_loss=False)}
    batch = filled(some)
    if name == "vcr":
        kinds = filled_up([torch.tensor(one.segments) * 2 for one in some])
        return {name: net(batch | {"txt_type_ids": kinds}, compute_loss=False)}
    if name.startswith("ground"):
        seen = mask([one.features for one in some])
        counts = [len(one.features) for one in some]
        lengths = [len(one.ids) for one in some]
        more = {"obj_masks": seen == 0, "txt_lens": lengths, "num_bbs": counts}
        return {name: net(batch | more, compute_loss=False)[seen.bool()]}
    return {name: net(batch, compute_loss=False)}


def seconds(some: list[Rows]) -> list[tuple[Rows, Rows]]:
    """Each row's words with its own regions, and with the next row's as a second picture."""
    out = []
    for i, one in enumerate(some):
        other = some[(i + 1) % len(some)]
        left = one._replace(kind=torch.zeros_like(one.kind))
        right = one._replace(features=other.features, boxes=other.boxes)
        out.append((left, right._replace(kind=torch.ones_like(other.kind))))
    return out


def filled(some: list[Rows]) -> dict:
    """A batch as the original's loaders make it; masks as the docstring says."""
    words, seen = numbers([one.ids for one in some]), [one.features for one in some]
    ids, width = filled_up(words), max(len(one) for one in seen)
    total = [len(w) + len(s) for w, s in zip(words, seen, strict=True)]
    gather = torch.arange(max(total)).repeat(len(some), 1)
    for row, (w, s) in enumerate(zip(words, seen, strict=True)):
        start = torch.arange(ids.shape[1], ids.shape[1] + len(s))
        gather[row, len(w) : len(w) + len(s)] = start
    gather = gather.clamp(max=ids.shape[1] + width - 1)
    hidden = torch.zeros(len(some), width, dtype=torch.bool)
    hidden[0, 0] = hidden[min(2, len(some) - 1), 0] = True
    label = torch.where((torch.arange(ids.shape[1]) % 3 == 1) & (mask(words) == 1), 1, -1)
    target = torch.zeros(len(some), max(total), dtype=torch.bool)
    for row, w in enumerate(words):
        target[row, len(w)] = hidden[row, 0]
    sixth = [torch.cat([b, b[:, 2:] - b[:, :2]], dim=1) for b in (one.boxes for one in some)]
    boxes = [torch.cat([b, b[:, 4:5] * b[:, 5:]], dim=1) for b in sixth]
    return {
        "input_ids": ids,
        "position_ids": torch.arange(ids.shape[1])[None],
        "img_feat": filled_up(seen),
        "img_pos_feat": filled_up(boxes),
        "attn_masks": (torch.arange(max(total)) < torch.tensor(total)[:, None]).long(),
        "gather_index": gather,
        "txt_labels": label,
        "img_masks": hidden,
        "img_mask_tgt": target,
        "hidden_feat": filled_up(seen).masked_fill(hidden[:, :, None], 0),
    }


def original(checkout: Path) -> dict[str, types.ModuleType]:
    """The modules of its `model` package, with torch's norm in apex' place."""
    names = ("apex", "apex.normalization", "apex.normalization.fused_layer_norm")
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[names[-1]])["FusedLayerNorm"] = nn.LayerNorm
    package = types.ModuleType("theirs")
    package.__path__ = [str(checkout / "model")]
    sys.modules["theirs"] = package
    parts = ("model", "pretrain", "vqa", "nlvr2", "vcr", "re", "itm")
    return {part: importlib.import_module(f"theirs.{part}") for part in parts}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
