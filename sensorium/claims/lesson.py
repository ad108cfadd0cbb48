"""How fusion encoders are taught in the experiments: one plan, one way to draw a batch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.claims.loop import Plan, decay_weights, fit
from sensorium.types import Fuses, Joint, JointPair, Objective


class Effort(NamedTuple):
    """How long and how hard."""

    steps: int
    batch: int
    rate: float


def teach(
    net: nn.Module,
    objective: Objective,
    batch: Callable[[Int[Tensor, " b"]], Any],
    size: int,
    effort: Effort,
    seed: int,
) -> float:
    """Trains the net in place and returns the mean loss of the last tenth of the steps.

    Args:
        batch: the samples at these places.
        size: how many samples there are; a step draws from them with replacement, by the seed.
    """

    def drawn(step: int) -> Any:
        at = np.random.default_rng([seed, step]).integers(size, size=effort.batch)
        return batch(torch.from_numpy(at))

    plan = Plan(decay_weights(effort.rate, 0.01), effort.steps, max(1, effort.steps // 15))
    return fit(net, objective, drawn, plan, lambda step: None)


@torch.no_grad()
def asked(
    net: Fuses,
    head: str,
    batch: Callable[[Int[Tensor, " b"]], Joint | JointPair],
    size: int,
    piece: int = 500,
) -> Float[Tensor, "n v"]:
    """What the head says of all samples, asked so many at a time."""
    assert isinstance(net, nn.Module)
    net.eval()
    with torch.autocast("cpu", torch.bfloat16):
        return torch.cat(
            [net.ask(head, batch(at)).float() for at in torch.arange(size).split(piece)]
        )


class Turns:
    """One objective a step, drawn in proportion to its share (UNITER)."""

    coupled = False

    def __init__(self, asks: Mapping[str, tuple[Objective, float]]):
        self.asks = dict(asks)

    def pose(self, net: nn.Module, batch: Any, g: torch.Generator) -> Any:
        shares = torch.tensor([share for _, share in self.asks.values()])
        name = list(self.asks)[int(torch.multinomial(shares, 1, generator=g))]
        return name, self.asks[name][0].pose(net, batch, g)

    def count(self, question: Any) -> dict[str, int]:
        return self.asks[question[0]][0].count(question[1])

    def encode(self, net: nn.Module, question: Any) -> Any:
        return self.asks[question[0]][0].encode(net, question[1])

    def mark(self, answers: Any, question: Any) -> dict[str, Tensor]:
        return self.asks[question[0]][0].mark(answers, question[1])

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""
