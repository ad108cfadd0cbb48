"""VisualBERT and UNITER give the numbers of their own code, laid end to end against filled up.

golden/visualbert and golden/uniter hold what the original classes said (scripts/golden_*.py made
them); transformers' VisualBERT is run beside ours.
"""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from sensorium.data.errors import DataError
from sensorium.data.tokenizers import WordPiece
from sensorium.data.tokenizers.wordpiece import SPECIAL
from sensorium.forms.single_stream import SingleStream
from sensorium.models.bert import BertSize, bert
from sensorium.models.start import grown, rank_by_match, start_from
from sensorium.models.uniter import FROM_BERT as UNITER_FROM_BERT
from sensorium.models.uniter import SIZES as uniter_sizes
from sensorium.models.uniter import uniter
from sensorium.models.uniter_rules import original_uniter
from sensorium.models.visualbert import FROM_BERT as VISUALBERT_FROM_BERT
from sensorium.models.visualbert import SIZES as visualbert_sizes
from sensorium.models.visualbert import question, start_regions, visualbert
from sensorium.models.visualbert_rules import hf_visualbert, original_visualbert
from sensorium.types import Joint, JointPair, Phrases
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap
from tests.models.drawn import drift, state
from tests.models.joined import (
    CLASSES,
    FEATURE,
    VOCAB,
    Rows,
    filled_up,
    joint,
    mask,
    numbers,
    pictures,
    row,
    rows,
    texts,
)

GOLDEN = Path(__file__).parents[2] / "golden"
LIMIT = 1e-5
SIZE = BertSize(VOCAB, 24, 2, 32, 2, 4, 48)


def shapes(name: str, head: str) -> dict[str, list[int]]:
    """Names and shapes of the original net with that head."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        return json.loads(file.metadata()["shapes"])[head]


def loaded(net: SingleStream, keys: KeyMap, drawn: dict[str, Tensor]) -> SingleStream:
    """Our net with their weights; what goes in comes out again."""
    wanted = {name: t.shape for name, t in net.state_dict().items()}
    net.load_state_dict(keys.load(drawn, wanted))
    again = keys.save(net.state_dict())
    assert again.keys() == drawn.keys()
    assert all(torch.equal(drawn[name], tensor) for name, tensor in again.items())
    return net.eval()


def pairs(some: list[Rows]) -> JointPair:
    """A row's regions of the first kind, and those of the second, as two pictures."""
    first = [cut(one, one.kind == 0) for one in some]
    return JointPair(
        pictures(first), pictures([cut(one, one.kind == 1) for one in some]), texts(some)
    )


def cut(one: Rows, keep: Tensor) -> Rows:
    """Some of a row's regions, as those of one picture."""
    kind = torch.zeros_like(one.kind[keep])
    kept = one.features[keep], one.boxes[keep]
    return one._replace(features=kept[0], boxes=kept[1], kind=kind, words=one.words[keep])


def states(net: SingleStream, batch: Joint) -> list[Tensor]:
    """The states after each layer, words and regions of each row in their order, row after row."""
    out = []
    for words, seen in net.states(batch)[1:]:
        cuts = batch.text.lengths.tolist(), batch.image.lengths.tolist()  # type: ignore[union-attr]
        both = zip(words.x[0].split(cuts[0]), seen.x[0].split(cuts[1]), strict=True)
        out.append(torch.cat([part for pair in both for part in pair]))
    return out


def merged(net: SingleStream, batch: Joint) -> Tensor:
    """The last states in that order."""
    return states(net, batch)[-1]


def test_published_sizes_have_the_papers_numbers() -> None:
    assert visualbert_sizes["base-vqa"].parameters() == 112_074_812
    assert uniter_sizes["base"].parameters() == 112_938_887
    assert uniter_sizes["large"].args["text"] == BertSize(28996, 512, 2, 1024, 24, 16, 4096)


