"""Makes golden/lxmert.safetensors: what LXMERT's own code says of weights by formula.

    python -m scripts.golden_lxmert CHECKOUT    # of github.com/airsplay/lxmert

The weights come from tests/models/drawn.py, under the original's names; words and regions from
tests/models/joined.py, filled up as the original wants them. Every sample is run alone too, with
its own number of objects, because the original has no mask of objects in pre-training. The file
holds the states of real tokens alone; the fine-tuned heads are those of `src/tasks/*_model.py`, a
sequence behind the pooled vector, with the names that its files have.
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
from tests.models.joined import FEATURE, VOCAB, Rows, filled_up, mask, numbers, rows

GOLDEN = Path(__file__).parents[1] / "golden" / "lxmert.safetensors"
SIZE = dict(
    hidden_size=32,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=24,
)
LAYERS, RELATIONS, CROSSES = 3, 2, 2
CLASSES, ATTRIBUTES, ANSWERS = 7, 5, 6


def main(checkout: Path) -> None:
    modeling = original(checkout / "src" / "lxrt")
    visual = modeling.VISUAL_CONFIG
    visual.l_layers, visual.r_layers, visual.x_layers = LAYERS, RELATIONS, CROSSES
    visual.set_visual_dims(FEATURE, 4)
    for name, count in (("obj", CLASSES), ("attr", ATTRIBUTES), ("feat", FEATURE)):
        visual.visual_loss_config[name] = (count, *visual.visual_loss_config[name][1:])
    config = modeling.BertConfig(VOCAB, **SIZE)
    out: dict[str, Tensor] = {}
    shapes: dict[str, dict[str, list[int]]] = {}

    net = modeling.LXRTPretraining(config, visual_losses="obj,attr,feat", num_answers=ANSWERS)
    drawn = named(net, shapes, "pretraining", "")
    drawn["cls.predictions.decoder.weight"] = drawn["bert.embeddings.word_embeddings.weight"]
    net.eval().load_state_dict(drawn)
    with torch.no_grad():
        out |= pretraining(net)
    width = SIZE["hidden_size"]
    for name, (inputs, answers) in {"vqa": (width, ANSWERS), "nlvr": (2 * width, 2)}.items():
        tuned = Tuned(modeling, config, inputs, answers)
        tuned.eval().load_state_dict(named(tuned, shapes, name, "lxrt_encoder.model."))
        with torch.no_grad():
            out[name] = tuned(name)
    save_file({k: v.contiguous() for k, v in out.items()}, GOLDEN, {"shapes": json.dumps(shapes)})


def named(net: nn.Module, shapes: dict, name: str, start: str) -> dict[str, Tensor]:
    """Weights by formula, their names and shapes noted."""
    names = {key: t.shape for key, t in net.state_dict().items()}
    assert all(key.startswith((start, "logit_fc")) for key in names)
    shapes[name] = {key: list(shape) for key, shape in names.items()}
    return state(names)


class Tuned(nn.Module):
    """A fine-tuned net: the trunk under the name that its files have, and a head of answers."""

    def __init__(self, modeling, config, inputs: int, answers: int):
        super().__init__()
        trunk, hidden = modeling.LXRTFeatureExtraction(config, mode="x"), 2 * SIZE["hidden_size"]
        self.lxrt_encoder = nn.ModuleDict({"model": trunk})
        norm, last = modeling.BertLayerNorm(hidden, eps=1e-12), nn.Linear(hidden, answers)
        self.logit_fc = nn.Sequential(nn.Linear(inputs, hidden), modeling.GeLU(), norm, last)

    def forward(self, name: str) -> Tensor:
        some, read = rows(), self.lxrt_encoder["model"]
        x = torch.cat([read(*alone(one)) for one in some])
        if name == "nlvr":
            others = [one._replace(features=s.features, boxes=s.boxes) for one, s in seconds(some)]
            second = torch.cat([read(*alone(one)) for one in others])
            x = torch.stack([x, second], dim=1).view(len(some), -1)
        return self.logit_fc(x)


def seconds(some: list[Rows]) -> list[tuple[Rows, Rows]]:
    """Each row with the next one, whose picture is its second."""
    return [(one, some[(i + 1) % len(some)]) for i, one in enumerate(some)]


def alone(one: Rows) -> tuple:
    """A row by itself: ids, segments, mask, and what is seen."""
    ids, kinds = torch.tensor([one.ids]), torch.tensor([one.segments])
    return ids, kinds, torch.ones_like(ids), (one.features[None], one.boxes[None])


def pretraining(net) -> dict[str, Tensor]:
    """States after every layer, and the answers of all heads of pre-training."""
    some = rows()
    states: dict[str, list[Tensor]] = {}
    for one in some:
        seen: dict[str, Tensor] = {}
        hooks = [
            *(keep(layer, seen, f"text.{i}") for i, layer in enumerate(net.bert.encoder.layer)),
            *(keep(layer, seen, f"image.{i}") for i, layer in enumerate(net.bert.encoder.r_layers)),
            *(keep(layer, seen, f"cross.{i}") for i, layer in enumerate(net.bert.encoder.x_layers)),
        ]
        ids, kinds, real, picture = alone(one)
        (words, objects), pooled = net.bert(ids, kinds, real, visual_feats=picture)
        seen["mlm"], seen["itm"] = net.cls(words, pooled)
        seen |= net.obj_predict_head(objects)
        seen |= {"pooled": pooled, "qa": net.answer_head(pooled)}
        for name, value in seen.items():
            states.setdefault(name, []).append(value if value.ndim == 2 else value[0])
        for hook in hooks:
            hook.remove()
    out = {name: torch.cat(parts) for name, parts in states.items()}
    words, features = numbers([one.ids for one in some]), [one.features for one in some]
    kinds = filled_up(numbers([one.segments for one in some]))
    boxes = filled_up([one.boxes for one in some])
    (text, image), pooled = net.bert(
        filled_up(words),
        kinds,
        mask(words),
        visual_feats=(filled_up(features), boxes),
        visual_attention_mask=mask(features),
    )
    gap = max(
        (text[mask(words).bool()] - out[f"cross.{CROSSES - 1}.text"]).abs().max(),
        (image[mask(features).bool()] - out[f"cross.{CROSSES - 1}.image"]).abs().max(),
        (pooled - out["pooled"]).abs().max(),
    )
    assert gap < 1e-5, "filled up with masks of both kinds it says the same"
    return out


def keep(layer: nn.Module, seen: dict[str, Tensor], name: str):
    """Notes what a layer gives."""

    def note(module, given, said) -> None:
        if isinstance(said, tuple):
            seen[f"{name}.text"], seen[f"{name}.image"] = said
        else:
            seen[name] = said

    return layer.register_forward_hook(note)


def original(folder: Path) -> types.ModuleType:
    """modeling.py, without the part of its package that downloads files."""
    package = types.ModuleType("lxrt")
    package.__path__ = [str(folder)]
    sys.modules["lxrt"] = package
    files = types.ModuleType("lxrt.file_utils")
    vars(files)["cached_path"] = None
    sys.modules["lxrt.file_utils"] = files
    return importlib.import_module("lxrt.modeling")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
