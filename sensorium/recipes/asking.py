"""`sensorium ask`: a question about a picture, with whatever says where its regions are."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sensorium.data.errors import DataError
from sensorium.data.questions import Box
from sensorium.datasets.region_files import Needs, Seen, open_regions
from sensorium.datasets.region_files.record import ANYTHING
from sensorium.media import read_image_bytes
from sensorium.models.fused import sight
from sensorium.models.question_inputs import Features
from sensorium.recipes.questions import regions as regions_of
from sensorium.verbs.ask import Asker
from sensorium.verbs.detect import detect
from sensorium.verbs.looked import by_word, show, where
from sensorium.verbs.model import Model
from sensorium.verbs.open import load
from sensorium.verbs.options import named
from sensorium.verbs.shown import shows
from sensorium.verbs.tell import answered, beside

LEAST = 0.3  # the score that a box must have


class Regions(NamedTuple):
    """What says where the regions of a picture are; at most one of them.

    Attributes:
        boxes: given in pixels, as "x1,y1,x2,y2".
        detector: finds them.
        file: a file of regions, whose ids are the pictures' names without ending.
    """

    boxes: Sequence[str] = ()
    detector: Model | None = None
    file: str | None = None


def ask(
    model: Model,
    image: str,
    question: str,
    regions: Regions | None = None,
    at: str | Path | None = None,
) -> dict[str, Any]:
    """The answers with their probabilities, likeliest first; where the net looked is drawn to `at`.

    Raises:
        ValueError: as `Asker.ask`; boxes that are none; more than one way to say where regions are.
    """
    asker = Asker(model.net, model.tokenizer, model.manifest)
    given = regions or Regions()
    boxes, features = found(asker, image, given)
    answers = asker.ask(image, question, boxes, features)
    out: dict[str, Any] = {"answers": {name: round(p, 6) for name, p in answers.items()}}
    if boxes is not None or features is not None:
        out["regions"] = len(boxes if boxes is not None else features.boxes)  # type: ignore[union-attr]
    if at is not None:
        item = asker.item(image, question, boxes, features)
        show(at, image, where(asker, item), question, answers, by_word(asker, item))
        out["shown"] = str(at)
    return out


def asked_for(options: argparse.Namespace) -> dict[str, Any]:
    """What a command line asks (`verbs.options.asking`), of one model or of several side by side.

    Raises:
        ValueError: as `ask` and `verbs.tell.answered`.
    """
    checkpoints, image, question = named(options.asked, options.image)
    models = [load(c, options.layout, precision=options.precision) for c in checkpoints]
    if len(models) > 1:
        several = list(zip(checkpoints, models, strict=True))
        return {"question": question, **beside(several, image, question, options.template)}
    if shows(models[0].net):
        return answered(models[0], image, question, options.template)
    finder = load(options.detector) if options.detector else None
    given = Regions(options.boxes, finder, options.regions)
    return ask(models[0], image, question, given, options.show)


def found(asker: Asker, image: str, regions: Regions) -> tuple[list[Box] | None, Features | None]:
    """Boxes where the net sees crops, features where it sees a detector's."""
    ways = [bool(regions.boxes), regions.detector is not None, regions.file is not None]
    if sum(ways) > 1:
        raise ValueError("say where the regions are in one way: boxes, a detector, or a file")
    crops = asker.how.sees.picture == "crops"
    if regions.boxes:
        return [box(text) for text in regions.boxes], None
    if regions.detector is not None:
        if crops:
            said = detect(regions.detector, image, least=LEAST).boxes
            return [tuple(map(float, one)) for one in said], None  # type: ignore[misc]
        return None, regions_of(regions.detector, read_image_bytes(image), image)
    if regions.file is not None:
        own = None if crops else sight(asker.net)  # type: ignore[arg-type]
        needs = ANYTHING if own is None else Needs(width=own.size)
        seen = one_of(regions.file, Path(image).stem, needs)
        if crops:
            return [tuple(map(float, one)) for one in seen.boxes], None  # type: ignore[misc]
        return None, Features(seen.features, seen.shares().astype(np.float32))
    return None, None


def one_of(file: str, name: str, needs: Needs = ANYTHING) -> Seen:
    """The regions of one picture of a file. DataError: it holds none of that name, or they are not
    what the model needs."""
    rows = open_regions(file, needs=needs)
    for i, one in enumerate(getattr(rows, "ids", ())):
        if one.rpartition("/")[2] == name:
            return rows[i]
    raise DataError(f"{file}: holds no regions of a picture named {name!r}")


def box(text: str) -> Box:
    """A box in pixels, as said on a command line. ValueError: it is none."""
    pieces = text.split(",")
    try:
        x1, y1, x2, y2 = map(float, pieces)
    except ValueError:
        raise ValueError(f"box {text!r}: four numbers are expected, x1,y1,x2,y2") from None
    return x1, y1, x2, y2
