"""ViLT gives the numbers of its own code and of transformers': mixed shapes, without padding."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from sensorium.data.patched import drawn_patches, take_patches
from sensorium.forms.single_stream import SingleStream
from sensorium.models.bert import BertSize
from sensorium.models.vilt import TINY, begun, vilt
from sensorium.models.vilt_rules import hf_vilt, original_vilt
from sensorium.types import Joint
from sensorium.weights.positions import resize_grid
from sensorium.weights.rules import KeyMap
from tests.models.drawn import drift, state, uniform
from tests.models.shaped import PATCH, SIZE, filled, joint, pair, patched, pixels, text, words

GOLDEN = Path(__file__).parents[2] / "golden" / "vilt.safetensors"
LIMIT = 1e-5
TEXT = BertSize(SIZE["vocab"], SIZE["length"], 2, SIZE["width"], 2, SIZE["heads"], SIZE["hidden"])
TASKS = {"pretraining": ("mlm", "itm"), "vqa": ("vqa",), "nlvr": ("nlvr",), "rank": ("itm", "rank")}
PLACES = (SIZE["pixels"] // PATCH) ** 2 + 1


def net(heads: tuple[str, ...], eps: float = 1e-6) -> SingleStream:
    return vilt(TEXT, SIZE["pixels"], PATCH, heads, answers=5, eps=(1e-12, eps)).eval()


def loaded(ours: SingleStream, keys: KeyMap, drawn: dict[str, Tensor]) -> SingleStream:
    """Our net with their weights; what goes in comes out again."""
    wanted = {name: t.shape for name, t in ours.state_dict().items()}
    ours.load_state_dict(keys.load(drawn, wanted))
    again = {k: v for k, v in keys.save(ours.state_dict()).items() if "position_ids" not in k}
    assert again.keys() == drawn.keys()
    assert all(torch.equal(drawn[name], tensor) for name, tensor in again.items())
    return ours


def golden(task: str) -> SingleStream:
    """Our net with the weights that the original had."""
    with safe_open(GOLDEN, "pt") as file:
        drawn = state(json.loads(file.metadata()["shapes"])[task])
    heads = TASKS[task]
    return loaded(net(heads), original_vilt(heads, PLACES, TEXT.width), drawn)


def states(ours: SingleStream, batch: Joint) -> list[Tensor]:
    """After each layer and behind the last norm, sample after sample."""
    said = ours.fuse(batch)
    out = []
    for both in [*ours.states(batch)[1:], (said.text, said.image)]:
        parts = [x.x[0].split(x.at.lengths.tolist()) for x in both]  # type: ignore[union-attr]
        out.append(torch.cat([part for sample in zip(*parts, strict=True) for part in sample]))
    return out


@torch.no_grad()
def test_states_and_pretraining_heads_are_the_originals() -> None:
    wanted, ours, batch = load_file(GOLDEN), golden("pretraining"), joint()
    for number, x in enumerate(states(ours, batch)):
        assert drift(wanted[f"state.{number}"], x) <= LIMIT, number
    said = ours.fuse(batch)
    assert drift(wanted["pooled"], said.pooled) <= LIMIT
    assert drift(wanted["itm"], ours.heads["itm"](said.pooled)) <= LIMIT
    assert drift(wanted["mlm"], ours.heads["mlm"](said.text.x[0])) <= LIMIT


@pytest.mark.parametrize("task", ["vqa", "nlvr", "rank"])
@torch.no_grad()
def test_answers_are_the_originals(task: str) -> None:
    got = golden(task).ask(task, pair() if task == "nlvr" else joint())
    assert drift(load_file(GOLDEN)[task], got) <= LIMIT


def hf(name: str, **more: int) -> transformers.PreTrainedModel:
    config = transformers.ViltConfig(
        vocab_size=TEXT.vocab,
        hidden_size=TEXT.width,
        num_hidden_layers=TEXT.layers,
        num_attention_heads=TEXT.heads,
        intermediate_size=TEXT.hidden,
        max_position_embeddings=TEXT.length,
        image_size=SIZE["pixels"],
        patch_size=PATCH,
        **more,
    )
    return getattr(transformers, name)(config).eval()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("ViltForMaskedLM", "mlm"),
        ("ViltForQuestionAnswering", "vqa"),
        ("ViltForImagesAndTextClassification", "nlvr"),
        ("ViltForImageAndTextRetrieval", "rank"),
    ],
)
@torch.no_grad()
def test_transformers_says_the_same(name: str, head: str) -> None:
    two = dict(num_images=2, modality_type_vocab_size=3, num_labels=2)
    theirs = hf(name, **(two if head == "nlvr" else {"num_labels": 5}))
    if head == "mlm":  # as the published weights are: not tied
        theirs.mlm_score.decoder.weight = torch.nn.Parameter(torch.empty(TEXT.vocab, TEXT.width))
    drawn = state({key: t.shape for key, t in theirs.state_dict().items()})
    theirs.load_state_dict(drawn)
    if head == "mlm":  # files name the bias twice
        drawn["mlm_score.bias"] = drawn["mlm_score.decoder.bias"]
    ours = net((head,), eps=1e-12)
    ours = loaded(ours, hf_vilt((head,), PLACES, TEXT.width), drawn)
    ids, mask = filled(words())
    image = pixels("left")
    seen = (image.sum(dim=1) != 0).long()
    if head == "nlvr":
        image = torch.stack([wide(image), wide(pixels("right"))], dim=1)
        seen = (image.sum(dim=2) != 0).long()
    given = dict(input_ids=ids, attention_mask=mask, pixel_values=image, pixel_mask=seen)
    logits = theirs(**given).logits
    if head == "mlm":
        got = ours.heads["mlm"](ours.fuse(joint()).text.x[0])
        assert drift(logits[mask.bool()], got) <= LIMIT
    else:
        assert drift(logits, ours.ask(head, pair() if head == "nlvr" else joint())) <= LIMIT


def wide(image: Tensor) -> Tensor:
    """Filled up to one size for both pictures of a sample."""
    side = PATCH * 6
    return torch.nn.functional.pad(image, (0, side - image.shape[3], 0, side - image.shape[2]))


@torch.no_grad()
def test_positions_are_each_pictures_own_grid() -> None:
    """Beside the plain way: one interpolation a picture."""
    ours, batch = golden("pretraining").image, patched("left")
    got = ours.places(batch).split(batch.lengths.tolist())  # type: ignore[operator]
    for (y, x), one in zip(batch.grid.tolist(), got, strict=True):
        want = resize_grid(ours.pos, (3, 3), (y, x), "bilinear-corners")[1:]
        assert float((one - want).abs().max()) <= 1e-6


@torch.no_grad()
def test_the_order_of_patches_shows_in_their_own_states_alone() -> None:
    ours, batch = golden("pretraining"), joint()
    mixed = drawn_patches(patched("left"), 9, torch.Generator().manual_seed(3))
    assert mixed.lengths.tolist() == [9, 9, 9, 5]
    same = torch.tensor([2, 3])  # of which none was left out
    assert not torch.equal(take_patches(mixed, same).place, take_patches(batch.image, same).place)
    one, other = ours.fuse(batch), ours.fuse(Joint(mixed, text()))
    assert drift(one.pooled[same], other.pooled[same]) <= LIMIT
    assert float((one.pooled[0] - other.pooled[0]).abs().max()) > 1e-4


def test_what_it_cannot_read_is_refused() -> None:
    few = vilt(TEXT, SIZE["pixels"], PATCH, ("itm",), most=11)
    with pytest.raises(ValueError, match="12 patches, this net reads 11 at most"):
        few.fuse(joint())
    with pytest.raises(ValueError, match=r"data\.patched"):
        few.fuse(Joint(uniform("dense", (4, 3, 12, 12)), text()))
    with pytest.raises(ValueError, match="no heads are called"):
        vilt(TEXT, heads=("mpp",))


def test_fine_tuning_begins_as_published() -> None:
    before = golden("pretraining").state_dict()
    tuned = net(("rank", "nlvr"))
    start = begun(tuned, before)
    tuned.load_state_dict(start)
    assert torch.equal(start["heads.rank.head.weight"], before["heads.itm.weight"][1:])
    assert torch.equal(start["image.kind.weight"][2], before["image.kind.weight"][1])
    assert torch.equal(start["stack.norm.weight"], before["stack.norm.weight"])


def test_the_small_one_has_all_heads() -> None:
    assert set(TINY.build().heads) == {"mlm", "itm", "vqa", "nlvr", "rank"}  # type: ignore[arg-type]
