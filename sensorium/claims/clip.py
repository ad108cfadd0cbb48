"""CLIP's efficiency claim at small scale: captioning, bag of words, contrast.

Paper (Radford et al. 2021, section 2.3, figure 2): on the way to equal zero-shot accuracy,
predicting the caption's bag of words needs 3 times fewer pictures than writing the caption with a
transformer, and contrasting picture and bag of words 4 times fewer again. Section 3.1.4: prompts
made as sentences beat bare class names, and an ensemble of prompts beats one.

**The experiment**, fixed before it was run. Pictures of 32 px hold one object: 2 textures x 4
colours x 4 shapes x 2 sides are 64 classes. Each picture is new and has one caption: a template
with synonyms, each attribute left out in a quarter of the captions, up to six words of chatter,
and a tenth of the captions of another scene (`claims.captions`). Sixteen classes, drawn by seed,
are never shown; the measure is the share of pictures of those that are given their right name
among the sixteen. Three arms share the image tower, the pictures, their order, the batch and the
optimiser; only what stands behind the tower differs (`claims.heads`). Each arm is measured along
one training at a constant rate, as the paper's figure does. The rate is the better of 0.001 and
0.004 in short trials on a seed that is not measured: 0.004 for every arm.

Zero-shot, an arm says: captioning, the likelihood of the prompt; bag of words, the sum of the
log-probabilities of the prompt's words; contrast, the cosine. All are asked with the one template.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t):

1. *Bag of words needs fewer pictures than captioning*: log2 of the ratio of examples needed for
   equal accuracy (`verdict.saving`, from twice chance upwards) lies above 0.
2. *Contrast needs fewer than bag of words*: the same.
3. *One template beats the bare name* and 4. *the ensemble beats one template*: for the contrastive
   arm at its end, the difference in accuracy lies above 0.
"""

from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.claims.captions import (
    CLASSES,
    TEMPLATES,
    Attributes,
    Vocabulary,
    caption,
    label,
    prompt,
)
from sensorium.claims.heads import LOG_SCALE_MAX, BagPredictor, Captioner, Contrast, Likely
from sensorium.claims.loop import Plan, decay_weights, fit
from sensorium.claims.scenes import SHAPES, TEXTURES, Objects, draw
from sensorium.data.ragged import lay
from sensorium.objectives.contrastive import Contrastive
from sensorium.types import Ids, ImageText, Objective

ARMS = ("captioning", "bag of words", "contrast")
COLOURS = ((0.85, 0.15, 0.15), (0.15, 0.75, 0.2), (0.2, 0.3, 0.9), (0.9, 0.8, 0.15))
DRAWN = (("plain", "stripes"), ("disc", "square", "triangle", "cross"))  # textures, shapes
NOISE = 0.06
HELD_OUT = 16
LONGEST = 32  # words of a caption, and more


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seen: tuple[int, ...]  # pictures seen when an arm is measured
    seeds: tuple[int, ...]
    batch: int
    warmup: int
    rate: dict[str, float]
    decay: float
    test: int  # pictures of each held-out class


FULL = Design(
    seen=(1024, 2048, 4096, 8192, 16384, 32768),
    seeds=(0, 1, 2, 3),
    batch=64,
    warmup=10,
    rate={"captioning": 4e-3, "bag of words": 4e-3, "contrast": 4e-3},
    decay=0.05,
    test=25,
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed; the longest first."""
    return [{"arm": arm, "seed": seed} for arm in ARMS for seed in design.seeds]


def pictures(of: list[Attributes], rng: np.random.Generator) -> Float[Tensor, "b 3 32 32"]:
    """One new picture of each scene."""
    n = len(of)
    texture, colour, shape, side = np.array(of).T
    known = [np.array([names.index(one) for one in DRAWN[i]]) for i, names in enumerate(TABLES)]
    objects = Objects(
        shape=known[1][shape][:, None],
        texture=known[0][texture][:, None],
        colour=np.clip(np.array(COLOURS)[colour] + rng.uniform(-0.15, 0.15, (n, 3)), 0, 1)[:, None],
        x=(np.array([9.5, 22.5])[side] + rng.uniform(-2.5, 2.5, n))[:, None],
        y=rng.uniform(8, 24, (n, 1)),
        radius=rng.uniform(5.5, 8, (n, 1)),
        angle=rng.uniform(0, 2 * np.pi, (n, 1)),
    )
    return torch.from_numpy(draw(objects, rng, NOISE))


TABLES = (TEXTURES, SHAPES)


def split(seed: int) -> tuple[list[Attributes], list[Attributes]]:
    """The classes that are shown, and the sixteen that are not."""
    order = np.random.default_rng([seed, 7]).permutation(len(CLASSES))
    return [CLASSES[i] for i in order[HELD_OUT:]], [CLASSES[i] for i in order[:HELD_OUT]]


def arm(name: str, vocabulary: Vocabulary) -> tuple[Captioner | BagPredictor | Contrast, Objective]:
    """An arm's net and its objective."""
    size = len(vocabulary)
    if name == "captioning":
        return Captioner(size, LONGEST, vocabulary.END), Likely()
    if name == "bag of words":
        return BagPredictor(size), Likely()
    return Contrast(size), Contrastive((0.0, LOG_SCALE_MAX))


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed, trained once and measured on the way."""
    shown, hidden = split(job["seed"])
    vocabulary, rng = Vocabulary(), Random(job["seed"])
    torch.manual_seed(job["seed"])
    net, objective = arm(job["arm"], vocabulary)
    test = pictures([one for one in hidden for _ in range(design.test)], numbers(job, 1))
    answer = torch.arange(len(hidden)).repeat_interleave(design.test)
    drawn = numbers(job, 0)

    def batch(step: int) -> ImageText:
        scenes = [rng.choice(shown) for _ in range(design.batch)]
        texts = [vocabulary.encode(caption(one, shown, rng)) for one in scenes]
        return ImageText(pictures(scenes, drawn), lay(texts))

    @torch.no_grad()
    def accuracy(templates: tuple[str, ...] | None) -> float:
        net.eval()
        prompts = [asked(one, templates, vocabulary) for one in hidden]
        with torch.autocast("cpu", torch.bfloat16):
            marks = torch.cat([net.marks(part, prompts) for part in test.split(200)])
        return float((marks.argmax(1) == answer).double().mean())

    curve: list[float] = []

    def after(step: int) -> None:
        if step * design.batch in design.seen:
            curve.append(accuracy(TEMPLATES[:1]))

    steps = design.seen[-1] // design.batch
    rules = decay_weights(design.rate[job["arm"]], design.decay)
    loss = fit(net, objective, batch, Plan(rules, steps, design.warmup, constant=True), after)
    found: dict[str, Any] = {"curve": curve, "loss": loss}
    found["parameters"] = sum(p.numel() for p in net.parameters())
    if job["arm"] == "contrast":
        found |= {"bare": accuracy(None), "one": curve[-1], "ensemble": accuracy(TEMPLATES)}
    return found


def numbers(job: dict[str, Any], use: int) -> np.random.Generator:
    """Random numbers of a seed, the same for every arm."""
    return np.random.default_rng([job["seed"], use])


def asked(of: Attributes, templates: tuple[str, ...] | None, vocabulary: Vocabulary) -> Ids:
    """The prompts of a class; None: its bare name."""
    texts = [label(of)] if templates is None else [prompt(of, one) for one in templates]
    return lay([vocabulary.encode(text) for text in texts])
