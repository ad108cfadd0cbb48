"""Retrieval with reranking: pictures and captions found by reading them together."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

import sensorium
from sensorium.data.joined import Subset
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.data.questions import Question
from sensorium.data.tokenizers import WordPiece, train_wordpiece
from sensorium.datasets.files import Rows
from sensorium.datasets.folder import folder
from sensorium.datasets.karpathy import karpathy
from sensorium.datasets.parts import part
from sensorium.media.rand_augment import rand_augment
from sensorium.models.declaration import Declaration
from sensorium.models.question_inputs import Features, Item, QuestionInputs
from sensorium.objectives.aligned import Aligned
from sensorium.objectives.answering import Asking, choice
from sensorium.objectives.momentum import Queue, Slow
from sensorium.objectives.passes import Case
from sensorium.recipes.answerers import Answerer, Wanted, answerer, small_start
from sensorium.recipes.contrast import PLAIN
from sensorium.recipes.parts import pictures, sized
from sensorium.recipes.pretrain import vocabulary
from sensorium.recipes.questions import regions
from sensorium.recipes.vqa import LAYERS, LONGEST, VOCAB, WIDTH, going_on
from sensorium.tasks.rerank import rerank
from sensorium.tasks.scores import to_json
from sensorium.train.rules import AdamW, Freeze
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Captioned, Choices, Embeds, Joint, Objective
from sensorium.verbs.ask import Asker, digest
from sensorium.verbs.ask import Asking as How
from sensorium.verbs.load import load_folder
from sensorium.verbs.model import Model

EMBED, QUEUE, SOFT = 32, 1024, 0.4  # of ALBEF: the shared space, the queue, the teacher's share
RATE = 1e-3  # peak learning rate; of a net that goes on a tenth
TEXTS = 8  # a picture's candidates where texts are ranked; ViLT has 16
FIRST = 16  # candidates that two towers choose; ALBEF has 128 or 256 of 1,000 and 5,000
Say = Callable[[int, int], None]


class Parts(NamedTuple):
    """Captioned pictures to learn from, and others to be scored on."""

    train: Sequence[Captioned]
    test: Sequence[Captioned]


def captioned(data: str) -> Parts:
    """A folder with one of Karpathy's files (`dataset_flickr30k.json`) and its pictures, by its
    splits; or any folder of captioned pictures, of which a tenth is kept for the scores."""
    files = sorted(Path(data).glob("dataset_*.json"))
    if len(files) == 1:
        place = pictures(Path(data), "images")
        return Parts(karpathy(files[0], place, "train"), karpathy(files[0], place, "test"))
    whole = folder(data)
    return Parts(part(whole, "train"), part(whole, "test"))


def rank(
    data: str,
    system: Literal["albef", "vilt", "uniter", "vilbert"] = "albef",
    detector: str | None = None,
    start: str | None = None,
    steps: int = 1000,
    batch: int = 32,
    augment: bool = False,
    seed: int = 0,
) -> Run:
    """Train a net that ranks captions of a picture and pictures of a caption by reading both.

    ALBEF aligns its towers (all captions of a picture are right), which choose the candidates, and
    matches pairs against hard ones. The others learn which of some captions a picture's is, and
    rank all candidates.

    Args:
        data: a folder with dataset_NAME.json as Karpathy's splits have it and pictures below
            `images`, or a folder of captioned pictures.
        system: albef and vilt see pixels; the others a detector's regions.
        detector: the checkpoint folder of a detector, for systems that see regions.
        start: a checkpoint folder of the same system to go on from, a tenth as fast.
        steps: optimiser steps.
        batch: pictures a step.
        augment: whether whole pictures are changed as ALBEF changes them (RandAugment).
        seed: of everything random.
    """
    head = "itm" if system == "albef" else "rank"
    lr = RATE if start is None else RATE / 10

    @cache
    def parts() -> Parts:
        return captioned(data)

    @cache
    def features() -> dict[str, list[Features]] | None:
        finder = None if detector is None else load_folder(detector)
        return None if finder is None else seen_in(finder, parts())

    @cache
    def made() -> tuple[Answerer, WordPiece, Callable[[], nn.Module]]:
        if start is not None:
            old = going_on(start, system, head, {})
            return old.how, old.words, old.net
        how, words = anew(system, head, parts().train, features())
        return how, words, lambda: small_start(how.model.build())

    def net() -> nn.Module:
        return made()[2]()

    @cache
    def source() -> Source:
        how, words, _ = made()
        change = rand_augment if augment else None
        inputs = Told(QuestionInputs(how.look, words, how.sees, features(), change))
        train = parts().train
        batches = inputs.aligned if system == "albef" else inputs.choices
        return Source(train, Shuffled(len(train), seed), inputs, batches)

    def package() -> Package:
        how, words, _ = made()
        spec = words.spec()
        manifest = {
            "model": how.model.spec(),
            "transform": None if how.look is None else how.look.spec,
            "tokenizer": spec,
            "labels": ["match"],
            "asking": How(how.sees, head, "match").spec(),
            "data": {"captions": data, "system": system},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): words.data()})

    objective: Objective = Asking(head, choice)
    if system == "albef":
        objective = aligning(made()[0].model, made()[1], batch, steps, seed)
    learn = AdamW(lr, 0.01)
    return Run(
        net=net,
        asks={head: Ask(objective, source)},
        draw={head: 1.0},
        rules=((r"objectives\..*teacher\.", Freeze()), (PLAIN, AdamW(lr, 0.0)), (r".*", learn))
        if system == "albef"
        else ((PLAIN, AdamW(lr, 0.0)), (r".*", learn)),
        steps=steps,
        batch=batch,
        package=package,
        finish=RankScores(parts, features),
        warmup=max(1, steps // 15),
        clip=1.0,
        ema=0.99,
        seed=seed,
        save_every=500,
    )


def aligning(model: Declaration, words: WordPiece, batch: int, steps: int, seed: int) -> Objective:
    """ALBEF's fine-tuning: contrast over all captions of a picture, and matching of hard pairs."""
    teacher = model.build()
    for name in list(teacher.get_submodule("heads")._modules):
        del teacher.get_submodule("heads")._modules[name]
    queue = Queue(max(QUEUE, 4 * batch), EMBED, seed, named=True)
    slow = Slow(soft=SOFT, ramp=max(1, steps // 5))
    return Aligned(teacher, queue, vocabulary(words), slow, ("itc", "itm"))


def anew(
    system: str,
    head: str,
    train: Sequence[Captioned],
    features: dict[str, list[Features]] | None,
) -> tuple[Answerer, WordPiece]:
    """A small net, with words learnt from the captions."""
    texts = [text for one in listed(train) for text in one]
    learnt = train_wordpiece(texts, VOCAB, LONGEST, truncate=True)
    longest = max(len(learnt.encode(text)) for text in texts)
    words = WordPiece(learnt.pieces, min(longest + 2, LONGEST), lower=True, truncate=True)
    step = max(1, len(train) // 50)
    short, patch, long = sized([train[i].image for i in range(0, len(train), step)])
    side = None if features is None else next(iter(features.values()))[0].features.shape[1]
    size = (words.vocab, words.length, 1, WIDTH, LAYERS)
    how = answerer(system, Wanted(*size, short, patch, long, side), head)
    if system == "albef":
        args = {**how.model.args, "embed": EMBED}
        how = how._replace(model=Declaration(how.model.function, args))
    return how, words


def listed(data: Sequence[Captioned]) -> list[tuple[str, ...]]:
    """All captions, without the pictures where they lie apart from them."""
    if isinstance(data, Subset) and isinstance(data.data, Rows):
        return [data.data.texts[i] for i in data.indices]  # type: ignore[attr-defined]
    if isinstance(data, Rows):
        return list(data.texts)  # type: ignore[attr-defined]
    return [data[i].texts for i in range(len(data))]


def seen_in(finder: Model, parts: Parts) -> dict[str, list[Features]]:
    """What a detector sees in every picture, by its digest."""
    pictures = (data[i] for data in parts for i in range(len(data)))
    return {digest(one.image): [regions(finder, one.image, one.id)] for one in pictures}


class Pair(NamedTuple):
    """A picture with one of its captions, and the picture's number."""

    item: Item
    number: int


class Told:
    """Captioned pictures to batches; a picture's caption is drawn, or its first."""

    def __init__(self, inputs: QuestionInputs):
        self.inputs = inputs

    def __call__(self, one: Captioned, rng: np.random.Generator | None) -> Pair:
        text = one.texts[0 if rng is None else int(rng.integers(len(one.texts)))]
        name = digest(one.image)
        return Pair(self.inputs(Question((one.image,), text, (), name, "")), int(name[:15], 16))

    def joint(self, items: list[Item]) -> Joint:
        batch = self.inputs.joint(items)
        assert isinstance(batch, Joint)
        return batch

    def aligned(self, pairs: list[Pair]) -> Case:
        """Pairs, and which pictures are one."""
        return Case(
            self.joint([pair.item for pair in pairs]),
            picture=torch.tensor([pair.number for pair in pairs]),
        )

    def choices(self, pairs: list[Pair]) -> Choices:
        """Each picture with its caption and others of the batch; the first one is right."""
        count, groups = min(TEXTS, len(pairs)), []
        for row, (item, number) in enumerate(pairs):
            behind = [pairs[(row + k) % len(pairs)] for k in range(1, len(pairs))]
            wrong = [p.item for p in behind if p.number != number and p.item.ids != item.ids]
            group = [item, *wrong[: count - 1]]
            group += [group[-1]] * (count - len(group))  # hardly ever: too few other texts
            groups += [Item(item.pictures, one.ids) for one in group]
        return Choices(self.joint(groups), torch.zeros(len(pairs), dtype=torch.long))


class RankScores(NamedTuple):
    """Retrieval in both directions on the test part."""

    parts: Callable[[], Parts]
    features: Callable[[], dict[str, list[Features]] | None]

    def samples(self) -> Sequence[Captioned]:
        return ()

    def scores(self, model: Model, records: Path, say: Say) -> dict[str, Any]:
        said = {"path": records / "reranking.jsonl.gz", "progress": say}
        about = {"split": "test", "model": model.fingerprint()}
        return ranked(model, self.parts().test, self.features(), said | {"about": about})


def ranked(
    model: Model,
    samples: Sequence[Captioned],
    features: dict[str, list[Features]] | None,
    said: dict[str, Any],
) -> dict[str, Any]:
    """The scores of a model that ranks; where it has towers they choose the first candidates."""
    asker = Asker(model.net, model.tokenizer, model.manifest, features)
    towers = model if isinstance(model.net, Embeds) else None
    found = to_json(rerank(asker.match, samples, first=towers, k=FIRST, **said))
    if towers is None:
        return found
    plain = to_json(rerank(asker.match, samples, first=towers, k=1))
    return found | {"by the towers alone": plain["scores"]}
