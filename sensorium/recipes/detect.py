"""Detection: train a small detector on pictures with boxes, from nothing."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import sensorium
from sensorium.data.joined import Subset
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.datasets.boxes import BoxedPictures, bccd, coco, coco_open, nlvr
from sensorium.datasets.easy_vqa import easy_vqa_shapes
from sensorium.datasets.parts import tested
from sensorium.media import read_header, shorter, transform
from sensorium.models.declaration import Declaration
from sensorium.models.detector_inputs import BoxInputs, anchors_for, resized, scenes
from sensorium.models.faster_rcnn import SMALL_KEPT, SMALL_SIZE, small
from sensorium.objectives.detection import Detect
from sensorium.tasks.detection import Answer, detection
from sensorium.tasks.scores import to_json
from sensorium.train.rules import AdamW
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Boxed
from sensorium.verbs.detect import detect as find
from sensorium.verbs.model import Model

READERS: dict[str, Callable[..., BoxedPictures]] = {
    "nlvr": nlvr,
    "bccd": bccd,
    "coco_open": coco_open,
    "easy_vqa": easy_vqa_shapes,
}
MEASURED = 64  # pictures whose size is looked at
LONGEST = 4  # times the shorter side: how long the longer one may be
LARGEST = 320  # pixels: what a shorter side is at most reduced to, unless said
NO_DECAY = r"norm|bias|embed"


class Cut(NamedTuple):
    """Pictures to learn from, others to be scored on, and the names."""

    train: Sequence[Boxed]
    test: Sequence[Boxed]
    things: Sequence[Any]
    labels: tuple[str, ...]
    attributes: tuple[str, ...]


def detect(
    data: str = "nlvr",
    steps: int = 600,
    batch: int = 8,
    lr: float = 2e-3,
    short: int = 0,
    precision: Literal["float32", "bf16"] = "float32",
    seed: int = 0,
) -> Run:
    """Train a small Faster R-CNN from nothing on pictures with boxes.

    Args:
        data: nlvr, bccd, coco_open, easy_vqa, or a COCO annotation file beside its pictures.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        short: pixels of the shorter side that pictures are resized to; 0: as most of them are, at
            most 320.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """

    @cache
    def found() -> Cut:
        return cut(data)

    @cache
    def look() -> Any:
        side = short or common_side(found().train)
        return transform(shorter(side, min(4096, LONGEST * side)))

    @cache
    def declaration() -> Declaration:
        boxes = [resized_boxes(look(), found(), i) for i in measured(len(found().train))]
        args = dict(size=SMALL_SIZE, anchors=anchors_for(np.concatenate(boxes)), kept=SMALL_KEPT)
        named = dict(classes=len(found().labels), attributes=len(found().attributes))
        return Declaration(small, args | named)

    @cache
    def source() -> Source:
        order = Shuffled(len(found().train), seed)
        inputs = BoxInputs(look(), named=bool(found().attributes))
        return Source(found().train, order, inputs, scenes)

    def package() -> Package:
        manifest = {
            "model": declaration().spec(),
            "transform": look().spec,
            "tokenizer": None,
            "labels": list(found().labels),
            "attributes": list(found().attributes),
            "data": {"boxes": data},
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {})

    learn = AdamW(lr, decay=0.05)
    return Run(
        net=lambda: declaration().build(),
        asks={"detect": Ask(Detect(), source)},
        rules=((NO_DECAY, learn._replace(decay=0.0)), (r".*", learn)),
        steps=steps,
        batch=batch,
        package=package,
        finish=BoxScores(found),
        warmup=max(1, steps // 20),
        clip=5.0,
        ema=0.99,
        precision=precision,
        seed=seed,
        save_every=400,
    )


def cut(data: str) -> Cut:
    """The train and test parts of a set of boxes; of your own file a tenth is the test part."""
    if data in READERS:
        train, test = READERS[data](part="train"), READERS[data](part="test")
        return Cut(train, test, train.things, train.labels, train.attributes)
    whole = coco(data)
    own = [i for i, name in enumerate(whole.ids) if not tested(name)]
    rest = [i for i, name in enumerate(whole.ids) if tested(name)]
    things = [whole.things[i] for i in own]
    return Cut(Subset(whole, own), Subset(whole, rest), things, whole.labels, whole.attributes)


def measured(count: int) -> list[int]:
    """Which pictures are looked at before training: some, evenly spread."""
    return [i * count // min(MEASURED, count) for i in range(min(MEASURED, count))]


def common_side(samples: Sequence[Boxed]) -> int:
    """The shorter side of most pictures (the median), at most LARGEST."""
    sides = []
    for i in measured(len(samples)):
        header = read_header(samples[i].image, name=samples[i].id)
        sides.append(min(header.width, header.height))
    return min(LARGEST, int(np.median(sides)))


def resized_boxes(look: Any, found: Cut, i: int) -> np.ndarray:
    """The boxes of one training picture, in pixels as the net sees it."""
    _, scale = resized(look, found.train[i].image, found.train[i].id)
    boxes = [thing.box for thing in found.things[i] if not thing.crowd]
    return scale * np.array(boxes, dtype=np.float32).reshape(-1, 4)


class BoxScores(NamedTuple):
    """Mean average precision on the test part."""

    found: Callable[[], Cut]

    def samples(self) -> Sequence[Boxed]:
        return self.found().test

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        test, labels = self.found().test, self.found().labels
        if len(test) == 0:
            return {"scores": {}, "note": "too few pictures: none was kept for the scores"}

        def answer(image: bytes, name: str) -> Answer:
            return Answer(*find(model, image, name=name, least=0.01))

        about = {"split": "test", "model": model.fingerprint()}
        path = records / "detection.jsonl.gz"
        return to_json(detection(answer, test, labels, path=path, about=about, progress=say))
