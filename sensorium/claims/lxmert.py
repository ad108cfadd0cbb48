"""LXMERT's headline claim at small scale: pre-training tasks of vision, and questions.

Paper (Tan and Bansal 2019, table 5, NLVR2 dev; recalled): no task of vision 50.9, regression of
features 72.9, labels of objects 73.5, both 74.9; table 4: as many epochs without question answering
72.4, with it 74.9.

**The experiment**, fixed before it was run. Pictures are scenes of `claims.toy`, with captions of
two of their objects. All arms are pre-trained for as many steps on matching and masked words;
beside these

- `none`: nothing.
- `feat`: features of masked objects.
- `labels`: class (shape) and attribute (colour) of objects.
- `both`: features and labels.
- `qa`: both, and half of the captions are questions (what colour, what shape, how many), answered.
- `scratch`: not pre-trained at all (no arm of the paper).

All are then fine-tuned on the same statements about two pictures, "both have a red circle", each
picture read with the statement in turn.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t),
accuracy on new pairs, in percentage points:

1. *Features help*: feat - none lies above 0.
2. *Labels help*: labels - none lies above 0.
3. *Both help*: both - none lies above 0.
4. *Both beat each alone*: both - the better of feat and labels lies above 0.
5. *Questions help*: qa - both lies above 0.

The noise of objects, the rates and the numbers of steps and of statements were chosen in short
trials on seed 100, which is not measured.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from sensorium.claims import toy
from sensorium.claims.lesson import Effort, teach
from sensorium.claims.visualbert import tuned
from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize
from sensorium.models.lxmert import CrossSize, ObjectSize, lxmert
from sensorium.objectives import masked_regions, masked_words, matching
from sensorium.objectives.answering import Answering
from sensorium.objectives.lxmert_objects import Named, SmoothFeature
from sensorium.objectives.masked_regions import MaskedRegions, RegionLoss
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import Case, OnePass, Part
from sensorium.recipes.answerers import small_start
from sensorium.types import Joint

ARMS = ("both", "qa", "feat", "labels", "none", "scratch")
QUESTIONS = 0.5  # the share of texts that are questions, where questions are learnt


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    width: int
    layers: tuple[int, int, int]  # of words, of objects, of both
    feature: int
    noise: float
    scenes: int  # to pre-train on
    pairs: int  # to fine-tune on
    test: int
    before: Effort
    tune: Effort


FULL = Design(
    seeds=(0, 1, 2),
    width=64,
    layers=(2, 1, 2),
    feature=64,
    noise=0.5,
    scenes=20_000,
    pairs=2000,
    test=1000,
    before=Effort(300, 32, 2e-3),
    tune=Effort(200, 32, 1e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


def net(design: Design) -> TwoStream:
    """The net of every arm; it starts from torch's global generator."""
    d, (words, objects, cross) = design.width, design.layers
    made = lxmert(
        BertSize(len(toy.WORDS), toy.LENGTH, 2, d, words, d // 16, 2 * d),
        design.feature,
        image=ObjectSize(objects, len(toy.SHAPES), len(toy.COLOURS)),
        cross=CrossSize(cross),
        heads=("mlm", "itm", "obj", "attr", "feat", "qa", "nlvr"),
        answers=toy.ANSWERS,
        drop=0.0,
    )
    small_start(made)
    return made


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: pre-trained where it is, fine-tuned, scored."""
    arm, seed = job["arm"], job["seed"]
    torch.manual_seed(seed)
    model = net(design)
    found = {} if arm == "scratch" else {"before": pretrain(model, arm, design, seed)}
    train, test = (
        toy.both_have(count, np.random.default_rng([seed, k]), design.feature, design.noise)
        for k, count in ((1, design.pairs), (2, design.test))
    )
    return found | tuned(model, train, test, design.tune, seed)


def parts(arm: str) -> list[Part]:
    """What an arm is asked on each pass."""
    asked: list[RegionLoss] = []
    if arm in ("labels", "both", "qa"):
        asked += [Named("obj"), Named("attr")]
    if arm in ("feat", "both", "qa"):
        asked += [SmoothFeature()]
    out: list[Part] = [
        Matching(matching.LXMERT),
        MaskedWords(toy.VOCABULARY, masked_words.LXMERT),
    ]
    out += [MaskedRegions(masked_regions.LXMERT, *asked)] if asked else []
    out += [Answering()] if arm == "qa" else []
    return out


def pretrain(model: TwoStream, arm: str, design: Design, seed: int) -> float:
    """All losses on one pass; returns the last loss."""
    rng = np.random.default_rng([seed, 0])
    of = toy.scenes(design.scenes, rng, design.feature, design.noise)
    told, score = toy.captions(of, rng, 2).text, torch.zeros(design.scenes, toy.ANSWERS)
    if arm == "qa":
        question, answer, _ = toy.questions(of, rng)
        which = torch.from_numpy(rng.random(design.scenes) < QUESTIONS)
        told = toy.either(told, question, which)
        score = F.one_hot(answer, toy.ANSWERS).float() * which[:, None]

    def batch(at: Int[Tensor, " b"]) -> Case:
        seen = Joint(toy.regions(of, at), toy.laid(told, at))
        return Case(seen, said=toy.detected(of, at), score=score[at])

    return teach(model, OnePass(*parts(arm)), batch, design.scenes, design.before, seed)
