"""ViLBERT gives the numbers of both its own codes, and their files go in and out.

golden/vilbert holds what the original classes said (scripts/golden_vilbert.py made it).
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from sensorium.data.ragged import lay, unlay
from sensorium.data.regions import take_regions
from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize, bert
from sensorium.models.bert_rules import hf_bert
from sensorium.models.vilbert import (
    PRETRAINING,
    SIZES,
    Answers,
    MeetSize,
    RegionSize,
    order,
    vilbert,
    with_task,
)
from sensorium.models.vilbert_rules import Sizes, from_bert, vilbert_rules
from sensorium.nn.regions import whole
from sensorium.types import Ids, Joint, JointPair
from sensorium.weights.rules import KeyMap
from tests.models.drawn import drift, state
from tests.models.joined import CLASSES, FEATURE, VOCAB, joint, pictures, rows

GOLDEN = Path(__file__).parents[2] / "golden" / "vilbert.safetensors"
LIMIT = 1e-5
TEXT = BertSize(VOCAB, 24, 2, 32, 4, 4, 48)
IMAGE = RegionSize(24, 3, 3, 28)
MEET = MeetSize(40, 2, (2, 3), (0, 2))
SIZE = Sizes(TEXT, IMAGE, MEET)
FIRST = (*PRETRAINING, "vqa_normed", "rank", "ground")
SECOND = (*PRETRAINING, "vqa", "gqa", "nlvr", "entail", "rank", "ground")
TASKS = (3, 0, 19, 7)


def built(heads: tuple[str, ...], answers: int = 6, tasks: int = 0) -> TwoStream:
    many = Answers(answers, 1533, CLASSES)
    return vilbert(TEXT, FEATURE, IMAGE, MEET, heads, many, tasks)


def loaded(net: TwoStream, keys: KeyMap, name: str) -> TwoStream:
    """Our net with their weights, by formula; what goes in comes out again."""
    with safe_open(GOLDEN, "pt") as file:
        drawn = state(json.loads(file.metadata()["shapes"])[name])
    table = drawn["bert.embeddings.word_embeddings.weight"]
    drawn["cls.predictions.decoder.weight"] = table
    net.load_state_dict(keys.load(drawn, {n: t.shape for n, t in net.state_dict().items()}))
    again = keys.save(net.state_dict())
    assert again.keys() == drawn.keys()
    assert all(torch.equal(drawn[name], tensor) for name, tensor in again.items())
    return net.eval()


@torch.no_grad()
@pytest.mark.parametrize("version", ["first", "second"])
def test_states_and_heads_of_pretraining_are_the_originals(version: str) -> None:
    golden, batch = load_file(GOLDEN), joint(rows())
    net = built(PRETRAINING)
    loaded(net, vilbert_rules(SIZE, PRETRAINING), f"{version}.pretraining")
    states = net.states(batch)[1:]
    stands = order(TEXT.layers, IMAGE.layers, MEET)
    assert [f"{kind} {number}" for kind, number in stands] == [
        *("text 0", "text 1", "meet 0", "image 0", "image 1", "text 2", "meet 1"),
        *("image 2", "text 3"),
    ]
    for (kind, number), (words, seen) in zip(stands, states, strict=True):
        name = f"{version}.{kind}.{number}"
        for stream, x in (("text", words), ("image", seen)):
            full = f"{name}.{stream}" if kind == "meet" else name
            if kind in (stream, "meet"):
                assert drift(golden[full], x.x[0]) <= LIMIT, full
    said = net.fuse(batch)
    assert drift(golden[f"{version}.pooled"], said.pooled) <= LIMIT
    for name, x in (("mlm", said.text.x[0]), ("mrc", said.image.x[0]), ("itm", said.pooled)):
        assert drift(golden[f"{version}.{name}"], net.heads[name](x)) <= LIMIT, name


@torch.no_grad()
def test_answers_of_the_first_version_are_the_originals() -> None:
    golden, batch = load_file(GOLDEN), joint(rows())
    net = built(FIRST)
    loaded(net, vilbert_rules(SIZE, FIRST), "first.tuned")
    for name in ("vqa_normed", "rank"):
        assert drift(golden[f"first.{name}"], net.ask(name, batch)) <= LIMIT
    assert drift(golden["first.ground"][:, 0], scores(net, batch)) <= LIMIT


@torch.no_grad()
def test_answers_of_the_second_version_with_its_tasks_are_the_originals() -> None:
    golden, some = load_file(GOLDEN), rows()
    net = built(SECOND, 3129, 20)
    loaded(net, vilbert_rules(SIZE, SECOND, True), "second.tuned")
    batch = joint(some)._replace(text=tasked())
    for name in ("vqa", "gqa", "rank", "entail"):
        answer = net.ask(name, batch)
        assert drift(golden[f"second.{name}"], answer[:, :40]) <= LIMIT, name
    second = take_regions(pictures(some), torch.tensor([1, 2, 3, 0]))
    pair = JointPair(batch.image, second, batch.text)
    assert drift(golden["second.nlvr"], net.ask("nlvr", pair)) <= LIMIT
    assert drift(golden["second.ground"][:, 0], scores(net, batch)) <= LIMIT
    said = net.fuse(batch)
    assert drift(golden["second.tuned.mrc"], net.heads["mrc"](said.image.x[0])) <= LIMIT
    words = net.heads["mlm"](said.text.x[0, batch.text.ids < VOCAB])
    assert drift(golden["second.tuned.mlm"], words) <= LIMIT


def tasked() -> Ids:
    """The rows' texts, each told its task."""
    some = rows()
    ids = [with_task(one.ids, task, VOCAB) for one, task in zip(some, TASKS, strict=True)]
    return lay(ids, kinds=[[*one.segments, 0] for one in some])


