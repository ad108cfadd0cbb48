"""UNITER's headline claim at small scale: conditional masking and word-region alignment.

Paper (Chen et al. 2020, table 2, the sum over tasks "Meta-Sum"; recalled): MLM + ITM 393.04; with
region classes and features 399.97; with word-region alignment too (WRA) 400.93; the same with words
and regions masked at once 396.51.

**The experiment**, fixed before it was run. Pictures are scenes of `claims.toy`, with captions of
two of their objects. Every arm is pre-trained for as many steps, one task a step as UNITER draws
them, from the same scenes:

- `full`: MLM, ITM with WRA, MRFR, MRC-kl; either words or regions are masked, never both.
- `joint`: the same tasks, but a step of MLM masks regions too, and a step of MRFR or MRC-kl masks
  words too (only the step's own task is marked).
- `no-wra`: without WRA.
- `words`: MLM and ITM alone.

Then two things are measured. *Alignment*, of the frozen net: of each colour and shape word of new
captions, whether the region to which the transport plan moves most of the word's mass is the
object that is meant. *Retrieval*, after fine-tuning a ranking head: how often, for a caption, the
first of `pool` pictures is one of which the caption is true (R@1).

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t), in
percentage points:

1. *Conditional masking aligns better*: alignment of full - joint lies above 0.
2. *Conditional masking retrieves better*: R@1 of full - joint lies above 0.
3. *WRA aligns better*: alignment of full - no-wra lies above 0.
4. *Region tasks retrieve better*: R@1 of full - words lies above 0.

The noise of regions, the rates and the numbers of steps were chosen in short trials on seed 100,
which is not measured.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.claims import toy
from sensorium.claims.lesson import Effort, Turns, asked, teach
from sensorium.forms.single_stream import SingleStream
from sensorium.models.bert import BertSize
from sensorium.models.start import rank_by_match
from sensorium.models.uniter import MATCH, uniter
from sensorium.objectives import masked_regions, masked_words, matching, transport
from sensorium.objectives.answering import Asking, choice
from sensorium.objectives.masked_regions import Classes, Feature, MaskedRegions, hide_regions
from sensorium.objectives.masked_words import MaskedWords, hide_words
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import Case, OnePass, Part
from sensorium.recipes.answerers import small_start
from sensorium.recipes.uniter import SHARES
from sensorium.types import Choices, Fused, Fuses, Joint, Objective, Regions

ARMS = ("full", "joint", "no-wra", "words")
MENTIONS = 2  # objects of a caption


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    width: int
    layers: int
    feature: int
    noise: float
    scenes: int  # to pre-train on
    tuned: int  # scenes to fine-tune on
    candidates: int  # pictures a caption is ranked with in fine-tuning
    pool: int  # pictures that are ranked for a caption
    captions: int  # whose picture is looked for
    probed: int  # captions that are aligned
    before: Effort
    tune: Effort


FULL = Design(
    seeds=(0, 1, 2),
    width=64,
    layers=3,
    feature=32,
    noise=0.3,
    scenes=20_000,
    tuned=2000,
    candidates=4,
    pool=25,
    captions=200,
    probed=2000,
    before=Effort(500, 48, 2e-3),
    tune=Effort(100, 16, 1e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


def net(design: Design) -> SingleStream:
    """The net of every arm; it starts from torch's global generator."""
    d = design.width
    size = BertSize(len(toy.WORDS), toy.LENGTH, 2, d, design.layers, d // 16, 2 * d)
    heads = ("mlm", "itm", "mrfr", "mrc", "rank")
    made = uniter(size, design.feature, heads, classes=len(toy.SHAPES) + 1, drop=0.0)
    small_start(made)
    return made


# --- pre-training --------------------------------------------------------------------------------


class AlsoWords:
    """A part that hides words and asks nothing of them, so that both kinds are hidden at once."""

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, None]:
        text, _ = hide_words(case.of.text, toy.VOCABULARY, masked_words.UNITER, g)
        return case._replace(of=case.of._replace(text=text)), None

    def count(self, asked: None) -> dict[str, int]:
        return {}

    def read(self, net: Fuses, said: Fused, asked: None) -> tuple[()]:
        return ()

    def mark(self, answer: tuple[()], asked: None) -> dict[str, Tensor]:
        return {}


class AlsoRegions(AlsoWords):
    """The same of regions."""

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, None]:
        assert isinstance(case.of.image, Regions)
        image, _ = hide_regions(case.of.image, masked_regions.UNITER, g)
        return case._replace(of=case.of._replace(image=image)), None


def tasks(arm: str) -> Mapping[str, tuple[Objective, float]]:
    """What an arm is asked, and how often (UNITER's shares)."""
    wra = () if arm in ("no-wra", "words") else (transport.UNITER,)
    words, regions = ((AlsoWords(),), (AlsoRegions(),)) if arm == "joint" else ((), ())

    def hidden(loss: masked_regions.RegionLoss) -> tuple[Part, ...]:
        return (MaskedRegions(masked_regions.UNITER, loss), *words)

    parts: dict[str, tuple[Part, ...]] = {
        "itm": (Matching(matching.UNITER), *wra),
        "mlm": (MaskedWords(toy.VOCABULARY, masked_words.UNITER), *regions),
    }
    if arm != "words":
        parts |= {"mrfr": hidden(Feature()), "mrckl": hidden(Classes("classes"))}
    return {name: (OnePass(*asks), SHARES[name]) for name, asks in parts.items()}


