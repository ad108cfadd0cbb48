"""What every recipe that trains by contrast has in common: the views, the rules, the checkpoint."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import sensorium
from sensorium.data.loader import Source
from sensorium.data.order import Order
from sensorium.data.tokenizers import ClipBPE, TrainedBPE
from sensorium.media import canvas, transform
from sensorium.media.augment import Ranges
from sensorium.models.declaration import Declaration
from sensorium.models.inputs import PairInputs, Views
from sensorium.train.rules import AdamW
from sensorium.train.run import Ask, Finish, Package, Run
from sensorium.types import Captioned, Objective

PLAIN = r"log_scale|norm|bias|\.bn|cls|pos"  # never decayed: gains, biases, the temperature
LARGER = 4 / 3  # the source of an augmented view is this much larger than the view


class Material(NamedTuple):
    """What is trained on and scored on.

    `open` gives the samples and the order they are shown in; `first` is how often a picture's first
    text is shown, against any of its others.
    """

    open: Callable[[], tuple[Sequence[Captioned], Order]]
    finish: Finish
    about: dict[str, Any]
    licence: str
    first: float
    objective: Objective
    ranges: Ranges


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    slices: int
    lr: float
    precision: Literal["float32", "bf16"]
    seed: int


def contrast(
    model: Declaration, tokenizer: ClipBPE | TrainedBPE, material: Material, effort: Effort
) -> Run:
    """The run: AdamW as in the CLIP paper's section 2.5 for small models, weights averaged."""
    pixels = model.args["image"].pixels
    look = transform(canvas(pixels))
    views = Views(transform(canvas(int(pixels * LARGER))), pixels, material.ranges)
    inputs = PairInputs(look, tokenizer, views, material.first)

    @cache
    def source() -> Source:
        samples, order = material.open()
        return Source(samples, order, inputs, inputs.batch)

    def package() -> Package:
        spec, files = tokenizer.spec(), {}
        if isinstance(tokenizer, TrainedBPE):
            files = {str(spec["file"]): tokenizer.data()}
        manifest = {
            "model": model.spec(),
            "transform": look.spec,
            "tokenizer": spec,
            "data": material.about,
            "licence": material.licence,
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, files)

    learn = AdamW(effort.lr, betas=(0.9, 0.98))
    return Run(
        net=model.build,
        asks={"contrast": Ask(material.objective, source)},
        rules=((PLAIN, learn), (r".*", learn._replace(decay=0.1))),
        steps=effort.steps,
        batch=effort.batch,
        package=package,
        finish=material.finish,
        warmup=max(1, effort.steps // 20),
        clip=5.0,
        slices=effort.slices,
        ema=0.99,
        precision=effort.precision,
        seed=effort.seed,
        workers=1,
        save_every=200,
    )