def scores(net: TwoStream, batch: Joint) -> Tensor:
    """One number a region, of the regions there are, row after row."""
    said = net.ask("ground", batch)
    return said[said > -5000]


def test_a_whole_picture_is_the_mean_of_its_regions() -> None:
    some = rows()
    some[1] = some[1]._replace(
        features=torch.zeros(0, FEATURE),
        boxes=torch.zeros(0, 4),
        kind=some[1].kind[:0],
        words=some[1].words[:0],
    )
    seen = whole(pictures(some))
    assert torch.equal(seen.boxes[1], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    for row, one in zip(seen.features, some, strict=True):
        mean = one.features.mean(0) if len(one.features) else torch.zeros(FEATURE)
        assert torch.allclose(row, mean, atol=1e-6)
    net = built(("vqa",)).eval()
    with torch.no_grad():  # a picture in which nothing was found has an answer too
        assert net.ask("vqa", joint(some)).isfinite().all()


def test_bert_is_a_start_for_the_words() -> None:
    words = bert(TEXT)
    theirs = hf_bert().save(words.state_dict())
    net = built(PRETRAINING)
    shapes = {name: t.shape for name, t in net.state_dict().items()}
    stands = order(TEXT.layers, IMAGE.layers, MEET)
    blocks = [f"stack.blocks.{i}.text" for i, (kind, _) in enumerate(stands) if kind == "text"]
    starts = ("text.", "heads.mlm.", *blocks)
    expected = {name: s for name, s in shapes.items() if name.startswith(starts)}
    ours = from_bert(SIZE).load(theirs, expected)
    assert ours.keys() == expected.keys()
    assert torch.equal(ours["text.word.weight"], words.state_dict()["embed.word.weight"])
    last = f"{blocks[-1]}.mlp.f.up.weight"
    assert torch.equal(ours[last], words.state_dict()["stack.blocks.3.mlp.f.up.weight"])


def test_the_base_size_has_the_released_number_of_parameters() -> None:
    with torch.device("meta"):
        net = SIZES["base"].build()
    spared = sum(b.numel() for b in net.buffers())
    assert SIZES["base"].parameters() + spared == 250_044_029  # spared: read by nobody
    meet = SIZES["base"].args["meet"]
    assert meet.width // meet.heads == 128
    assert SIZES["base-2"].args["meet"].text == (10, 11)


@pytest.mark.parametrize(("text", "image"), [((2, 1), (0, 1)), ((2, 5), (0, 1)), ((2,), (0, 1))])
def test_co_attention_out_of_order_is_refused(text: tuple, image: tuple) -> None:
    with pytest.raises(ValueError, match="co-attention stands at"):
        order(4, 3, MeetSize(40, 2, text, image))


def test_a_task_leaves_the_words_their_positions() -> None:
    plain = [one.ids for one in rows()]
    assert [ids[:-1] for ids in unlay(tasked())] == plain
    long = lay([with_task([1] * 24, 2, VOCAB)])
    net = built(("vqa",), 6, 20)
    assert net.text(long).x.shape[1] == 25
    with pytest.raises(ValueError, match="longer than the net's 24"):
        net.text(lay([[1] * 26]))
