"""Makes golden/vilbert.safetensors: what both of ViLBERT's own codes say of weights by formula.

    python -m scripts.golden_vilbert FIRST SECOND
    # checkouts of github.com/jiasenlu/vilbert_beta and facebookresearch/vilbert-multi-task

The weights come from tests/models/drawn.py, under the originals' names; words and regions from
tests/models/joined.py, filled up as the originals want them, a mean region before the others.
What their `utils` fetch from elsewhere is left out. The file holds the states of real tokens alone
(without the whole picture's, and without the task's), and the answers of every head.
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

GOLDEN = Path(__file__).parents[1] / "golden" / "vilbert.safetensors"
SIZE = dict(
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=24,
    v_feature_size=FEATURE,
    v_target_size=CLASSES,
    v_hidden_size=24,
    v_num_hidden_layers=3,
    v_num_attention_heads=3,
    v_intermediate_size=28,
    bi_hidden_size=40,
    bi_num_attention_heads=2,
    t_biattention_id=[2, 3],
    v_biattention_id=[0, 2],
)
ANSWERS, SHOWN, TASKS = 6, 40, (3, 0, 19, 7)


def main(first: Path, second: Path) -> None:
    out: dict[str, Tensor] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for name, checkout in (("first", first), ("second", second)):
        theirs = original(name, checkout / "vilbert")
        config = theirs.BertConfig(VOCAB, **SIZE)
        if name == "second":
            vars(config)["visual_target"] = 0
        net = theirs.BertForMultiModalPreTraining(config)
        out |= {f"{name}.{key}": x for key, x in asked(net, f"{name}.pretraining", shapes).items()}
        if name == "second":
            vars(config)["task_specific_tokens"] = True
        tuned = theirs.VILBertForVLTasks(config, ANSWERS)
        out |= {f"{name}.{key}": x for key, x in asked(tuned, f"{name}.tuned", shapes).items()}
    save_file({k: v.contiguous() for k, v in out.items()}, GOLDEN, {"shapes": json.dumps(shapes)})


@torch.no_grad()
def asked(net: nn.Module, name: str, shapes: dict) -> dict[str, Tensor]:
    """Gives a net its weights, and asks it."""
    names = {key: t.shape for key, t in net.state_dict().items()}
    shapes[name] = {key: list(shape) for key, shape in names.items()}
    drawn = state(names)
    drawn["cls.predictions.decoder.weight"] = drawn["bert.embeddings.word_embeddings.weight"]
    net.eval().load_state_dict(drawn)
    some = rows()
    if name.endswith("pretraining"):
        return pretraining(net, some)
    if name.startswith("first"):
        vqa, rank, _, _, ground, *_ = net(*given(some))
        return {"vqa_normed": vqa, "rank": rank, "ground": real(ground[:, 1:], some)}
    task = {"task_ids": torch.tensor(TASKS)[:, None]}
    vqa, gqa, rank, _, entail, seen, ground, words, *_ = net(*given(some), **task)
    out = {"vqa": vqa[:, :SHOWN], "gqa": gqa[:, :SHOWN], "rank": rank, "entail": entail}
    out |= {"ground": real(ground[:, 1:], some), "tuned.mrc": real(seen[:, 1:], some)}
    kept = torch.cat([words[:, :1], words[:, 2:]], dim=1)
    out["tuned.mlm"] = kept[mask(numbers([one.ids for one in some])).bool()]
    pairs = []
    for i, one in enumerate(some):
        other = some[(i + 1) % len(some)]
        pairs += [one, one._replace(features=other.features, boxes=other.boxes)]
    twice = {"task_ids": torch.tensor(TASKS).repeat_interleave(2)[:, None]}
    return out | {"nlvr": net(*given(pairs), **twice)[3]}


def pretraining(net, some: list[Rows]) -> dict[str, Tensor]:
    """States after every layer, and the answers of the heads of pre-training."""
    words = mask(numbers([one.ids for one in some])).bool()
    seen: dict[str, Tensor] = {}

    def keep(layer: nn.Module, name: str, kind: str) -> None:
        def note(module, inputs, said) -> None:
            if kind == "meet":
                seen[f"{name}.image"], seen[f"{name}.text"] = (
                    real(said[0][:, 1:], some),
                    said[1][words],
                )
            else:
                seen[name] = said[0][words] if kind == "text" else real(said[0][:, 1:], some)

        layer.register_forward_hook(note)

    encoder = net.bert.encoder
    for kind, stack in (
        ("text", encoder.layer),
        ("image", encoder.v_layer),
        ("meet", encoder.c_layer),
    ):
        for i, layer in enumerate(stack):
            keep(layer, f"{kind}.{i}", kind)
    mlm, mrc, itm, _ = net(*given(some))
    pooled = net.bert(*given(some))[2:4]
    out = dict(seen) | {"mlm": mlm[words], "mrc": real(mrc[:, 1:], some), "itm": itm}
    return out | {"pooled": pooled[0] * pooled[1]}


def real(x: Tensor, some: list[Rows]) -> Tensor:
    """The rows of x that belong to a region."""
    return x[mask([one.features for one in some]).bool()]


def given(some: list[Rows]) -> tuple[Tensor, ...]:
    """A batch as the originals' data sets make it: words, features, boxes, segments, both masks."""
    features = [torch.cat([one.features.mean(0, keepdim=True), one.features]) for one in some]
    whole, boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]]), []
    for one in some:
        area = (one.boxes[:, 2] - one.boxes[:, 0]) * (one.boxes[:, 3] - one.boxes[:, 1])
        boxes.append(torch.cat([whole, torch.cat([one.boxes, area[:, None]], dim=1)]))
    words = numbers([one.ids for one in some])
    ids, kinds = filled_up(words), filled_up(numbers([one.segments for one in some]))
    return ids, filled_up(features), filled_up(boxes), kinds, mask(words), mask(features)


class Plain(nn.Module):
    """What the second code's `PreTrainedModel` does besides fetching files."""

    def __init__(self, config):
        super().__init__()
        self.config = config

    def _tie_or_clone_weights(self, first: nn.Module, second: nn.Module) -> None:
        first.weight = second.weight


def original(name: str, folder: Path) -> types.ModuleType:
    """vilbert.py, without the part of its package that fetches files."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    utils = types.ModuleType(f"{name}.utils")
    vars(utils).update(cached_path=None, PreTrainedModel=Plain)
    sys.modules[f"{name}.utils"] = utils
    return importlib.import_module(f"{name}.vilbert")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
