"""ViT's headline claim at small scale: a residual net leads on few pictures, less so on many.

Paper (Dosovitskiy et al. 2020, section 4.3, figures 3 and 4): pre-trained on little data, vision
transformers are worse than residual nets of their size; with more data the order turns around.
Measured here is the gap and how it moves, not a crossing.

**The experiment**, fixed before it was run. Pictures of 32 px: a textured shape and a small marker
beside it. A class is shape x texture x where the marker lies. Two arms, a residual net and a ViT
(patch 4, width 64, 4 layers) with equal numbers of parameters to 3%, see the same N pictures for
the same number of steps at the same batch, with the same optimiser and schedule and no
augmentation. The measure is the accuracy of a linear probe of the frozen features on a task of
shapes and textures that training never showed.

**The rule** (`verdict.judge`; the effect is one number a seed, its 95% interval is Student's t):

1. *The gap shrinks with data*: the slope of (residual net - ViT) on log2 N lies below 0.
2. *The residual net leads on little data*: the gap at the smallest N lies above 0.
3. *Positions learn the plane* (figure 7, centre): at the largest N, the mean cosine of a position
   embedding with its grid neighbours, less that with positions at least half the grid away, lies
   above 0.

Accuracy on new pictures of the training classes is reported beside it and decides nothing. How
hard the pictures are, the rates and the number of steps were chosen in short trials on seed 100,
which is not measured, so that at the largest N both arms learn and neither is at its ceiling.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.claims.loop import Plan, decay_weights, fit
from sensorium.claims.scenes import PIXELS, SHAPES, TEXTURES, Objects, draw
from sensorium.data.order import Shuffled
from sensorium.forms.encoder import Classifier, ConvEncoder
from sensorium.models.vit import Size, linear_head, vit
from sensorium.nn.pool import GridMean
from sensorium.nn.residual import SmallResNet
from sensorium.objectives.classify import Classify
from sensorium.tasks import linear_probe
from sensorium.types import ImageLabel

ARMS = ("residual", "vit")
NAMES = {"residual": "residual net", "vit": "ViT"}
RELATIONS = 4  # the marker lies right of, below, left of or above the shape
TRAINED = (SHAPES[:3], ("plain", "stripes"))
HELD_OUT = (SHAPES[3:7], ("dots", "checks"))
NOISE = 0.04


class Design(NamedTuple):
    """All that fixes a result beside the code."""

    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    batch: int
    rate: dict[str, float]
    decay: float
    test: int  # pictures of the training classes
    probe: tuple[int, int]  # pictures of the held-out task, to fit and to score


FULL = Design(
    sizes=(500, 2000, 8000),
    seeds=(0, 1, 2),
    steps=500,
    batch=32,
    rate={"residual": 2e-3, "vit": 2e-3},
    decay=0.05,
    test=2000,
    probe=(1000, 2000),
)


def jobs(design: Design) -> list[dict[str, Any]]:
    """Every arm, size and seed; the longest first."""
    return [
        {"arm": arm, "size": size, "seed": seed}
        for arm in reversed(ARMS)
        for seed in design.seeds
        for size in design.sizes
    ]


def pictures(
    count: int, rng: np.random.Generator, of: tuple[Sequence[str], Sequence[str]], related: bool
) -> ImageLabel:
    """Scenes with their classes: shape x texture, x relation where `related`."""
    shapes, textures = of
    shape, texture = rng.integers(len(shapes), size=count), rng.integers(len(textures), size=count)
    relation = rng.integers(RELATIONS, size=count)
    radius = rng.uniform(7.5, 9, count)
    turn = relation * np.pi / 2 + rng.uniform(-0.3, 0.3, count)
    x, y = PIXELS / 2 + rng.uniform(-1.5, 1.5, (2, count))
    across, down = (radius + 3) * np.cos(turn), (radius + 3) * np.sin(turn)
    marker = np.full(count, SHAPES.index("disc"))
    objects = Objects(
        shape=np.stack([np.array([SHAPES.index(s) for s in shapes])[shape], marker], 1),
        texture=np.stack(
            [np.array([TEXTURES.index(t) for t in textures])[texture], np.zeros_like(marker)], 1
        ),
        colour=rng.uniform(0.6, 1, (count, 2, 3)),
        x=np.stack([x, x + across], 1),
        y=np.stack([y, y + down], 1),
        radius=np.stack([radius, np.full(count, 2.5)], 1),
        angle=rng.uniform(-0.15, 0.15, (count, 2)),
    )
    label = shape * len(textures) + texture
    label = label * RELATIONS + relation if related else label
    return ImageLabel(torch.from_numpy(draw(objects, rng, NOISE)), torch.from_numpy(label))


def net(arm: str, classes: int) -> Classifier:
    """The tower of an arm with a linear head; both start from torch's global generator."""
    if arm == "vit":
        return vit(Size(PIXELS, patch=4, width=64, layers=4, heads=4, hidden=128), classes)
    width = 22
    tower = ConvEncoder(SmallResNet((1, 1, 1), width), GridMean(nn.Identity()))
    return Classifier(tower, linear_head(4 * width, classes))


