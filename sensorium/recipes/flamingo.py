"""Flamingo: a frozen language model and a tower learn to read documents with pictures."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

import sensorium
from sensorium.data.errors import DataError
from sensorium.data.interleaved import CHUNK, MARK
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.tokenizers.extended import extended
from sensorium.data.tokenizers.words import Words
from sensorium.datasets import documents
from sensorium.datasets.documents import Documents
from sensorium.datasets.files import Pictures
from sensorium.datasets.folder import folder
from sensorium.datasets.openstax import captions
from sensorium.forms.gated import Gated
from sensorium.media import openai_clip, transform
from sensorium.models.declaration import Declaration, declared
from sensorium.models.flamingo import Gates, Look, words
from sensorium.models.flamingo import flamingo as a_flamingo
from sensorium.models.flamingo_inputs import DocumentInputs, Item
from sensorium.models.llava import SMALL_TOWER, Tower
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.recipes.flamingo_scores import Heard
from sensorium.recipes.llava import named, tower_of
from sensorium.train.rules import AdamW, Freeze, Rules
from sensorium.train.run import Ask, Package, Run
from sensorium.verbs.model import Model
from sensorium.verbs.open import load
from sensorium.weights.errors import WeightsError

RATE, DECAY = 1e-4, 0.1  # OpenFlamingo's; the decay is of the layers put in
MOST, LONGEST, SHORT = 6, 256, 32  # pictures and tokens of a document, tokens of a pair


class Made(NamedTuple):
    """What is trained, from what: a declaration, the parts' own weights, and words."""

    model: Declaration
    lm: Mapping[str, Tensor]
    tower: Mapping[str, Tensor] | None
    words: Words


class Set(NamedTuple):
    """A part of the mixture: its name, its documents, the weight of its loss, tokens it reads."""

    name: str
    documents: Callable[[], Documents]
    weight: float
    longest: int


