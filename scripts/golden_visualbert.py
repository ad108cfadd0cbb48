"""Makes golden/visualbert.safetensors: what VisualBERT's own code says of weights by formula.

    python -m scripts.golden_visualbert CHECKOUT    # of github.com/uclanlp/visualbert

The weights come from tests/models/drawn.py, under the original's names; words and regions from
tests/models/joined.py, filled up as the original wants them. On a machine without a GPU its code
needs `Tensor.cuda` to do nothing. The file holds the states of real tokens alone, and the answers
of every head, in `heads` by the name of the training head that gave them.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.models.drawn import state
from tests.models.joined import FEATURE, VOCAB, filled_up, mask, numbers, rows

GOLDEN = Path(__file__).parents[1] / "golden" / "visualbert.safetensors"
SIZE = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=24,
)


def main(checkout: Path) -> None:
    theirs = original(checkout / "visualbert" / "pytorch_pretrained_bert")
    torch.Tensor.cuda = lambda self, *a, **k: self  # type: ignore[method-assign]
    out: dict[str, Tensor] = {}
    shapes: dict[str, dict[str, list[int]]] = {}
    for head in ("pretraining", "vqa", "nlvr", "multichoice", "flickr"):
        config = theirs.BertConfig(VOCAB, **SIZE)
        net = theirs.TrainVisualBERTObjective(config, head, visual_embedding_dim=FEATURE).eval()
        names = {f"bert.{name}": t.shape for name, t in net.state_dict().items()}
        drawn = state(names)
        decoder = "bert.cls.predictions.decoder.weight"
        if decoder in drawn:
            drawn[decoder] = drawn["bert.bert.embeddings.word_embeddings.weight"]
        net.load_state_dict({name.removeprefix("bert."): t for name, t in drawn.items()})
        shapes[head] = {name: list(shape) for name, shape in names.items()}
        with torch.no_grad():
            out |= said(net, head)
    kept = {name: tensor.contiguous() for name, tensor in out.items()}
    save_file(kept, GOLDEN, {"shapes": json.dumps(shapes)})


def said(net, head: str) -> dict[str, Tensor]:
    """States and answers of a net with one training head."""
    some = rows()
    words, seen = numbers([one.ids for one in some]), [one.features for one in some]
    given = dict(
        input_ids=filled_up(words),
        token_type_ids=filled_up(numbers([one.segments for one in some])),
        input_mask=mask(words),
        visual_embeddings=filled_up(seen),
        position_embeddings_visual=None,
        image_mask=mask(seen),
        visual_embeddings_type=filled_up([one.kind for one in some]),
    )
    links = filled_up([one.words for one in some], -1)
    real = torch.cat([given["input_mask"], given["image_mask"]], dim=1).bool()
    if head == "pretraining":
        made = {}
        for name, link in (("plain", None), ("linked", links)):
            states = net(**given, image_text_alignment=link, output_all_encoded_layers=True)
            for layer, x in enumerate(states["sequence_output"]):
                made[f"{name}.state.{layer}"] = x[real]
            made[f"{name}.pooled"] = states["pooled_output"]
        answers = net(**given)
        made |= {"mlm": answers["logits"][real], "itm": answers["seq_relationship_score"]}
        return made
    if head == "flickr":
        place = torch.tensor([[1, 3], [4, 8], [2, -1], [0, 6]])
        states = net.bert(
            *(given[k] for k in ("input_ids", "token_type_ids")),
            real.long(),
            given["visual_embeddings"],
            None,
            given["visual_embeddings_type"],
            None,
            None,
            output_all_encoded_layers=False,
        )[0]
        asks = torch.stack([x[p.clamp(min=0)] for x, p in zip(states, place, strict=True)])
        scores = net.flickr_attention(asks, states[:, words_wide(given) :], given["image_mask"])
        return {"flickr": scores[place >= 0]}
    return {head: net(**given)["logits"].flatten(1)}


def words_wide(given: dict) -> int:
    """How many words the filled-up rows have."""
    return given["input_ids"].shape[1]


def original(folder: Path) -> types.ModuleType:
    """modeling.py, whose package downloads files and is not imported."""
    package = types.ModuleType("pretrained")
    package.__path__ = [str(folder)]
    sys.modules["pretrained"] = package
    files = types.ModuleType("pretrained.file_utils")
    vars(files)["cached_path"] = None
    sys.modules["pretrained.file_utils"] = files
    spec = importlib.util.spec_from_file_location("pretrained.modeling", folder / "modeling.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretrained.modeling"] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(Path(sys.argv[1]))