def pretrain(model: SingleStream, arm: str, design: Design, seed: int) -> float:
    """One task a step; returns the last loss."""
    rng = np.random.default_rng([seed, 0])
    of = toy.scenes(design.scenes, rng, design.feature, design.noise)
    told = toy.captions(of, rng, MENTIONS)

    def batch(at: Int[Tensor, " b"]) -> Case:
        return Case(Joint(toy.regions(of, at), toy.laid(told.text, at)), said=toy.detected(of, at))

    return teach(model, Turns(tasks(arm)), batch, design.scenes, design.before, seed)


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: pre-trained, probed, fine-tuned, scored."""
    arm, seed = job["arm"], job["seed"]
    torch.manual_seed(seed)
    model = net(design)
    found: dict[str, Any] = {"before": pretrain(model, arm, design, seed)}
    return found | aligned(model, design, seed) | retrieved(model, design, seed)


# --- alignment -----------------------------------------------------------------------------------


@torch.no_grad()
def aligned(model: SingleStream, design: Design, seed: int) -> dict[str, float]:
    """The share of words that are aligned with their object, by the transport plan, and by the
    largest cosine; `chance` is that of picking any region."""
    model.eval()
    rng = np.random.default_rng([seed, 1])
    of = toy.scenes(design.probed, rng, design.feature, design.noise)
    told = toy.captions(of, rng, MENTIONS)
    every = torch.arange(design.probed)
    said = model.fuse(Joint(toy.regions(of, every), toy.laid(told.text, every)))
    x, x_real = transport.spread(said.text, transport.ALL)
    y, y_real = transport.spread(said.image, transport.ALL)
    cost = transport.costs(x, y)
    both = x_real[:, :, None] & y_real[:, None, :]
    moved = transport.plan(cost.masked_fill(~both, 0), x_real, y_real)
    near = (1 - cost).masked_fill(~both, -2.0)
    return {
        "alignment": hits(moved, told),
        "cosine": hits(near, told),
        "chance": float((1 / of.count).mean()),
    }


def hits(score: Float[Tensor, "b n m"], told: toy.Captions) -> float:
    """How often a word's largest score is that of the object it is said of."""
    place = torch.cat([told.place, told.place + 1], 1)
    best = score.argmax(2).gather(1, place)
    return float((best == told.object.repeat(1, 2)).double().mean())


# --- retrieval -----------------------------------------------------------------------------------


def retrieved(model: SingleStream, design: Design, seed: int) -> dict[str, float]:
    """A ranking head fine-tuned to pick the right one of a few pictures; R@1 among `pool`."""
    rank, match = model.heads["rank"].get_submodule("head"), model.heads["itm"]
    assert isinstance(rank, nn.Linear) and isinstance(match, nn.Linear)
    rank_by_match(rank, match, MATCH)
    rng = np.random.default_rng([seed, 2])
    of = toy.scenes(design.tuned, rng, design.feature, design.noise)
    told = toy.captions(of, rng, MENTIONS)
    k = design.candidates

    def batch(at: Int[Tensor, " b"]) -> Choices:
        other = torch.arange(k)[None] * (design.tuned // k) + at[:, None]
        seen = (other % design.tuned).flatten()
        joint = Joint(toy.regions(of, seen), toy.laid(told.text, at.repeat_interleave(k)))
        return Choices(joint, torch.zeros(len(at), dtype=torch.long))

    loss = teach(model, Asking("rank", choice), batch, design.tuned, design.tune, seed)
    new = toy.scenes(design.captions, rng, design.feature, design.noise)
    said = toy.captions(new, rng, MENTIONS)

    def pairs(at: Int[Tensor, " b"]) -> Joint:
        text, place = at // design.pool, at % design.pool
        seen = (text + place) % design.captions  # place 0 is the caption's own picture
        return Joint(toy.regions(new, seen), toy.laid(said.text, text))

    score = asked(model, "rank", pairs, design.captions * design.pool, piece=1000)
    first = score.view(design.captions, design.pool).argmax(1)
    best = (torch.arange(design.captions) + first) % design.captions
    return {"loss": loss, "recall": float(true_of(said, new, best).double().mean())}


def true_of(said: toy.Captions, of: toy.Scenes, at: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whether each caption is true of the scene at its place."""
    ids = said.text.ids
    colour, shape = ids.gather(1, said.place), ids.gather(1, said.place + 1)
    kind = (colour - toy.COLOUR) * len(toy.SHAPES) + shape - toy.SHAPE
    seen = of.colour[at] * len(toy.SHAPES) + of.shape[at]
    return (kind[:, :, None] == seen[:, None]).any(2).all(1)
