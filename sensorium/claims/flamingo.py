"""Flamingo's headline claim at small scale: more shots help where documents taught it.

Paper (Alayrac et al. 2022; recalled): Flamingo-80B on VQAv2 56.3 without shots, 63.1 with 4, 67.6
with 32; ablations at 3B, 4 shots, over all: 70.7; without tanh gates 66.5; without interleaved
pages (M3W) 53.4.

**The experiment**, fixed before it was run. Pictures are glyphs of `claims.glyphs`, 4 of 8 kinds a
document, each with one of 8 names, drawn anew for the document; captions say a kind's own word. A
language model of two layers learns such documents and captions as texts, a tower learns to tell the
kinds; both are frozen. Resampler and gated layers then learn to name glyphs. Arms, with as many
glyphs a step: `mixture` (documents of 9 glyphs with names, and captions), `pairs` (captions alone),
`documents` (documents alone), `open` (as mixture, without tanh gates). Measured on new documents:
accuracy among the document's four names behind 0, 1, 2, 4 and 8 shots that are drawn at random; and
the loss of texts without pictures before the first step.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t):

1. *More shots help*: the slope of mixture's accuracy on log2(1 + shots) lies above 0.
2. *Documents teach it*: the gain from 0 to 8 shots is larger in mixture than in pairs.
3. *Pairs help to learn it*: that gain is larger in mixture than in documents.
4. *Closed gates keep the language model at first*: the loss of texts before the first step is
   higher in open than in mixture.
5. *Gates help in the end*: at 8 shots mixture is more accurate than open.

The rates and the numbers of steps were chosen in short trials on seed 100, which is not measured.
An earlier design, in which the tower had 300 steps and told the kinds badly, learnt nothing from
glyphs and was given up on that seed. A first run, 500 steps on seeds 0 to 2, was set aside: one of
its seeds was still learning. What counts is seeds 3 to 6 with 1,000 steps, not looked at before.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.claims import glyphs
from sensorium.claims.lesson import Effort
from sensorium.claims.loop import Plan, decay_weights, fit
from sensorium.forms.decoder import Decoder
from sensorium.forms.gated import Gated, interleave
from sensorium.forms.prefix import PatchTower
from sensorium.models.gpt_neox import Size, gpt_neox
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.embed import PatchEmbed
from sensorium.nn.gate import Gate, LookAt
from sensorium.nn.grouped import Heads
from sensorium.nn.layer import Before, FeedForward
from sensorium.nn.resample import Resampler
from sensorium.objectives.classify import Classify
from sensorium.objectives.next_token import NextToken
from sensorium.train.rules import AdamW, Freeze, Rules
from sensorium.types import ImageLabel

ARMS = ("mixture", "pairs", "documents", "open")
SHOTS = (0, 1, 2, 4, 8)
LONG = 24  # items of the texts that the language model learns: most names can be looked up


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    width: int
    layers: int
    tower: int
    queries: int
    kinds: int
    noise: float
    test: int
    words: Effort  # of the language model, on texts
    sight: Effort  # of the tower, on glyphs and their kinds
    captions: int  # a step, beside documents
    meet: Effort  # of what is put in; documents a step


FULL = Design(
    seeds=(3, 4, 5, 6),
    width=64,
    layers=2,
    tower=48,
    queries=8,
    kinds=4,
    noise=0.2,
    test=1000,
    words=Effort(1200, 32, 3e-3),
    sight=Effort(1500, 64, 2e-3),
    captions=54,
    meet=Effort(1000, 16, 2e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: what is put in learns, then it is asked."""
    arm, seed = job["arm"], job["seed"]
    net = joined(design, seed, opened=arm == "open")
    found: dict[str, Any] = {"start": text_loss(net.decoder, design, seed)}
    items = SHOTS[-1] + 1
    glyphs_a_step = design.meet.batch * items + design.captions
    count, captions = {
        "pairs": (0, glyphs_a_step),
        "documents": (glyphs_a_step // items, 0),
    }.get(arm, (design.meet.batch, design.captions))

    def lesson(step: int) -> Any:
        rng = np.random.default_rng([seed, 2, step])
        kinds = rng.integers(glyphs.KINDS, size=captions)
        of = glyphs.documents(count, items, design.kinds, rng)
        return glyphs.shown(of, rng, design.noise, kinds)

    found["loss"] = taught(net, NextToken(), lesson, design.meet, NEW)
    found["end"] = text_loss(net.decoder, design, seed)
    for shots in SHOTS:
        found[f"at{shots}"] = accuracy(net, shots, design, seed)
    return found


# --- nets ----------------------------------------------------------------------------------------

NEW: Rules = (
    (r"\.(look|think)\..*(norm|gate)|^resampler\..*(norm|bias|queries)", AdamW(1.0)),
    (r"\.(look|think)\.|^resampler\.", AdamW(1.0, decay=0.01)),
    (r".*", Freeze()),
)


def language(design: Design) -> Decoder:
    """A GPT-NeoX of few layers; from torch's global generator.

    Its rotation is fast and its first weights are large, so that it soon looks at the word before.
    """
    d, heads = design.width, max(1, design.width // 32)
    size = Size(d, design.layers, heads, 2 * d, d // heads)
    net = gpt_neox(size, glyphs.VOCAB, 3 * LONG + 1, theta=30.0)
    for name, p in net.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.5 if name.startswith("embed") else p.shape[1] ** -0.5)
    return net


class Told(nn.Module):
    """A tower that tells kinds: the mean of its patches' states, mapped."""

    def __init__(self, tower: PatchTower, width: int):
        super().__init__()
        self.tower, self.head = tower, nn.Linear(width, glyphs.KINDS)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.tower(image).mean(1))


@lru_cache(maxsize=1)
def frozen(design: Design, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The language model's weights and the tower's, taught: the same for every arm of a seed."""
    torch.manual_seed(seed)
    lm = language(design)

    def texts(step: int) -> Any:
        rng = np.random.default_rng([seed, 0, step])
        of = glyphs.documents(design.words.batch, LONG, design.kinds, rng)
        return glyphs.told(of, rng.integers(glyphs.KINDS, size=design.words.batch))

    # At its peak rate to the end: looking a name up comes late, and all at once.
    taught(lm, NextToken(), texts, design.words, decay_weights(1.0, 0.01), constant=True)
    told = Told(tower(design), design.tower)

    def kinds(step: int) -> ImageLabel:
        rng = np.random.default_rng([seed, 1, step])
        kind = rng.integers(glyphs.KINDS, size=design.sight.batch)
        return ImageLabel(glyphs.drawn(kind, rng, design.noise), torch.from_numpy(kind))

    taught(told, Classify(), kinds, design.sight, decay_weights(1.0, 0.01))
    return lm.state_dict(), told.tower.state_dict()


def tower(design: Design) -> PatchTower:
    """A vision transformer of two layers that cuts a glyph into 36 patches."""
    d = design.tower
    layers = [pre_layer(d, d // 16, nn.GELU(), 1e-5) for _ in range(2)]
    return PatchTower(PatchEmbed(glyphs.PIXELS, 4, d, True), Stack(layers))


def joined(design: Design, seed: int, opened: bool) -> Gated:
    """Language model and tower, frozen, with new layers in front of every layer."""
    words, sight = frozen(design, seed)
    torch.manual_seed(seed + 1000)
    lm, see = language(design), tower(design)
    lm.load_state_dict(words)
    see.load_state_dict(sight)
    d, kind = design.width, Before if opened else Gate

    def branches() -> dict[str, nn.Module]:
        look = LookAt(d, Heads(4, 4, 16), design.tower)
        think = FeedForward(d, 4 * d, nn.GELU(), bias=False)
        return {"look": kind(look, layer_norm(d, 1e-5)), "think": kind(think, layer_norm(d, 1e-5))}

    acts: list[nn.Module] = [nn.GELU(), nn.GELU()]
    resampler = Resampler(design.tower, design.queries, Heads(3, 3, 16), acts)
    return Gated(see, resampler, interleave(lm, (0, 1), branches), glyphs.MARK, glyphs.PIXELS)


def taught(
    net: nn.Module,
    objective: Any,
    batch: Any,
    effort: Effort,
    rules: Rules,
    constant: bool = False,
) -> float:
    """Trains in place; the last loss. Rates in the rules are shares of the effort's."""
    scaled = tuple(
        (name, one._replace(lr=one.lr * effort.rate) if isinstance(one, AdamW) else one)
        for name, one in rules
    )
    plan = Plan(scaled, effort.steps, max(1, effort.steps // 15), constant=constant)
    return fit(net, objective, batch, plan, lambda step: None)


# --- what is measured ----------------------------------------------------------------------------


@torch.no_grad()
def text_loss(lm: Decoder, design: Design, seed: int) -> float:
    """The mean loss of names in texts without pictures."""
    rng = np.random.default_rng([seed, 3])
    of = glyphs.documents(min(design.test, 250), SHOTS[-1] + 1, design.kinds, rng)
    lesson, objective = glyphs.told(of), NextToken()
    sums = objective.mark(objective.encode(lm.eval(), lesson), lesson)
    return float(sums["next"]) / objective.count(lesson)["next"]


@torch.no_grad()
def accuracy(net: Gated, shots: int, design: Design, seed: int, piece: int = 100) -> float:
    """How often the likeliest of a document's names is right, behind so many shots."""
    rng, right = np.random.default_rng([seed, 4, shots]), 0
    net.eval()
    for start in range(0, design.test, piece):
        count = min(piece, design.test - start)
        of = glyphs.documents(count, shots + 1, design.kinds, rng)
        lesson, known, answer = glyphs.asked(of, rng, design.noise)
        states = net.behind(lesson.source, lesson.text)  # type: ignore[arg-type]
        logits = net.scores(states[lesson.text.lengths.cumsum(0) - 1])
        right += int((logits.gather(1, known).argmax(1) == answer).sum())
    return right / design.test