def train(
    lm: str,
    tower: str | None = None,
    data: str = "openstax=1,storybooks=1,pairs=0.2",
    every: int = 4,
    steps: int = 1000,
    batch: int = 8,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
) -> Run:
    """Flamingo: what is put between a frozen language model's layers learns documents (section 3).

    Args:
        lm: a language model's checkpoint folder, or a published file (GGUF), with a tokenizer.
        tower: the checkpoint folder of a CLIP with a vision transformer, which stays as it is.
            Without one a small tower is made, which learns too.
        data: a mixture, NAME=WEIGHT with commas: openstax and storybooks (documents), pairs
            (openstax's captions), mmc4:FILE, obelics:FILE, captions:FOLDER. Each step has a batch
            of each, its losses times the weight.
        every: in front of every n-th layer others are put in.
        steps: optimiser steps.
        batch: documents a step and set.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    sets = mixture(data)

    @cache
    def made() -> Made:
        return joined(load(lm), None if tower is None else load(tower), every)

    def source(one: Set) -> Callable[[], Source]:
        @cache
        def opened() -> Source:
            found = one.documents()
            inputs = inputs_of(made(), one.longest)
            return Source(found, Shuffled(len(found), seed), inputs, Collated(inputs))

        return opened

    def package() -> Package:
        m = made()
        spec = m.words.spec()
        manifest = {
            "model": m.model.spec(),
            "transform": inputs_of(m, LONGEST).look.spec,
            "tokenizer": spec,
            "data": {"mixture": data, "lm": named(lm), "tower": named(tower)},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): m.words.data()})

    learn = AdamW(RATE, DECAY)
    see = Freeze() if tower is not None else AdamW(RATE)
    rules: Rules = (
        (r"\.(look|think)\.", learn),
        (r"^net\.resampler\.", AdamW(RATE)),
        (r"^net\.image\.", see),
        (r"^net\.decoder\.(embed\.word|head)\.weight$", AdamW(RATE)),
        (r".*", Freeze()),
    )
    return Run(
        net=lambda: whole(made()),
        asks={one.name: Ask(NextToken(), source(one), one.weight) for one in sets},
        rules=rules,
        steps=steps,
        batch=batch,
        package=package,
        finish=Heard(data),
        warmup=max(1, round(0.03 * steps)),
        clip=1.0,
        precision=precision,
        seed=seed,
        save_every=500,
    )


class Collated:
    """Documents read, as a batch."""

    def __init__(self, inputs: DocumentInputs):
        self.inputs = inputs

    def __call__(self, items: list[Item]) -> Lesson:
        return Lesson(*self.inputs.batch(items))


# --- the mixture ---------------------------------------------------------------------------------


def mixture(data: str) -> list[Set]:
    """The sets that a text names, with their weights.

    ValueError: a name is not known or comes twice, or a weight is not above 0.
    """
    out: list[Set] = []
    for part in data.split(","):
        name, _, said = part.strip().rpartition("=")
        kind, _, file = name.partition(":")
        try:
            weight = float(said)
        except ValueError:
            weight = 0.0
        if not name or not 0 < weight < 1e6:
            raise ValueError(f"--data {part.strip()!r}: write NAME=WEIGHT, the weight above 0")
        if kind not in KINDS or bool(file) != KINDS[kind]:
            known = ", ".join(f"{k}:PATH" if needs else k for k, needs in KINDS.items())
            raise ValueError(f"--data {name!r} is not known; there are: {known}")
        plain = kind if not file else f"{kind}_{len(out)}"
        if any(one.name == plain for one in out):
            raise ValueError(f"--data names {kind} twice: give it one weight")
        short = SHORT if kind in ("pairs", "captions") else LONGEST
        out.append(Set(plain, opener(kind, file), weight, short))
    return out


KINDS = {"openstax": False, "storybooks": False, "pairs": False}
KINDS |= {"mmc4": True, "obelics": True, "captions": True}  # whether a path follows


def opener(kind: str, path: str) -> Callable[[], Documents]:
    """What opens a set."""
    opened: dict[str, Callable[[], Documents]] = {
        "openstax": documents.openstax,
        "storybooks": documents.storybooks,
        "pairs": lambda: documents.pairs(captions()),
        "mmc4": lambda: documents.mmc4(path),
        "obelics": lambda: documents.obelics(path),
        "captions": lambda: documents.pairs(_captioned(path)),
    }
    return opened[kind]


def _captioned(path: str) -> Pictures:
    found = folder(path)
    if not isinstance(found, Pictures):
        raise DataError(f"{path}: captions beside picture files are wanted here, not shards")
    return found


# --- what is trained -----------------------------------------------------------------------------


def joined(lm: Model, tower: Model | None, every: int) -> Made:
    """A language model with two more tokens, a tower, and what is put between.

    Raises:
        WeightsError: the one has no tokenizer or is no decoder, or the other is no CLIP with a
            vision transformer.
    """
    of = declared(lm.manifest["model"])
    if lm.words is None or "vocab" not in of.spec()["args"]:
        function = lm.manifest["model"]["function"]
        raise WeightsError(f"--lm: a decoder with a tokenizer is wanted, not {function}")
    said = extended(lm.words, (CHUNK, MARK))
    image, seen = SMALL_TOWER, None
    if tower is not None:
        image, seen = tower_of(tower)
    vocab = max(said.vocab, of.spec()["args"]["vocab"])
    wide = image.width
    args = dict(
        image=image,
        look=Look(2 if wide < 512 else 6, 16 if wide < 512 else 64, 8, max(wide // 8, 8), 0),
        lm=words(of, vocab),
        gates=Gates(every - 1, every, 8, 64),
        mark=said.specials[MARK],
    )
    return Made(Declaration(a_flamingo, args), lm.net.state_dict(), seen, said)


def whole(made: Made) -> nn.Module:
    """The net with its parts' own weights; of word vectors only those of new tokens learn."""
    net = made.model.build()
    assert isinstance(net, Gated)
    own = next(net.parameters()).data
    if type(own) is not Tensor or own.is_meta:  # a plan's have no numbers
        return net
    old = net.state_dict()
    for name, tensor in made.lm.items():
        place = f"decoder.{name}"
        if place not in old:
            raise WeightsError(f"--lm: its {name} has no place in the model it declares")
        put_rows(old[place], tensor, name)
    for name, tensor in (made.tower or {}).items():
        old[name].copy_(tensor)
    new = [made.words.specials[MARK], made.words.specials[CHUNK]]
    head = net.decoder.head
    for table in [net.decoder.embed.word.weight, *([] if head is None else [head.weight])]:
        table.register_hook(OnlyRows(new))
    return net


@torch.no_grad()
def put_rows(place: Tensor, tensor: Tensor, name: str) -> None:
    """Copies a tensor; rows that are more than it has start near the mean of those it has."""
    if place.shape[1:] != tensor.shape[1:] or len(place) < len(tensor):
        raise WeightsError(f"--lm: {name} is {tuple(tensor.shape)}, not {tuple(place.shape)}")
    place[: len(tensor)].copy_(tensor)
    if len(place) > len(tensor):
        g = torch.Generator().manual_seed(len(tensor))
        shape = (len(place) - len(tensor), *tensor.shape[1:])
        noise = torch.randn(shape, generator=g) * tensor.std(0)
        place[len(tensor) :].copy_(tensor.mean(0) + 0.1 * noise)


class OnlyRows:
    """Lets a gradient through to some rows of a table alone."""

    def __init__(self, rows: list[int]):
        self.rows = rows

    def __call__(self, grad: Tensor) -> Tensor:
        out = torch.zeros_like(grad)
        out[self.rows] = grad[self.rows]
        return out


def inputs_of(made: Made, longest: int) -> DocumentInputs:
    """What reads documents for this model."""
    image: Tower = made.model.args["image"]
    room = min(longest, made.model.args["lm"]["args"].get("length", longest))
    return DocumentInputs(transform(openai_clip(image.pixels)), made.words, room, MOST)
