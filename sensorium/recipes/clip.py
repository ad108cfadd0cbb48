"""CLIP: a contrast of pictures and texts, on the packaged emoji or on your own pictures."""

from collections.abc import Sequence
from typing import Literal

from sensorium.data.order import OnePerGroup, Order, Shuffled
from sensorium.data.ragged import lay
from sensorium.data.tokenizers import ClipBPE
from sensorium.datasets.emoji import HELD_OUT_VENDOR, VENDORS, emoji, names
from sensorium.datasets.folder import folder
from sensorium.datasets.parts import part
from sensorium.media.augment import Ranges
from sensorium.models.clip import LOG_SCALE_MAX, SMALL, SMALL_VIT
from sensorium.objectives.contrastive import Contrastive
from sensorium.objectives.naming import Naming
from sensorium.recipes.contrast import Effort, Material, contrast
from sensorium.recipes.finish import EmojiScores, PictureScores
from sensorium.train.run import Run
from sensorium.types import Captioned, Ids

DRAWN = Ranges(  # a drawing fills its canvas: turned, stretched and recoloured a little, never cut
    area=(1.0, 1.0),
    aspect=(0.9, 1.11),
    degrees=10.0,
    scale=(0.87, 1.15),
    shift=0.07,
    brightness=0.1,
    contrast=0.1,
    saturation=0.2,
    hue=0.03,
    grey=0.0,
    noise=0.0,
    cutout_chance=0.0,
)
CROPPED = Ranges(  # CLIP's one augmentation: captions that tell colours and sides stay true
    area=(0.9, 1.0),
    aspect=(1.0, 1.0),
    degrees=0.0,
    scale=(1.0, 1.0),
    shift=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grey=0.0,
    noise=0.0,
    cutout_chance=0.0,
)
DESIGNS = ({"fluent", "fluent3d"},)  # renderings of one design are held out together


def clip(
    data: str | None = None,
    held_out: str = HELD_OUT_VENDOR,
    steps: int = 1000,
    batch: int = 192,
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
    effort = Effort(steps, batch, slices, lr, precision, seed)
    length = SMALL.args["text"].length
    if data is not None:
        return contrast(SMALL, ClipBPE(length, truncate=True), own(data, effort), effort)
    tokenizer = ClipBPE(length)
    return contrast(SMALL, tokenizer, drawings(held_out, tokenizer, effort), effort)


def tower(
    data: str,
    steps: int = 400,
    batch: int = 128,
    lr: float = 1e-3,
    precision: Literal["float32", "bf16"] = "bf16",
    seed: int = 0,
) -> Run:
    """Train a small CLIP with a vision transformer, whose patches LLaVA and Flamingo can read.

    Args:
        data: a folder of pictures with captions.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        precision: of the matrix products; weights are kept in float32.
        seed: of everything random.
    """
    effort = Effort(steps, batch, 1, lr, precision, seed)
    tokenizer = ClipBPE(SMALL_VIT.args["text"].length, truncate=True)
    return contrast(SMALL_VIT, tokenizer, own(data, effort), effort)


def drawings(held_out: str, tokenizer: ClipBPE, effort: Effort) -> Material:
    """The emoji of every vendor but the one held out; each emoji at most once a batch.

    A drawing is set against the names of all emoji, not only of those in its batch: on the held-out
    vendor that is worth some five points of R@1 at the same number of steps.
    """
    if held_out not in VENDORS:
        raise ValueError(f"no vendor is called {held_out!r}; there are: {', '.join(VENDORS)}")
    out = next((d for d in DESIGNS if held_out in d), {held_out})

    def all_names() -> Ids:
        return lay([tokenizer.encode(name) for name in names(part="train").values()])

    def samples() -> tuple[Sequence[Captioned], Order]:
        found = emoji([v for v in VENDORS if v not in out], part="train", keywords=False)
        keys = [found.key(i) for i in range(len(found))]
        return found, OnePerGroup(keys, effort.seed, effort.batch)

    return Material(
        open=samples,
        finish=EmojiScores(held_out),
        about={"emoji": "packaged, part train", "held out": held_out},
        licence="CC-BY-SA-4.0",
        first=1.0,
        objective=Naming((0.0, LOG_SCALE_MAX), all_names),
        ranges=DRAWN,
    )


def own(data: str, effort: Effort) -> Material:
    """The user's pictures, less the tenth that is kept for the scores."""

    def samples() -> tuple[Sequence[Captioned], Order]:
        found = part(folder(data), "train")
        if len(found) < effort.batch:
            raise ValueError(
                f"{data}: {len(found)} pictures to train on (a tenth is kept for the scores) do "
                f"not fill a batch of {effort.batch}: lower --batch or add pictures"
            )
        return found, Shuffled(len(found), effort.seed)

    return Material(
        open=samples,
        finish=PictureScores(data),
        about={"folder": data},
        licence="of the pictures it was trained on",
        first=0.0,
        objective=Contrastive((0.0, LOG_SCALE_MAX), repeats="mask"),
        ranges=CROPPED,
    )
