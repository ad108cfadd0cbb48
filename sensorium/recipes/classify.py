"""Classification: fine-tune a checkpoint's image tower on labelled pictures."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

import sensorium
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.datasets.flowers import flowers
from sensorium.datasets.folder import labelled_folder
from sensorium.datasets.grocery import grocery
from sensorium.datasets.parts import part
from sensorium.media import canvas, transform
from sensorium.media.augment import Ranges
from sensorium.models.classifier import classifier
from sensorium.models.declaration import Declaration
from sensorium.models.inputs import LabelInputs, Views
from sensorium.objectives.classify import Classify
from sensorium.recipes.contrast import LARGER, PLAIN
from sensorium.tasks.classification import classification
from sensorium.tasks.scores import to_json
from sensorium.train.rules import AdamW
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Labelled
from sensorium.verbs.model import Model
from sensorium.weights import folder as folders


class Cut(NamedTuple):
    """Labelled pictures to learn from, others to be scored on, and the names of the classes."""

    train: Sequence[Labelled]
    test: Sequence[Labelled]
    names: tuple[str, ...]


def classify(
    start: str,
    data: str = "flowers",
    steps: int = 300,
    batch: int = 64,
    lr: float = 1e-3,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """Fine-tune a checkpoint's image tower to name what pictures show.

    Args:
        start: the checkpoint folder of a model with an image tower, such as one of `clip`.
        data: flowers, grocery, or a folder of your own with one folder a class.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate of the head; the tower learns at a third of it.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    saved = folders.read_manifest(start)
    of, pixels = saved["model"], saved["transform"]["size"]
    look = transform(saved["transform"])
    views = Views(transform(canvas(int(pixels * LARGER))), pixels, Ranges(flip=0.5, degrees=15.0))

    @cache
    def found() -> Cut:
        return cut(data)

    def declaration() -> Declaration:
        embed, classes = of["args"]["embed"], len(found().names)
        return Declaration(classifier, {"of": of, "embed": embed, "classes": classes})

    def net() -> nn.Module:
        made = declaration().build()
        tensors = folders.load(start).tensors
        tower = {n.removeprefix("image."): t for n, t in tensors.items() if n.startswith("image.")}
        made.get_submodule("tower").load_state_dict({n: t.clone() for n, t in tower.items()})
        return made

    @cache
    def source() -> Source:
        order = Shuffled(len(found().train), seed)
        inputs = LabelInputs(look, views)
        return Source(found().train, order, inputs, inputs.batch)

    def package() -> Package:
        manifest = {
            "model": declaration().spec(),
            "transform": look.spec,
            "tokenizer": None,
            "labels": list(found().names),
            "data": {"labelled": data, "start": str(Path(start).resolve().name)},
            "licence": saved.get("licence"),
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {})

    head, tower = AdamW(lr, decay=0.05), AdamW(lr / 3, decay=0.05)
    return Run(
        net=net,
        asks={"classify": Ask(Classify(smoothing=0.1), source)},
        rules=(
            (r"head\.weight", head),
            (r"head\.bias", head._replace(decay=0.0)),
            (PLAIN, tower._replace(decay=0.0)),
            (r".*", tower),
        ),
        steps=steps,
        batch=batch,
        package=package,
        finish=LabelScores(found),
        warmup=max(1, steps // 20),
        clip=1.0,
        ema=0.98,
        precision=precision,
        seed=seed,
        workers=1,
        save_every=200,
    )


def cut(data: str) -> Cut:
    """The train and test parts of a labelled set; of your own folder a tenth is the test part."""
    readers: dict[str, Callable[..., Any]] = {"flowers": flowers, "grocery": grocery}
    if data in readers:
        train, test = readers[data](part="train"), readers[data](part="test")
        return Cut(train, test, tuple(train.labels))
    found = labelled_folder(data)
    return Cut(part(found, "train"), part(found, "test"), tuple(found.labels))


class LabelScores(NamedTuple):
    """Accuracy on the test part."""

    found: Callable[[], Cut]

    def samples(self) -> Sequence[Labelled]:
        return self.found().test

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        test, names = self.found().test, self.found().names
        if len(test) == 0:
            return {"scores": {}, "note": "too few pictures: none was kept for the scores"}
        about = {"split": "test", "model": model.fingerprint()}
        path = records / "classification.jsonl.gz"
        return to_json(
            classification(model.classify, test, names, path=path, about=about, progress=say)
        )
