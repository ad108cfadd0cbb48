"""CLIP: a contrastive model of pictures and texts, on the packaged emoji or on your own pictures."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import sensorium
from sensorium.data.loader import Source
from sensorium.data.order import OnePerGroup, Order, Shuffled
from sensorium.data.tokenizers import ClipBPE
from sensorium.datasets.emoji import HELD_OUT_VENDOR, VENDORS, emoji
from sensorium.datasets.folder import folder
from sensorium.datasets.parts import part
from sensorium.media import canvas, transform
from sensorium.media.augment import Ranges
from sensorium.models import clip as models
from sensorium.models.inputs import PairInputs, Views, pairs
from sensorium.objectives.contrastive import Contrastive
from sensorium.recipes.finish import EmojiScores, PictureScores
from sensorium.train.rules import AdamW
from sensorium.train.run import Ask, Package, Run

DESIGNS = ({"fluent", "fluent3d"},)  # renderings of one design are held out together


def clip(
    data: str | None = None,
    held_out: str = HELD_OUT_VENDOR,
    steps: int = 600,
    batch: int = 256,
    slices: int = 1,
    lr: float = 2e-3,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """Train a small CLIP on the packaged emoji, or on your own captioned pictures.

    Args:
        data: a folder of pictures with captions, in place of the packaged emoji.
        held_out: the emoji vendor whose drawings are never trained on; the scores are on them.
        steps: optimiser steps.
        batch: pictures a step.
        slices: pieces a batch is cut into to save memory; the result is the same.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    tokenizer = ClipBPE(length=models.SMALL.args["text"].length, truncate=data is not None)
    look = transform(canvas(models.SMALL.args["image"].pixels))
    views = Views(transform(canvas(64)), look.spec["size"], RANGES)
    inputs = PairInputs(look, tokenizer, views, first=0.7)

    @cache
    def source() -> Source:
        samples, order = own(data, batch, seed) if data else drawings(held_out, batch, seed)
        return Source(samples, order, inputs, pairs)

    def package() -> Package:
        about = {"folder": data} if data else {"emoji": "packaged", "held out": held_out}
        manifest = {
            "model": models.SMALL.spec(),
            "transform": look.spec,
            "tokenizer": tokenizer.spec(),
            "data": about,
            "licence": "of the pictures it was trained on" if data else "CC-BY-SA-4.0",
            "library": f"sensorium {sensorium.__version__}",
        }
        return Package(manifest, {})

    contrast = Contrastive((0.0, models.LOG_SCALE_MAX), "mask" if data else "against")
    return Run(
        net=models.SMALL.build,
        asks={"contrast": Ask(contrast, source)},
        rules=(
            (r"log_scale|norm|bias|\.bn|cls|pos", AdamW(lr, decay=0.0, betas=(0.9, 0.98))),
            (r".*", AdamW(lr, decay=0.1, betas=(0.9, 0.98))),
        ),
        steps=steps,
        batch=batch,
        package=package,
        finish=PictureScores(data) if data else EmojiScores(held_out),
        warmup=max(1, steps // 20),
        clip=5.0,
        slices=slices,
        ema=0.99,
        precision=precision,
        seed=seed,
        workers=1,
        save_every=200,
    )


RANGES = Ranges()


def drawings(held_out: str, batch: int, seed: int) -> tuple[Sequence[Any], Order]:
    """The emoji of every vendor but the one held out; each emoji at most once a batch."""
    out = next((d for d in DESIGNS if held_out in d), {held_out})
    samples = emoji([v for v in VENDORS if v not in out], part="train")
    keys = [samples.key(i) for i in range(len(samples))]
    return samples, OnePerGroup(keys, seed, batch)


def own(data: str, batch: int, seed: int) -> tuple[Sequence[Any], Order]:
    """The user's pictures, less the tenth that is kept for the scores."""
    samples = part(folder(data), "train")
    if len(samples) < batch:
        raise ValueError(
            f"{data}: {len(samples)} pictures to train on (a tenth is kept for the scores) do not "
            f"fill a batch of {batch}: lower --batch or add pictures"
        )
    return samples, Shuffled(len(samples), seed)
