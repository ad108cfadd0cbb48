"""Nets that answer questions, scored on files in their published forms: `sensorium evaluate`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sensorium.data.questions import Box, Question, Reference
from sensorium.recipes.parts import HELD, expressions, hypotheses, statements
from sensorium.recipes.questions import cut, found_by, own, regions, scored
from sensorium.recipes.rank import FIRST, captioned
from sensorium.tasks.answers import entailment, nlvr2
from sensorium.tasks.asking import Answer
from sensorium.tasks.grounding import grounding
from sensorium.tasks.rerank import rerank
from sensorium.tasks.scores import Scores
from sensorium.tasks.vqa import vqa
from sensorium.types import Embeds
from sensorium.verbs.ask import Asker, digest
from sensorium.verbs.model import Model

P = TypeVar("P")
NAMED = ("easy_vqa", "nlvr")


See = Callable[[Sequence[Question]], Sequence[Question]]


def responding(asker: Asker, detector: Model | None = None) -> Callable[..., list[Answer]]:
    """A net's likeliest answers; of "places" the number of the region."""
    see = seeing(asker, detector)

    def respond(some: Sequence[Question]) -> list[Answer]:
        found = asker.shares(see(some))
        names = asker.answers or tuple(map(str, range(found.shape[1])))
        best = found.argmax(axis=1)
        return [Answer(names[k], float(row[k])) for k, row in zip(best, found, strict=True)]

    return respond


def seeing(asker: Asker, detector: Model | None) -> See:
    """Gives questions the regions that a detector finds; each picture of a call is seen once.

    ValueError: there is a detector, and the net sees no regions.
    """
    kind = asker.how.sees.picture
    if detector is None:
        return lambda some: some
    if kind not in ("crops", "features"):
        raise ValueError(f"this model sees {kind}: it needs no detector")

    def boxed(some: Sequence[Question]) -> list[Question]:
        found = {digest(image): found_by(detector, image) for one in some for image in one.images}
        seen = [tuple(found[digest(image)] for image in one.images) for one in some]
        return [one._replace(boxes=boxes) for one, boxes in zip(some, seen, strict=True)]

    def featured(some: Sequence[Question]) -> Sequence[Question]:
        pictures = {digest(image): (image, one.id) for one in some for image in one.images}
        found = {key: regions(detector, *picture) for key, picture in pictures.items()}
        asker.inputs.features = {
            one.id: [found[digest(image)] for image in one.images] for one in some
        }
        return some

    return boxed if kind == "crops" else featured


def questions(model: Model, detector: Model | None, data: str, said: dict[str, Any]) -> Scores:
    """Questions of VQA v2's two files, or of the test part of a set that is known by its name."""
    respond = responding(asked(model), detector)
    if data in NAMED:
        return scored(cut(data), respond, said)
    return vqa(respond, own(Path(data)), **said)


def pairs(model: Model, detector: Model | None, data: str, said: dict[str, Any]) -> Scores:
    """Statements about two pictures, in NLVR2's files: accuracy and consistency."""
    return nlvr2(responding(asked(model), detector), held(statements(data)), **said)


def entailed(model: Model, detector: Model | None, data: str, said: dict[str, Any]) -> Scores:
    """Sentences about pictures, in SNLI-VE's files."""
    return entailment(responding(asked(model), detector), held(hypotheses(data)), **said)


def referred(model: Model, data: str, said: dict[str, Any]) -> Scores:
    """Expressions that mean one box, in RefCOCO's files; candidates are all boxes of a picture."""
    respond = responding(asked(model))

    def pick(some: Sequence[Reference]) -> list[Box]:
        put = [Question((r.image,), r.text, (), r.id, r.cluster, boxes=(r.boxes,)) for r in some]
        return [r.boxes[int(a.text)] for r, a in zip(some, respond(put), strict=True)]

    return grounding(pick, held(expressions(data)), **said)


def reranked(model: Model, detector: Model | None, data: str, said: dict[str, Any]) -> Scores:
    """Retrieval in both directions, ranked by reading both; towers choose, where there are any."""
    towers, asker = model if isinstance(model.net, Embeds) else None, asked(model)
    match = partial(asker.match, see=seeing(asker, detector))
    return rerank(match, captioned(data).test, first=towers, k=FIRST, **said)


def asked(model: Model) -> Asker:
    """The model as one that is asked."""
    return Asker(model.net, model.tokenizer, model.manifest)


def held(parts: Mapping[str, P]) -> P:
    """The part that is scored: the first of HELD that there is, else any but train, else that."""
    names = [*HELD, *sorted(name for name in parts if name != "train"), "train"]
    return parts[next(name for name in names if name in parts)]
