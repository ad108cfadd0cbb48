"""VisualBERT's headline claim at small scale: what pre-training and early fusion are worth.

Paper (Li et al. 2019, table 5, NLVR2 dev; recalled): full 66.7; without pre-training on COCO
62.9; pre-trained on the captions without the pictures 63.9; regions entering at the last layer
alone 61.4.

**The experiment**, fixed before it was run. Pictures are scenes of `claims.toy`. The task: whether
exactly one of two pictures has, say, a red circle; both pictures stand in one sequence, as in the
paper's NLVR2. All arms are fine-tuned alike on the same pairs. Pre-training is the paper's: of two
captions, is the second of this picture too, and which words are hidden in both? The arms:

- `paired`: pre-trained on captions with their pictures.
- `text`: the same steps on the same captions, no region shown.
- `none`: not pre-trained.
- `late`: pre-trained like `paired`; words pass all layers but the last alone, regions none of them,
  and the last layer reads both.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t),
accuracy on new pairs, in percentage points:

1. *Pre-training helps*: paired - none lies above 0.
2. *It is the pictures that help*: paired - text lies above 0.
3. *Captions alone help*: text - none lies above 0.
4. *Early fusion helps*: paired - late lies above 0.

The noise of regions, the rates, and the numbers of steps and of pairs were chosen in short trials
on seed 100, which is not measured, so that the task is learnt and not at its ceiling.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from sensorium.claims import toy
from sensorium.claims.lesson import Effort, asked, teach
from sensorium.claims.vit import accuracy
from sensorium.forms.single_stream import SingleStream
from sensorium.forms.two_stream import TwoStream
from sensorium.models.bert import BertSize
from sensorium.models.visualbert import visualbert
from sensorium.nn.block import Block, Stack, layer_norm
from sensorium.objectives import masked_words, matching
from sensorium.objectives.answering import Asking, one_of
from sensorium.objectives.masked_words import MaskedWords
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass
from sensorium.recipes.answerers import small_start
from sensorium.types import Answered, Ids, Joint, JointPair, Regions, Tokens

ARMS = ("paired", "text", "none", "late")


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    seeds: tuple[int, ...]
    width: int
    layers: int
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
    layers=3,
    feature=32,
    noise=0.3,
    scenes=20_000,
    pairs=4000,
    test=1000,
    before=Effort(600, 48, 2e-3),
    tune=Effort(300, 32, 1e-3),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm and seed."""
    return [{"arm": arm, "seed": seed} for seed in design.seeds for arm in ARMS]


class Alone(nn.Module):
    """A part of a net, and what follows it before the other kind of token is met."""

    def __init__(self, part: nn.Module, norm: nn.Module, stack: nn.Module):
        super().__init__()
        self.part, self.norm, self.stack = part, norm, stack

    def forward(self, batch: Ids | Regions) -> Tokens:
        tokens = self.part(batch)
        return self.stack(tokens._replace(x=self.norm(tokens.x)))


def net(arm: str, design: Design) -> SingleStream:
    """The net of an arm; it starts from torch's global generator."""
    d = design.width
    size = BertSize(len(toy.WORDS), toy.LENGTH, 2, d, design.layers, d // 16, 2 * d)
    made = visualbert(size, design.feature, ("mlm", "itm", "nlvr"), drop=0.0)
    small_start(made)
    if arm != "late":
        return made
    blocks = [block for block in made.stack.blocks if isinstance(block, Block)]
    return SingleStream(
        text=Alone(made.text, layer_norm(d, 1e-12), Stack(blocks[:-1])),
        image=Alone(made.image, layer_norm(d, 1e-12), nn.Identity()),
        stack=Stack(blocks[-1:]),
        pool=made.pool,
        heads=dict(made.heads.items()),
    )


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm and seed: pre-trained where it is, fine-tuned, scored."""
    arm, seed = job["arm"], job["seed"]
    torch.manual_seed(seed)
    model = net(arm, design)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    if arm != "none":
        found["before"] = pretrain(model, arm, design, seed)
    train, test = (
        toy.exactly_one(count, np.random.default_rng([seed, k]), design.feature, design.noise)
        for k, count in ((1, design.pairs), (2, design.test))
    )
    return found | tuned(model, train, test, design.tune, seed)


def pretrain(model: SingleStream, arm: str, design: Design, seed: int) -> float:
    """Two captions a picture; returns the last loss."""
    rng = np.random.default_rng([seed, 0])
    of = toy.scenes(design.scenes, rng, design.feature, design.noise)
    both = toy.beside(*(toy.captions(of, rng, mentions).text for mentions in (1, 1)))

    def batch(at: Int[Tensor, " b"]) -> Joint:
        seen = toy.unseen(len(at), design.feature) if arm == "text" else toy.regions(of, at)
        return Joint(seen, toy.laid(both, at))

    words = MaskedWords(toy.VOCABULARY, masked_words.VISUALBERT)
    objective = OnePass(Matching(matching.VISUALBERT), words)
    return teach(model, objective, batch, design.scenes, design.before, seed)


def tuned(
    model: SingleStream | TwoStream, train: toy.Twos, test: toy.Twos, effort: Effort, seed: int
) -> dict[str, float]:
    """A net fine-tuned on statements about two pictures: the last loss, accuracy on new pairs, and
    on those it was taught."""

    def pair(of: toy.Twos, at: Int[Tensor, " b"]) -> JointPair:
        return JointPair(toy.regions(of.left, at), toy.regions(of.right, at), toy.laid(of.text, at))

    def batch(at: Int[Tensor, " b"]) -> Answered:
        return Answered(pair(train, at), train.label[at])

    def right(of: toy.Twos) -> float:
        said = asked(model, "nlvr", lambda at: pair(of, at), len(of.label))
        return accuracy(said, of.label)

    loss = teach(model, Asking("nlvr", one_of), batch, len(train.label), effort, seed)
    return {"loss": loss, "accuracy": right(test), "known": right(train)}
