"""LXMERT gives the numbers of its own code and of transformers, and its files go in and out.

golden/lxmert holds what the original classes said (scripts/golden_lxmert.py made it).
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import LxmertConfig, LxmertForPreTraining, LxmertForQuestionAnswering

from sensorium.data.regions import take_regions
from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize
from sensorium.models.lxmert import PRETRAINING, SEEN, SIZES, CrossSize, ObjectSize, lxmert
from sensorium.models.lxmert_rules import HF, ORIGINAL, PARALLEL, TUNED, Depths, lxmert_rules
from sensorium.types import JointPair
from sensorium.weights.rules import KeyMap
from tests.models.drawn import drift, state
from tests.models.joined import FEATURE, VOCAB, filled_up, joint, mask, numbers, rows

GOLDEN = Path(__file__).parents[2] / "golden" / "lxmert.safetensors"
LIMIT = 1e-5
TEXT, IMAGE, CROSS = BertSize(VOCAB, 24, 2, 32, 3, 4, 48), ObjectSize(2, 7, 5), 2
DEPTHS = Depths(TEXT.layers, IMAGE.layers, CROSS)
DECODER, TABLE = "cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"


def built(heads: tuple[str, ...]) -> TwoStream:
    return lxmert(TEXT, FEATURE, IMAGE, CrossSize(CROSS), heads, answers=6)


def loaded(net: TwoStream, keys: KeyMap, drawn: dict[str, Tensor]) -> TwoStream:
    """Our net with their weights; what goes in comes out again."""
    net.load_state_dict(keys.load(drawn, {n: t.shape for n, t in net.state_dict().items()}))
    again = keys.save(net.state_dict())
    assert again.keys() == drawn.keys()
    assert all(torch.equal(drawn[name], tensor) for name, tensor in again.items())
    return net.eval()


def theirs(name: str) -> dict[str, Tensor]:
    """Weights by formula under the original's names."""
    with safe_open(GOLDEN, "pt") as file:
        drawn = state(json.loads(file.metadata()["shapes"])[name])
    if DECODER in drawn:
        drawn[DECODER] = drawn[f"bert.{TABLE}"]
    return drawn


@torch.no_grad()
def test_states_and_heads_of_pretraining_are_the_originals() -> None:
    golden, batch = load_file(GOLDEN), joint(rows())
    keys = lxmert_rules(ORIGINAL, DEPTHS, PRETRAINING)
    net = loaded(built(PRETRAINING), keys, theirs("pretraining"))
    states = net.states(batch)[1:]
    for i in range(TEXT.layers):
        assert drift(golden[f"text.{i}"], states[i][0].x[0]) <= LIMIT
    for i in range(IMAGE.layers):
        assert drift(golden[f"image.{i}"], states[TEXT.layers + i][1].x[0]) <= LIMIT
    for i in range(CROSS):
        words, seen = states[TEXT.layers + IMAGE.layers + i]
        assert drift(golden[f"cross.{i}.text"], words.x[0]) <= LIMIT
        assert drift(golden[f"cross.{i}.image"], seen.x[0]) <= LIMIT
    said = net.fuse(batch)
    given = {"mlm": said.text.x[0], "itm": said.pooled, "qa": said.pooled}
    given |= dict.fromkeys(SEEN, said.image.x[0])
    assert drift(golden["pooled"], said.pooled) <= LIMIT
    for name, x in given.items():
        assert drift(golden[name], net.heads[name](x)) <= LIMIT, name


@torch.no_grad()
@pytest.mark.parametrize("names", [TUNED, PARALLEL])
def test_answers_of_fine_tuned_nets_are_the_originals(names) -> None:
    golden, batch = load_file(GOLDEN), joint(rows(), kinds=False)
    for head in ("vqa", "nlvr"):
        drawn = {
            name.replace(TUNED.trunk, names.trunk): tensor for name, tensor in theirs(head).items()
        }
        net = loaded(built((head,)), lxmert_rules(names, DEPTHS, (head,)), drawn)
        second = take_regions(batch.image, torch.tensor([1, 2, 3, 0]))  # type: ignore[arg-type]
        asked = batch if head == "vqa" else JointPair(batch.image, second, batch.text)
        assert drift(golden[head], net.ask(head, asked)) <= LIMIT