def test_berts_weights_start_both() -> None:
    start = bert(SIZE)
    for net, names in (
        (visualbert(SIZE, FEATURE), VISUALBERT_FROM_BERT),
        (uniter(SIZE, FEATURE), UNITER_FROM_BERT),
    ):
        kept = start_from(net, start.state_dict(), names)
        own = net.state_dict()
        assert torch.equal(own["text.word.weight"], start.embed.word.weight)
        assert torch.equal(
            own["stack.blocks.1.mlp.f.up.weight"], start.stack.blocks[1].mlp.f.up.weight
        )
        regions = [name for name in kept if not name.startswith("heads.")]
        assert regions and all(name.startswith("image.") for name in regions)
    with pytest.raises(WeightsError, match="has no place"):
        start_from(uniter(SIZE._replace(vocab=50), FEATURE), start.state_dict(), UNITER_FROM_BERT)
    with pytest.raises(WeightsError, match="fits none of"):
        start_from(uniter(SIZE, FEATURE), start.state_dict(), {"embed.": "text."})
    net = visualbert(SIZE, FEATURE)
    start_regions(net)
    own = net.state_dict()
    assert torch.equal(own["image.parts.place.table.weight"], own["text.pos.weight"])
    table = grown(own["text.segment.weight"], 4, like=1)
    assert torch.equal(table[2], table[1]) and torch.equal(table[3], table[1]) and len(table) == 4
    rank, match = torch.nn.Linear(4, 1), torch.nn.Linear(4, 2)
    rank_by_match(rank, match, 1)
    assert torch.equal(rank.weight[0], match.weight[1])


def test_questions_end_in_a_mask_that_is_read() -> None:
    words = WordPiece([*SPECIAL, "is", "it", "red", "?"], length=8, lower=True)
    assert question(words, "Is it red") == [2, 5, 6, 7, 8, 4, 3]
    assert question(words, "") == [2, 8, 4, 3]
    with pytest.raises(DataError, match="too long"):
        question(words, "is it red red red")
    cut = WordPiece([*SPECIAL, "is", "it", "red", "?"], length=8, lower=True, truncate=True)
    assert question(cut, "is it red red red") == [2, 5, 6, 7, 7, 8, 4, 3]


def test_heads_and_batches_that_do_not_go_together_are_refused() -> None:
    net = visualbert(SIZE, FEATURE, ("itm", "vqa"))
    with pytest.raises(ValueError, match="it answers: vqa"):
        net.ask("itm", joint(rows()))
    with pytest.raises(ValueError, match="vqa is asked with Joint, not JointPair"):
        net.ask("vqa", pairs(rows()))
    with pytest.raises(ValueError, match="there are: mlm, itm"):
        visualbert(SIZE, FEATURE, ("caption",))
    with pytest.raises(ValueError, match="regions of 12 features, not of 5"):
        net.fuse(joint(rows(features=5)))


@torch.no_grad()
def test_no_regions_and_one_word_have_a_defined_result() -> None:
    some = [row(0, 1, 0), row(1, 1, 3), row(2, 4, 0)]
    for net in (visualbert(SIZE, FEATURE, ("vqa",)), uniter(SIZE, FEATURE, ("vqa", "ground"))):
        together = net.eval().ask("vqa", joint(some, kinds=False))
        alone = [net.ask("vqa", joint([one], kinds=False)) for one in some]
        assert together.isfinite().all() and drift(torch.cat(alone), together) <= LIMIT


# --- VisualBERT -----------------------------------------------------------------------------------

GIVEN = {"pretraining": ("mlm", "itm"), "flickr": ("mlm", "itm", "ground")}
GIVEN |= {"vqa": ("vqa",), "nlvr": ("nlvr",), "multichoice": ("vcr",)}


def ours(head: str) -> SingleStream:
    net = visualbert(SIZE, FEATURE, GIVEN[head])
    names = shapes("visualbert", head)
    drawn = state(names)
    if "bert.cls.predictions.decoder.weight" in drawn:
        table = drawn["bert.bert.embeddings.word_embeddings.weight"]
        drawn["bert.cls.predictions.decoder.weight"] = table
    return loaded(net, original_visualbert(GIVEN[head]), drawn)


