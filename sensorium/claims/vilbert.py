"""ViLBERT's headline claim at small scale: two streams, pre-training, and how much of it.

Paper (Lu et al. 2019, tables 1 and 2, VQA test-dev; recalled): two streams 70.55, without
pre-training on pictures and captions 68.93; one stream 68.85, without 65.90; pre-trained on 0, 25,
50 and 100% of the pairs 68.93, 69.82, 70.30, 70.55.

**The experiment**, fixed before it was run. Pictures are scenes of `claims.toy`, with captions of
two of their objects. Two nets of equally many parameters (to 2%), ViLBERT's two streams and one
stream with the same inputs and heads, are pre-trained alike (matching, masked words, classes of
masked regions on one pass) for as many steps whatever the share of the pairs, then fine-tuned to
choose which of four captions is true of a picture; the other three have one word changed. Arms:
`two-0`, `two-25`, `two-50`, `two-100` (the share of the pairs; 0 is not pre-trained), `one-0` and
`one-100`.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t),
accuracy on new pictures, in percentage points:

1. *Pre-training helps two streams*: two-100 - two-0 lies above 0.
2. *Pre-training helps one stream*: one-100 - one-0 lies above 0.
3. *More pairs help*: the slope on log2 of the pairs, over 25, 50 and 100%, lies above 0.
4. *Two streams beat one*: two-100 - one-100 lies above 0.

The noise of regions, the rates and the numbers of steps were chosen in short trials on seed 100,
which is not measured.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from sensorium.claims import toy
from sensorium.claims.lesson import Effort, asked, teach
from sensorium.forms.single_stream import SingleStream
from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize
from sensorium.models.uniter import uniter
from sensorium.models.vilbert import Answers, MeetSize, RegionSize, vilbert
from sensorium.objectives import masked_regions, masked_words, matching
from sensorium.objectives.answering import Asking, choice
from sensorium.objectives.masked_regions import Classes, MaskedRegions
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import Case, OnePass
from sensorium.recipes.answerers import small_start
from sensorium.types import Choices, Joint

ARMS = ("two-100", "two-50", "two-25", "two-0", "one-100", "one-0")
CANDIDATES, MENTIONS = 4, 2


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    width: int
    single: tuple[int, int, int]  # of one stream: width, layers, hidden
    feature: int
    noise: float
    scenes: int  # all pairs to pre-train on
    tuned: int  # pictures to fine-tune on
    test: int
    before: Effort
    tune: Effort


FULL = Design(
    seeds=(0, 1, 2),
    width=64,
    single=(64, 4, 330),
    feature=32,
    noise=0.3,
    scenes=2000,
    tuned=1000,
    test=1000,
    before=Effort(400, 48, 2e-3),
    tune=Effort(63, 16, 1e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


def net(streams: str, design: Design) -> TwoStream | SingleStream:
    """Two streams of two layers and two of co-attention, or one; from torch's global generator."""
    classes = len(toy.SHAPES) + 1
    if streams == "two":
        d = design.width
        made = vilbert(
            BertSize(len(toy.WORDS), toy.LENGTH, 2, d, 2, d // 16, 2 * d),
            design.feature,
            image=RegionSize(d, 1, d // 16, 2 * d),
            meet=MeetSize(d, d // 16, (1, 2), (0, 1)),
            heads=("mlm", "itm", "mrc", "rank"),
            answers=Answers(1, 1, classes),
            drop=0.0,
        )
    else:
        d, layers, hidden = design.single
        size = BertSize(len(toy.WORDS), toy.LENGTH, 2, d, layers, d // 16, hidden)
        heads = ("mlm", "itm", "mrc", "rank")
        made = uniter(size, design.feature, heads, classes=classes, drop=0.0)
    small_start(made)
    return made


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: pre-trained where it is, fine-tuned, scored."""
    streams, share = job["arm"].split("-")
    torch.manual_seed(job["seed"])
    model = net(streams, design)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    if int(share):
        found["before"] = pretrain(model, int(share) * design.scenes // 100, design, job["seed"])
    return found | tune(model, design, job["seed"])


def pretrain(model: TwoStream | SingleStream, pairs: int, design: Design, seed: int) -> float:
    """All losses on one pass, over the first so many pairs; returns the last loss."""
    rng = np.random.default_rng([seed, 0])
    of = toy.scenes(design.scenes, rng, design.feature, design.noise)
    told = toy.captions(of, rng, MENTIONS)

    def batch(at: Int[Tensor, " b"]) -> Case:
        return Case(Joint(toy.regions(of, at), toy.laid(told.text, at)), said=toy.detected(of, at))

    objective = OnePass(
        Matching(matching.VILBERT),
        MaskedWords(toy.VOCABULARY, masked_words.VILBERT),
        MaskedRegions(masked_regions.VILBERT, Classes("regions")),
    )
    return teach(model, objective, batch, pairs, design.before, seed)


def tune(model: TwoStream | SingleStream, design: Design, seed: int) -> dict[str, Any]:
    """Four captions a picture: last loss, accuracy on new pictures and on those it was taught."""
    train, test = (
        candidates(count, np.random.default_rng([seed, 1 + k]), design)
        for k, count in enumerate((design.tuned, design.test))
    )

    def joint(of: tuple[toy.Scenes, toy.Texts], at: Int[Tensor, " b"]) -> Joint:
        return Joint(toy.regions(of[0], at // CANDIDATES), toy.laid(of[1], at))

    def batch(at: Int[Tensor, " b"]) -> Choices:
        every = (at[:, None] * CANDIDATES + torch.arange(CANDIDATES)).flatten()
        return Choices(joint(train, every), torch.zeros(len(at), dtype=torch.long))

    def right(of: tuple[toy.Scenes, toy.Texts], count: int) -> float:
        said = asked(model, "rank", lambda at: joint(of, at), count * CANDIDATES, piece=1000)
        return float((said.view(count, CANDIDATES).argmax(1) == 0).double().mean())

    loss = teach(model, Asking("rank", choice), batch, design.tuned, design.tune, seed)
    return {"loss": loss, "accuracy": right(test, design.test), "known": right(train, design.tuned)}


def candidates(
    count: int, rng: np.random.Generator, design: Design
) -> tuple[toy.Scenes, toy.Texts]:
    """Scenes, and four captions of each one after another, of which the first is true. (The net
    sees each by itself and cannot know which is the first.)"""
    of = toy.scenes(count, rng, design.feature, design.noise)
    told = toy.captions(of, rng, MENTIONS)
    wrong = [toy.distorted(of, told, rng) for _ in range(CANDIDATES - 1)]
    fields = zip(told.text, *wrong, strict=True)
    return of, toy.Texts(*(torch.stack(field, 1).flatten(0, 1) for field in fields))
