"""Questions answered: train a small system, or go on from a checkpoint, to answer questions."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

import sensorium
from sensorium.data.joined import Subset
from sensorium.data.loader import Source
from sensorium.data.order import Order, Shuffled, Together
from sensorium.data.tokenizers import WordPiece, tokenizer, train_wordpiece
from sensorium.media import transform
from sensorium.media.rand_augment import rand_augment
from sensorium.models.albef import answering as decoding
from sensorium.models.albef import twinned
from sensorium.models.question_inputs import Features, QuestionInputs, Sees
from sensorium.objectives.answering import Asking
from sensorium.objectives.meaning import Meaning
from sensorium.objectives.telling import Telling
from sensorium.recipes.answerers import (
    Answerer,
    Wanted,
    answerer,
    continued,
    habit,
    pointing,
    small_start,
)
from sensorium.recipes.contrast import PLAIN
from sensorium.recipes.made import Made as MadeStatements
from sensorium.recipes.meant import MarkedThings
from sensorium.recipes.questions import (
    VQA,
    Cut,
    Marked,
    Problem,
    QuestionScores,
    boxed_by,
    cut,
    either,
    learnable,
    seen_by,
)
from sensorium.train.rules import AdamW
from sensorium.train.run import Ask, Package, Run
from sensorium.verbs.ask import Asking as How
from sensorium.verbs.ask import said, told
from sensorium.verbs.load import load_folder
from sensorium.weights import folder as folders
from sensorium.weights.errors import WeightsError

VOCAB = 2000  # pieces of words, where they are learnt
LONGEST = 64  # tokens of a question
BATCH = 128  # questions a step, where nothing else is said
FRAME = 4  # of those, special ones, and a "?"
WIDTH, LAYERS = 64, 3
KINDS = 4  # rows of the largest table of kinds of tokens
DECODERS = ("albef",)  # systems whose answers are read word by word
SYSTEMS = Literal["vilt", "albef", "visualbert", "uniter", "lxmert", "vilbert"]


class Made(NamedTuple):
    """A net to be trained, the words it reads, the answers it gives, and what builds it."""

    how: Answerer
    words: WordPiece
    table: dict[str, int]
    net: Callable[[], nn.Module]


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    lr: float
    precision: Literal["float32", "bf16"]
    seed: int
    augment: bool = False
    meant: bool = False  # whether a net that says what statements speak of learns that too


def vqa(
    system: SYSTEMS = "vilt",
    data: str = "easy_vqa",
    start: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    precision: Literal["usual", "float32", "bf16"] = "usual",
    seed: int = 0,
) -> Run:
    """Train a net that answers questions about pictures, from pixels or from given boxes.

    Args:
        system: vilt and albef see pixels; visualbert, uniter, lxmert and vilbert what the boxes of
            the data cut out, through a small convolution that is learnt with them.
        data: easy_vqa, nlvr (statements, true or false), nlvr_made (those to be scored on; to
            learn from also made ones about scenes put together anew), or a folder with the two
            files of VQA v2 and one folder of pictures.
        start: a checkpoint folder of the same system to go on from, pre-trained or fine-tuned; its
            words and its way of seeing are kept.
        steps: optimiser steps (default: the system's own, `recipes.answerers.HABITS`).
        batch: questions a step (default: the system's own).
        lr: peak learning rate (default: the system's own).
        precision: of the matrix products (usual: the system's own); weights are kept in float32.
        seed: of everything random.
    """

    @cache
    def found() -> Cut:
        return cut(data)

    own = habit(system, data)
    effort = Effort(
        own.steps if steps is None else steps,
        own.batch if batch is None else batch,
        own.lr if lr is None else lr,
        own.precision if precision == "usual" else precision,
        seed,
        meant=own.meant,
    )
    about = {"questions": data, "system": system}
    return answering(system, found, lambda: None, start, effort, about)


def detected(
    detector: str,
    system: Literal["visualbert", "uniter", "lxmert", "vilbert"] = "uniter",
    data: str = "easy_vqa",
    see: Literal["crops", "features"] = "crops",
    start: str | None = None,
    steps: int = 800,
    lr: float = 1e-3,
    seed: int = 0,
) -> Run:
    """Train a net that answers questions from the regions that a detector finds.

    Args:
        detector: the checkpoint folder of a detector (`sensorium train detect`).
        system: a system that reads regions.
        data: as of `vqa`.
        see: of a region what its box cuts out ("crops", of a detector of your own, which may not
            have learnt what is asked), or the detector's features.
        start: a checkpoint folder of the same system to go on from, which sees the same.
        steps: optimiser steps, of 128 questions each.
        lr: peak learning rate.
        seed: of everything random.
    """

    @cache
    def found() -> Cut:
        parts = cut(data)
        if see == "features":
            return parts
        finder = load_folder(detector)
        train, test = (boxed_by(finder, some) for some in (parts.train, parts.test))
        return parts._replace(train=train, test=test)

    @cache
    def features() -> Mapping[str, Sequence[Features]] | None:
        return seen_by(load_folder(detector), found()) if see == "features" else None

    effort = Effort(steps, BATCH, lr, "float32", seed)
    about = {"questions": data, "system": system, "detector": Path(detector).resolve().name}
    return answering(system, found, features, start, effort, about)


def answering(
    system: str,
    found: Callable[[], Cut],
    features: Callable[[], Mapping[str, Sequence[Features]] | None],
    start: str | None,
    effort: Effort,
    about: Mapping[str, Any],
    problem: Problem = VQA,
) -> Run:
    """The run of a system on questions.

    Args:
        found: gives the questions (a `Cut`).
        features: gives the regions of each question's pictures by its id, or None.
        about: what the checkpoint says of its data.
        problem: what is asked.
    """
    head = problem.head(system)
    decodes = system in DECODERS and head == "vqa"

    @cache
    def made() -> Made:
        seen: Mapping[str, Sequence[Features]] | None = features()
        table = problem.table(found().train.entries)
        if start is not None:
            return going_on(start, system, head, table)
        start_of = anew(system, head, found(), table, seen)
        return pointed(start_of) if effort.meant else start_of

    def order(kept: Subset) -> Order:
        together = habit(system).together
        if together == 1:
            return Shuffled(len(kept), effort.seed)
        entries = found().train.entries
        return Together([entries[i].files for i in kept.indices], effort.seed, together)

    @cache
    def source() -> Source:
        m = made()
        change = rand_augment if effort.augment else None
        inputs = QuestionInputs(m.how.look, m.words, m.how.sees, features(), change)
        room = m.words.length - FRAME
        kept = learnable(found().train, m.table, m.words, room)
        answers = [told(m.words, name) for name in m.table] if decodes else None
        marked = Marked(inputs, m.table, found().several, answers)
        if effort.meant:
            train = found().train
            assert isinstance(train, MadeStatements)
            marked = MarkedThings(marked, train.marks)
        return Source(kept, order(kept), marked, marked.batch)

    objective = Telling() if decodes else Asking(head, either)
    objective = Meaning(head, "mrc") if effort.meant else objective

    def package() -> Package:
        m = made()
        spec, scores = m.words.spec(), "sigmoid" if found().several else "softmax"
        scores = "decoder" if decodes else "places" if problem.places else scores
        manifest = {
            "model": m.how.model.spec(),
            "transform": None if m.how.look is None else m.how.look.spec,
            "tokenizer": spec,
            "labels": None if problem.places else list(m.table),
            "asking": How(m.how.sees, head, scores).spec(),
            "data": dict(about) | {"start": start and Path(start).resolve().name},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {str(spec["file"]): m.words.data()})

    return Run(
        net=lambda: made().net(),
        asks={head: Ask(objective, source)},
        rules=((PLAIN, AdamW(effort.lr, 0.0, (0.9, 0.98))), (r".*", AdamW(effort.lr, 0.01))),
        steps=effort.steps,
        batch=effort.batch,
        package=package,
        finish=QuestionScores(found, features, problem),
        warmup=max(1, effort.steps // 15),
        clip=1.0,
        ema=0.99,
        precision=effort.precision,
        seed=effort.seed,
        save_every=500,
    )


def anew(
    system: str,
    head: str,
    parts: Cut,
    table: dict[str, int],
    seen: Mapping[str, Sequence[Features]] | None,
) -> Made:
    """A net that starts from nothing, with words learnt from the questions."""
    texts = [one.text for one in parts.train.entries]
    several = [*texts, *table, "?"]
    words = train_wordpiece(several, VOCAB, LONGEST, truncate=True)
    longest = max(len(words.ids(text)) for text in texts) + FRAME
    words = WordPiece(words.pieces, min(longest, LONGEST), lower=True, truncate=True)
    short, patch, long = parts.shape
    side = None if seen is None else next(iter(seen.values()))[0].features.shape[1]
    size = (words.vocab, words.length, len(table), WIDTH, habit(system).layers)
    how = answerer(system, Wanted(*size, short, patch, long, side), head)
    return Made(how, words, table, lambda: small_start(how.model.build()))


def pointed(of: Made) -> Made:
    """The same start with a head that says what statements speak of."""
    how = pointing(of.how)
    return of._replace(how=how, net=lambda: small_start(how.model.build()))


def going_on(start: str, system: str, head: str, table: dict[str, int]) -> Made:
    """A net that goes on from a checkpoint; a head for other answers starts anew.

    ValueError: it is of another system, or has no words or no head for questions.
    """
    saved = folders.load(start)
    manifest = saved.manifest
    spec, look = manifest["model"], manifest["transform"]
    inner = spec["args"].get("of", spec)
    if str(inner.get("function", "")).partition(".")[0] != system:
        raise WeightsError(f"{start}: is a {inner.get('function')}, not a {system}: say --system")
    words = tokenizer(manifest["tokenizer"], saved.folder) if manifest["tokenizer"] else None
    if not isinstance(words, WordPiece):
        raise WeightsError(f"{start}: has no words of WordPiece, so it can be asked nothing")
    words = WordPiece(words.pieces, words.length, words.lower, True, words.longest_word, words.end)
    sees = said(manifest).sees if "asking" in manifest else way(system, spec)
    sees = sees if head == "vqa" or sees.words != "masked" else sees._replace(words="plain")
    model = continued(spec, len(table), head)
    how = Answerer(model, sees, None if look is None else transform(look))
    decodes = system in DECODERS and head == "vqa"
    same = manifest.get("labels") == list(table) or decodes

    def net() -> nn.Module:
        made = small_start(model.build())
        trained = dict(saved.tensors)
        if decodes and not any(name.startswith("heads.vqa.") for name in trained):
            trained = decoding(trained)
        if system == "albef" and head == "nlvr" and not any("_second" in name for name in trained):
            trained = twinned(trained)
        own = made.state_dict()
        with torch.no_grad():
            for name, tensor in trained.items():
                other = name.startswith(f"heads.{head}.") and not same
                if name in own and not other:
                    carry(own[name], tensor)
        return made

    return Made(how, words, table, net)


def carry(own: Tensor, trained: Tensor) -> None:
    """Trained numbers into a net's own, where they fit; a table of kinds that has grown for a
    second picture goes on with its last row."""
    rows = len(trained) if trained.dim() == 2 else 0
    if own.shape == trained.shape:
        own.copy_(trained)
    elif own.dim() == 2 and 1 < rows < len(own) <= KINDS and own.shape[1] == trained.shape[1]:
        own.copy_(trained[[*range(rows), *[rows - 1] * (len(own) - rows)]])


def way(system: str, spec: Mapping[str, Any]) -> Sees:
    """How a pre-trained net sees pictures and is asked, where its checkpoint does not say."""
    words = "masked" if system == "visualbert" else "plain"
    if system == "vilt":
        return Sees("patches", words, int(spec["args"]["patch"]))
    if system == "albef":
        return Sees("pixels", "clean")
    return Sees("crops" if "of" in spec["args"] else "features", words)