CONFIG = LxmertConfig(
    vocab_size=VOCAB,
    hidden_size=TEXT.width,
    num_attention_heads=TEXT.heads,
    num_qa_labels=6,
    num_object_labels=IMAGE.classes,
    num_attr_labels=IMAGE.attributes,
    intermediate_size=TEXT.hidden,
    max_position_embeddings=TEXT.length,
    l_layers=TEXT.layers,
    r_layers=IMAGE.layers,
    x_layers=CROSS,
    visual_feat_dim=FEATURE,
)


@torch.no_grad()
@pytest.mark.parametrize("kind", [LxmertForPreTraining, LxmertForQuestionAnswering])
def test_transformers_says_the_same(kind: type) -> None:
    net, some = kind(CONFIG).eval(), rows()
    drawn = state({name: t.shape for name, t in net.state_dict().items()})
    tuned = kind is LxmertForQuestionAnswering
    if not tuned:
        drawn[DECODER] = drawn[f"lxmert.{TABLE}"]
    net.load_state_dict(drawn)
    heads = ("vqa",) if tuned else PRETRAINING
    ours = loaded(built(heads), lxmert_rules(HF, DEPTHS, heads), drawn)
    words = numbers([one.ids for one in some])
    given = dict(
        input_ids=filled_up(words),
        token_type_ids=filled_up(numbers([one.segments for one in some])),
        attention_mask=mask(words),
        visual_feats=filled_up([one.features for one in some]),
        visual_pos=filled_up([one.boxes for one in some]),
        visual_attention_mask=mask([one.features for one in some]),
    )
    said, batch = net(**given, output_hidden_states=True), joint(some)
    got = ours.fuse(batch)
    real = [m.bool() for m in (given["attention_mask"], given["visual_attention_mask"])]
    assert drift(said.language_hidden_states[-1][real[0]], got.text.x[0]) <= LIMIT
    assert drift(said.vision_hidden_states[-1][real[1]], got.image.x[0]) <= LIMIT
    if tuned:
        assert drift(said.question_answering_score, ours.ask("vqa", batch)) <= LIMIT
        return
    words_said = ours.heads["mlm"](got.text.x[0])
    assert drift(said.prediction_logits[real[0]], words_said) <= LIMIT
    assert drift(said.cross_relationship_score, ours.heads["itm"](got.pooled)) <= LIMIT
    assert drift(said.question_answering_score, ours.heads["qa"](got.pooled)) <= LIMIT


def test_one_attention_serves_both_directions_and_objects_share_a_transform() -> None:
    names = built(PRETRAINING).state_dict()
    assert any(name.startswith("stack.blocks.6.both.cross.f.q") for name in names)
    assert not any(part in name for name in names for part in ("to_text", "to_image"))
    assert [name for name in names if name.startswith("heads.attr")] == [
        "heads.attr.head.weight",
        "heads.attr.head.bias",
    ]
    only = built(("mlm", "feat"))  # the transform belongs to whichever head there is
    assert any(name.startswith("heads.feat.0.dense") for name in only.state_dict())


def test_row_0_of_the_tables_never_learns() -> None:
    net = built(("vqa",))
    net.ask("vqa", joint(rows())).sum().backward()
    for name in ("word", "pos", "segment"):
        table = net.get_parameter(f"text.{name}.weight")
        assert table[0].any() and table.grad is not None
        assert not table.grad[0].any() and table.grad.any()


def test_released_size_is_the_papers() -> None:
    with torch.device("meta"):
        count = sum(p.numel() for p in LxmertForPreTraining(LxmertConfig()).parameters())
    assert SIZES["base"].parameters() == count
