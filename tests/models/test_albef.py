"""ALBEF gives the numbers of its own code: texts end to end, all heads, the momentum copy too."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from sensorium.data.cleaning import caption, question
from sensorium.data.ragged import lay
from sensorium.forms.align_fuse import AlignFuse
from sensorium.models.albef import (
    TINY,
    TINY_TWO,
    albef,
    answering,
    stretched,
    tokenizer,
    twinned,
)
from sensorium.models.albef_rules import QUEUES, Depth, carried, original_albef
from sensorium.models.bert import BertSize
from sensorium.models.declaration import Declaration
from sensorium.models.vit import Size
from sensorium.nn.answering import OfAnswers, Told
from sensorium.types import Embeds, Fuses, Joint
from sensorium.weights.errors import WeightsError
from sensorium.weights.rules import KeyMap
from tests.models.asked import (
    EMBED,
    GIVEN,
    HEADS,
    HIDDEN,
    LENGTH,
    PATCH,
    PIXELS,
    QUEUE,
    SEEN,
    SEEN_HEADS,
    SEEN_LAYERS,
    VOCAB,
    WIDTH,
    answers,
    joint,
    pair,
    row,
)
from tests.models.drawn import drift, names_and_shapes, state

GOLDEN = Path(__file__).parents[2] / "golden" / "albef.safetensors"
LIMIT = 1e-5
HAS = {
    "pretraining": ("mlm", "itm"),
    "retrieval": ("itm",),
    "vqa": ("vqa",),
    "nlvr": ("nlvr",),
    "ta": ("ta",),
    "entail": ("entail",),
}
ALIGNED = ("pretraining", "retrieval", "ta")
IMAGE = Size(PIXELS, PATCH, SEEN, SEEN_LAYERS, SEEN_HEADS, 2 * SEEN)


def declared(name: str) -> Declaration:
    """Ours of the size that the original had."""
    two = name in ("nlvr", "ta")
    text = BertSize(VOCAB, LENGTH, 2, WIDTH, 12 if two else 4, HEADS, HIDDEN)
    embed = EMBED if name in ALIGNED else None
    args = dict(text=text, image=IMAGE, embed=embed, fusion=6 if two else 2, heads=HAS[name])
    return Declaration(albef, args)


def keys(name: str, momentum: bool = False) -> KeyMap:
    two = name in ("nlvr", "ta")
    depth = Depth(6, 6, 6, True) if two else Depth(2, 2, 6, False)
    pos = (PIXELS // PATCH) ** 2 + 1, SEEN
    return original_albef(HAS[name], depth, pos, name in ALIGNED, momentum)


def their_shapes(name: str) -> dict[str, list[int]]:
    """Names and shapes of their file: the model's, its copy's, and the queues; by fingerprint."""
    ours = dict(declared(name).build().state_dict())
    found = keys(name).save(ours)
    if name != "ta":
        copy = copied(name)
        found |= keys(name, momentum=True).save(copy)
    shapes = {key: list(t.shape) for key, t in found.items()}
    if name in ("pretraining", "retrieval"):
        shapes |= dict(image_queue=[EMBED, QUEUE], text_queue=[EMBED, QUEUE], queue_ptr=[1])
        shapes |= dict(idx_queue=[1, QUEUE]) if name == "retrieval" else {}
    with safe_open(GOLDEN, "pt") as file:
        assert names_and_shapes(shapes) == file.metadata()[name]
    return shapes


def copied(name: str) -> dict[str, Tensor]:
    """Our tensors that have a momentum copy."""
    ours = declared(name).build().state_dict()
    return {k: t for k, t in ours.items() if not k.startswith(("heads.itm", "heads.ta"))}


def drawn(name: str) -> dict[str, Tensor]:
    """Their file by formula, with the tensors that they tie tied."""
    shapes = their_shapes(name)
    made = state(shapes)
    for key in shapes:
        if key.endswith("position_ids"):
            made[key] = torch.arange(LENGTH)[None]
        start = key.removesuffix(".cls.predictions.decoder.weight")
        if start != key:
            made[key] = made[f"{start}.bert.embeddings.word_embeddings.weight"]
            made[key.replace("weight", "bias")] = made[f"{start}.cls.predictions.bias"]
        head, _, rest = key.partition("encoder.layer.")
        number, _, rest = rest.partition(".")
        if name in ("nlvr", "ta") and rest.startswith(SHARED) and int(number) % 2:
            made[f"{head}encoder.layer.{int(number) - 1}.{rest}"] = made[key]
    made |= {k: torch.zeros(shapes[k]).long() for k in QUEUES[2:] if k in shapes}
    return made


SHARED = ("crossattention.self.key", "crossattention.self.value")


def net(name: str, momentum: bool = False) -> AlignFuse:
    """Our net with their weights; what goes in, of the model, its copy and queues, comes out."""
    file, ours = drawn(name), declared(name).build()
    assert isinstance(ours, AlignFuse)
    wanted = {key: t.shape for key, t in ours.state_dict().items()}
    model = keys(name).load(file, wanted)
    again = keys(name).save(model) | carried(file)
    if name != "ta":
        copy = keys(name, momentum=True).load(file, {k: wanted[k] for k in copied(name)})
        again |= keys(name, momentum=True).save(copy)
        model = model | copy if momentum else model
    assert again.keys() == file.keys()
    assert all(torch.equal(file[key], tensor) for key, tensor in again.items())
    ours.load_state_dict(model)
    return ours.eval()


@torch.no_grad()
def test_states_vectors_and_pretraining_heads_are_the_originals() -> None:
    wanted, ours, batch = load_file(GOLDEN), net("pretraining"), joint()
    seen = ours.image(batch.image)
    assert drift(wanted["seen"], seen.x) <= LIMIT
    words = ours.text.embed(batch.text)
    own = ours.text.stack.states(words)[1:]
    fused = ours.fusion.states(words._replace(x=own[-1]), seen)[1:]  # type: ignore[operator]
    for number, x in enumerate([*own, *fused]):
        assert drift(wanted[f"state.{number}"], x[0]) <= LIMIT, number
    said = ours.fuse(batch)
    assert drift(wanted["mlm"], ours.heads["mlm"](said.text.x[0])) <= LIMIT
    assert drift(wanted["itm"], ours.heads["itm"](said.pooled)) <= LIMIT
    assert drift(wanted["embed_image"], ours.embed_image(batch.image)) <= LIMIT
    assert drift(wanted["embed_text"], ours.embed_text(batch.text)) <= LIMIT


@torch.no_grad()
def test_the_momentum_copy_says_what_the_originals_copy_says() -> None:
    ours = net("pretraining", momentum=True)
    got = ours.heads["mlm"](ours.fuse(joint()).text.x[0])
    assert drift(load_file(GOLDEN)["copy.mlm"], got) <= LIMIT


@torch.no_grad()
def test_retrieval_is_the_originals() -> None:
    wanted, ours, batch = load_file(GOLDEN), net("retrieval"), joint()
    assert drift(wanted["retrieval.itm"], ours.heads["itm"](ours.fuse(batch).pooled)) <= LIMIT
    assert drift(wanted["retrieval.embed_text"], ours.embed_text(batch.text)) <= LIMIT


@pytest.mark.parametrize("name", ["nlvr", "ta", "entail"])
@torch.no_grad()
def test_answers_are_the_originals(name: str) -> None:
    got = net(name).ask(name, joint() if name == "entail" else pair())
    assert drift(load_file(GOLDEN)[name], got) <= LIMIT


@torch.no_grad()
def test_answers_of_vqa_are_scored_and_ranked_as_by_the_original() -> None:
    wanted, ours = load_file(GOLDEN), net("vqa")
    got = ours.ask("vqa", Told(joint(), answers(GIVEN), row()))
    assert drift(wanted["vqa"], got[:, 0]) <= LIMIT
    head = ours.heads["vqa"]
    assert isinstance(head, OfAnswers)
    best, shares = head.rank(ours.fuse, joint(), answers(), 3)
    assert torch.equal(wanted["best"], best)
    assert drift(wanted["shares"], shares) <= LIMIT
    with pytest.raises(ValueError, match="the best 6 of 5"):
        head.rank(ours.fuse, joint(), answers(), 6)


@torch.no_grad()
def test_one_picture_is_read_by_both_halves() -> None:
    ours, batch = net("nlvr"), pair()
    same = batch._replace(second=batch.image)
    assert torch.equal(ours.fuse(same).pooled, ours.fuse(Joint(batch.image, batch.text)).pooled)


def test_shared_keys_and_values_are_learnt_once_and_proved_equal() -> None:
    ours = net("nlvr")
    names = [name for name, _ in ours.named_parameters() if ".kv." in name]
    assert len(names) == 12 and not any("_second" in name for name in names)
    file, wanted = drawn("nlvr"), {k: t.shape for k, t in ours.state_dict().items()}
    key = "text_encoder.encoder.layer.7.crossattention.self.key.weight"
    file[key] = file[key] + 1
    with pytest.raises(WeightsError, match=r"layer\.7\.crossattention"):
        keys("nlvr").load(file, wanted)


@torch.no_grad()
def test_fine_tuning_begins_from_the_layers_that_fuse() -> None:
    trained = TINY.build().state_dict()
    two = TINY_TWO.build()
    start = two.state_dict() | {k: t for k, t in twinned(trained).items() if k in two.state_dict()}
    assert torch.equal(start["fusion.blocks.1.mlp_second.f.up.weight"], trained[MLP])
    two.load_state_dict(start)
    begun = answering({k: t for k, t in trained.items() if "vqa" not in k})
    assert torch.equal(begun["heads.vqa.stack.blocks.1.mlp.f.up.weight"], trained[MLP])
    word = trained["text.embed.word.weight"]
    assert torch.equal(begun["heads.vqa.embed.word.weight"], word)


MLP = "fusion.blocks.1.mlp.f.up.weight"


@torch.no_grad()
def test_positions_are_stretched_as_by_the_original() -> None:
    ours = net("pretraining")
    declaration, tensors = stretched(declared("pretraining"), ours.state_dict(), 20)
    grid = ours.state_dict()["image.embed.pos"][1:].view(1, 3, 3, SEEN).permute(0, 3, 1, 2)
    want = torch.nn.functional.interpolate(grid, (5, 5), mode="bicubic", align_corners=False)
    assert torch.equal(tensors["image.embed.pos"][1:], want[0].flatten(1).t())
    larger = declaration.build()
    larger.load_state_dict(tensors)
    assert isinstance(larger, Fuses) and isinstance(larger, Embeds)


def test_texts_are_cleaned_as_published() -> None:
    assert (
        caption("A Man's <person>, well-known/famous:  (yes!)\n")
        == "a mans person well known famous yes"
    )
    assert caption(" ".join(["w"] * 40)).count("w") == 30
    assert caption("") == "" and caption("...") == ""
    assert question("Is it red?  ") == "is it red"
    assert question("a  b c", most=3) == "a  b"


def test_texts_have_no_end_and_answers_have_one() -> None:
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "box"]
    assert tokenizer(vocab).encode("Red box") == [2, 5, 6]
    assert tokenizer(vocab, end=True).encode("red") == [2, 5, 3]
    assert lay([tokenizer(vocab).encode("")]).lengths.tolist() == [1]
