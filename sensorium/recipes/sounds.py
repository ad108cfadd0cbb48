"""Sounds classified as pictures: a ViT on spectrograms."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import numpy as np

import sensorium
from sensorium.data.loader import Source
from sensorium.data.order import Shuffled
from sensorium.datasets.files import Rows
from sensorium.datasets.parts import tested
from sensorium.datasets.sounds import ESC10, Sound, Sounds, esc10, sound_folder
from sensorium.media import canvas, transform
from sensorium.models.declaration import Declaration
from sensorium.models.sound_inputs import Frame, Picture, Shifts, SoundInputs, drawn
from sensorium.models.vit import Size, vit
from sensorium.objectives.classify import Classify
from sensorium.tasks.classification import classification
from sensorium.tasks.scores import to_json
from sensorium.train.rules import AdamW
from sensorium.train.run import Ask, Package, Run
from sensorium.types import Labelled
from sensorium.verbs.model import Model

FRAME = Frame(pixels=96, seconds=5.0)
NET = Size(pixels=96, patch=12, width=128, layers=4, heads=4, hidden=384)
HALF = (0.5, 0.5, 0.5)
PLAIN = r"norm|bias|\.pos$|\.cls$"


class Cut(NamedTuple):
    """Sounds to learn from, and others to be scored on."""

    train: Sounds
    test: Sounds


def classify(
    data: str = "esc10",
    steps: int = 900,
    batch: int = 32,
    lr: float = 1e-3,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """A ViT learns from scratch what sounds are of, from pictures of their spectra.

    Args:
        data: esc10, or a folder of your own with one folder of sounds a kind; of a sound the first
            five seconds are used.
        steps: optimiser steps.
        batch: sounds a step.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    look = transform(canvas(FRAME.pixels, mean=HALF, std=HALF))

    @cache
    def found() -> Cut:
        return cut(data)

    def declaration() -> Declaration:
        return Declaration(vit, dict(size=NET, classes=len(found().train.labels)))

    @cache
    def source() -> Source:
        train = found().train
        fellows = [
            [train[i].sound for i, of in enumerate(train.targets) if of == label]
            for label in range(len(train.labels))
        ]
        inputs = Read(SoundInputs(look, FRAME, Shifts(), fellows))
        return Source(train, Shuffled(len(train), seed), inputs, inputs.inputs.batch)

    def package() -> Package:
        manifest = {
            "model": declaration().spec(),
            "transform": look.spec,
            "tokenizer": None,
            "labels": list(found().train.labels),
            "data": {"sounds": data},
            "sounds": FRAME._asdict(),
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {})

    learn = AdamW(lr, decay=0.1)
    return Run(
        net=lambda: declaration().build(),
        asks={"classify": Ask(Classify(smoothing=0.1), source)},
        rules=((PLAIN, learn._replace(decay=0.0)), (r".*", learn)),
        steps=steps,
        batch=batch,
        package=package,
        finish=KindScores(found),
        warmup=max(1, steps // 10),
        clip=1.0,
        ema=0.98,
        precision=precision,
        seed=seed,
        save_every=1000,
    )


def cut(data: str) -> Cut:
    """The train and test parts of a set; of your own folder a tenth is the test part."""
    if data == ESC10:
        return Cut(esc10(part="train"), esc10(part="test"))
    whole = sound_folder(data)

    def some(test: bool) -> Sounds:
        pairs = zip(whole.files, whole.targets, strict=True)
        kept = [(file, of) for file, of in pairs if tested(file) == test]
        return Sounds(whole.root, [f for f, _ in kept], [of for _, of in kept], whole.labels)

    return Cut(some(False), some(True))


class Read:
    """`SoundInputs` of the samples of a data set."""

    def __init__(self, inputs: SoundInputs):
        self.inputs = inputs

    def __call__(self, sample: Sound, rng: np.random.Generator | None) -> tuple[Picture, int]:
        return self.inputs.one(sample.sound, sample.label, sample.id, rng)


@final
class Drawn(Rows[Labelled]):
    """Sounds as labelled pictures, for every task that scores a classifier."""

    def __init__(self, sounds: Sounds):
        self.sounds, self.ids = sounds, sounds.ids

    def __len__(self) -> int:
        return len(self.sounds)

    def sample(self, i: int) -> Labelled:
        one = self.sounds.sample(i)
        return Labelled(drawn(one.sound, FRAME, one.id), one.label, one.id)


class KindScores(NamedTuple):
    """Accuracy on the test part."""

    found: Callable[[], Cut]

    def samples(self) -> Sequence[Labelled]:
        return Drawn(self.found().test)

    def scores(
        self, model: Model, records: Path, say: Callable[[int, int], None]
    ) -> dict[str, Any]:
        test = Drawn(self.found().test)
        if len(test) == 0:
            return {"scores": {}, "note": "too few sounds: none was kept for the scores"}
        names = self.found().test.labels
        about = {"split": "test", "model": model.fingerprint()}
        path = records / "classification.jsonl.gz"
        return to_json(
            classification(model.classify, test, names, path=path, about=about, progress=say)
        )