@torch.no_grad()
def test_visualberts_states_and_pretraining_heads_are_the_originals() -> None:
    golden, net = load_file(GOLDEN / "visualbert.safetensors"), ours("pretraining")
    for name in ("plain", "linked"):
        batch = joint(rows(), links=name == "linked")
        for layer, x in enumerate(states(net, batch)):
            assert drift(golden[f"{name}.state.{layer}"], x) <= LIMIT, (name, layer)
        assert drift(golden[f"{name}.pooled"], net.fuse(batch).pooled) <= LIMIT
    batch = joint(rows())
    assert drift(golden["mlm"], net.heads["mlm"](merged(net, batch))) <= LIMIT
    assert drift(golden["itm"], net.heads["itm"](net.fuse(batch).pooled)) <= LIMIT


@torch.no_grad()
def test_visualberts_answers_are_the_originals() -> None:
    golden, some = load_file(GOLDEN / "visualbert.safetensors"), rows()
    assert drift(golden["vqa"], ours("vqa").ask("vqa", joint(some))) <= LIMIT
    assert drift(golden["nlvr"], ours("nlvr").ask("nlvr", pairs(some))) <= LIMIT
    choices = ours("multichoice").ask("vcr", joint(some)).view(1, 4)
    assert drift(golden["multichoice"], choices) <= LIMIT
    place, row = torch.tensor([1, 3, 9, 13, 16, 17, 23]), torch.tensor([0, 0, 1, 1, 2, 3, 3])
    found = ours("flickr").ask("ground", Phrases(joint(some), place, row))
    real = golden["flickr"] > -5000
    assert torch.equal(real, found > -5000)
    assert drift(golden["flickr"][real], found[real]) <= LIMIT


def hf(name: str, **more: int) -> transformers.PreTrainedModel:
    config = transformers.VisualBertConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        visual_embedding_dim=FEATURE,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
        **more,
    )
    net = getattr(transformers, name)(config).eval()
    drawn = state(
        {key: t.shape for key, t in net.state_dict().items() if "position_ids" not in key}
    )
    if "cls.predictions.bias" in drawn:
        drawn["cls.predictions.decoder.bias"] = drawn["cls.predictions.bias"]
        table = drawn["visual_bert.embeddings.word_embeddings.weight"]
        drawn["cls.predictions.decoder.weight"] = table
    net.load_state_dict(drawn, strict=False)
    return net


@torch.no_grad()
def test_transformers_visualbert_says_the_same() -> None:
    some = rows()
    words, seen = numbers([one.ids for one in some]), [one.features for one in some]
    given = dict(
        input_ids=filled_up(words),
        attention_mask=mask(words),
        token_type_ids=filled_up(numbers([one.segments for one in some])),
        visual_embeds=filled_up(seen),
        visual_attention_mask=mask(seen),
        visual_token_type_ids=filled_up([one.kind for one in some]),
    )
    real = torch.cat([mask(words), mask(seen)], dim=1).bool()
    cases = {
        "VisualBertForPreTraining": ("mlm", "itm"),
        "VisualBertForQuestionAnswering": ("vqa",),
        "VisualBertForVisualReasoning": ("nlvr",),
    }
    for name, heads in cases.items():
        theirs = hf(name, num_labels=7 if "vqa" in heads else 2)
        drawn = {k: v for k, v in theirs.state_dict().items() if "position_ids" not in k}
        net = loaded(visualbert(SIZE, FEATURE, heads, answers=7), hf_visualbert(heads), drawn)
        said = theirs(**given)
        if "mlm" in heads:
            got = net.heads["mlm"](merged(net, joint(some)))
            assert drift(said.prediction_logits[real], got) <= LIMIT
            got = net.heads["itm"](net.fuse(joint(some)).pooled)
            assert drift(said.seq_relationship_logits, got) <= LIMIT
        else:
            got = net.ask(heads[0], joint(some) if "vqa" in heads else pairs(some))
            assert drift(said.logits, got) <= LIMIT