def work(design: Design, job: dict[str, Any]) -> dict[str, Any]:
    """One arm, size and seed: trained and measured.

    Pictures, their order and the test are the same for both arms of a seed.
    """
    arm, size, seed = job["arm"], job["size"], job["seed"]
    classes = len(TRAINED[0]) * len(TRAINED[1]) * RELATIONS
    train = pictures(size, np.random.default_rng([seed, size, 0]), TRAINED, True)
    order = Shuffled(size, seed)
    objective = Classify()
    torch.manual_seed(seed)
    model = net(arm, classes)

    def batch(step: int) -> ImageLabel:
        at = [order(step * design.batch + i) for i in range(design.batch)]
        return ImageLabel(train.image[at], train.label[at])

    plan = Plan(
        decay_weights(design.rate[arm], design.decay), design.steps, max(1, design.steps // 10)
    )
    loss = fit(model, objective, batch, plan, lambda step: None)
    model.eval()
    test = pictures(design.test, np.random.default_rng([seed, 1]), TRAINED, True)
    found = {
        "loss": loss,
        "direct": accuracy(answers(model.classify, test.image), test.label),
        "probe": probe(model, design, seed),
        "parameters": sum(p.numel() for p in model.tower.parameters()),
    }
    if arm == "vit":
        found |= neighbourhood(model.get_parameter("tower.embed.pos").detach())
    return found


@torch.no_grad()
def answers(
    ask: Callable[[Tensor], Tensor], image: Float[Tensor, "b 3 y x"]
) -> Float[Tensor, "b v"]:
    """What a net says of many pictures, asked a few at a time."""
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat([ask(part).float() for part in image.split(250)])


def accuracy(logits: Tensor, label: Tensor) -> float:
    """The share of rows whose largest logit is the label's."""
    return float((logits.argmax(1) == label).double().mean())


def probe(model: Classifier, design: Design, seed: int) -> float:
    """Accuracy of a logistic regression on the frozen features, on shapes training never showed.

    Its strength is chosen on a fifth of the fitting pictures, as in `tasks.linear_probe`.
    """
    rng = np.random.default_rng([seed, 2])
    known, new = (pictures(count, rng, HELD_OUT, False) for count in design.probe)
    seen, unseen = (answers(model.features, one.image).double() for one in (known, new))
    centre, deviation = seen.mean(0), seen.std(0).clamp(min=1e-8)
    seen, unseen = (seen - centre) / deviation, (unseen - centre) / deviation
    classes = len(HELD_OUT[0]) * len(HELD_OUT[1])
    held = linear_probe.held_out([str(i) for i in range(len(seen))], known.label.tolist())
    strength, _ = linear_probe.choose(seen, known.label, classes, torch.from_numpy(held))
    fitted = linear_probe.fit(seen, known.label, classes, strength, tolerance=1e-5)
    return accuracy(unseen @ fitted.weight.T + fitted.bias, new.label)


def neighbourhood(pos: Float[Tensor, "n d"]) -> dict[str, float]:
    """Mean cosine of grid positions with their neighbours, and with those half the grid away.

    The class token's position (the first) is left out; the mean of all positions is taken off, so
    that what they have in common does not count as likeness.
    """
    side = math.isqrt(len(pos) - 1)
    grid = nn.functional.normalize(pos[1:] - pos[1:].mean(0), dim=1)
    cosine = grid @ grid.T
    place = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    place = place.flatten(1).T
    apart = (place[:, None] - place[None]).abs()
    near = apart.sum(-1) == 1
    far = apart.amax(-1) >= side // 2
    return {"near": float(cosine[near].mean()), "far": float(cosine[far].mean())}