# --- UNITER ---------------------------------------------------------------------------------------

TASKS = {"pretraining": ("mlm", "itm", "mrfr", "mrc"), "rank": ("itm", "rank")}
KINDS = {"nlvr": 3, "nlvr_paired": 3, "nlvr_triplet": 3, "vcr": 4}


def theirs(head: str) -> SingleStream:
    heads = TASKS.get(head, (head,))
    size = SIZE._replace(types=KINDS.get(head, 2))
    net = uniter(size, FEATURE, heads, answers=5, classes=CLASSES)
    drawn = state(shapes("uniter", head))
    drawn["uniter.img_embeddings.mask_embedding.weight"][0] = 0
    if head == "pretraining":
        drawn["cls.predictions.decoder.weight"] = drawn["uniter.embeddings.word_embeddings.weight"]
        drawn["feat_regress.weight"] = drawn["uniter.img_embeddings.img_linear.weight"]
    return loaded(net, original_uniter(size.width, heads), drawn)


@torch.no_grad()
def test_uniters_states_and_pretraining_heads_are_the_originals() -> None:
    golden, net = load_file(GOLDEN / "uniter.safetensors"), theirs("pretraining")
    batch = plain(rows())
    for layer, x in enumerate(states(net, batch)):
        assert drift(golden[f"state.{layer}"], x) <= LIMIT
    said = net.fuse(batch)
    assert drift(golden["pooled"], said.pooled) <= LIMIT
    assert drift(golden["itm"], net.heads["itm"](said.pooled)) <= LIMIT
    words = batch.text.pos % 3 == 1
    assert drift(golden["mlm"], net.heads["mlm"](said.text.x[0, words])) <= LIMIT
    image = batch.image
    hidden = torch.zeros(len(image.kind), dtype=torch.long)
    hidden[image.rows[[0, 2], 0]] = 1
    features = image.features.masked_fill(hidden[:, None] == 1, 0)
    image = image._replace(features=features, masked=hidden)
    seen = net.fuse(Joint(image, batch.text)).image.x[0, hidden == 1]
    assert drift(golden["mrfr"], net.heads["mrfr"](seen)) <= LIMIT
    assert drift(golden["mrc-kl"], net.heads["mrc"](seen)) <= LIMIT


def plain(some: list[Rows]) -> Joint:
    """Rows whose words and regions are of one segment and one picture, as UNITER pre-trains."""
    batch = joint(some, kinds=False)
    return batch._replace(text=batch.text._replace(kind=None))


@pytest.mark.parametrize("head", ["vqa", "rank", "ground", "ground_mlp", "vcr"])
@torch.no_grad()
def test_uniters_answers_are_the_originals(head: str) -> None:
    golden, batch = load_file(GOLDEN / "uniter.safetensors"), plain(rows())
    if head == "vcr":
        kind = joint(rows()).text.kind
        assert kind is not None
        batch = batch._replace(text=batch.text._replace(kind=2 * kind))
    got = theirs(head).ask(head, batch)
    if head.startswith("ground"):
        got = got[got > -5000]
    assert drift(golden[head], got[:, 1:] if head == "vcr" else got) <= LIMIT


@pytest.mark.parametrize("head", ["nlvr", "nlvr_paired", "nlvr_triplet"])
@torch.no_grad()
def test_uniters_three_ways_with_two_pictures_are_the_originals(head: str) -> None:
    golden, some = load_file(GOLDEN / "uniter.safetensors"), rows()
    if head == "nlvr_triplet":
        batch = pairs(some)
    else:
        others = [some[(i + 1) % len(some)] for i in range(len(some))]
        first, second = (pictures(x, kinds=False) for x in (some, others))
        batch = JointPair(first, second, texts(some))
    batch = batch._replace(text=batch.text._replace(kind=None))
    assert drift(golden[head], theirs(head).ask(head, batch)) <= LIMIT
