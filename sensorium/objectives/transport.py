"""Words aligned with regions or patches by optimal transport (WRA of UNITER, WPA of ViLT).

Each word holds an equal share of a mass, and so does each region; moving mass from a word to a
region costs 1 - the cosine of their states. The cheapest way to move all of it is the alignment,
and its cost the distance D of text and picture: right pairs shall have a small one, wrong pairs a
large one. The plan is approximated by IPOT (Xie et al. 2018, arXiv 1802.04307, algorithm 1), and
held constant when the gradient is taken (Chen et al. 2020, section 3.2).
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sensorium.nn.joint import end_to_end
from sensorium.nn.transport import costs, plan
from sensorium.objectives.passes import Case, wide
from sensorium.objectives.rows import padded
from sensorium.types import Fused, Fuses, Ragged, Tokens


class Ends(NamedTuple):
    """How many tokens at the start and at the end of each sequence are left out."""

    start: int = 0
    end: int = 0


ALL = Ends()


class Pairs(NamedTuple):
    """The pairs that are right."""

    right: Bool[Tensor, " b"]


class Distances(NamedTuple):
    """How far text and picture of each pair are from each other."""

    x: Float[Tensor, " b"]


class Transport:
    """A part of a pass: weight * (D of the right pairs - D of the wrong ones), a mean over pairs.

    Stands behind `Matching`, which makes the wrong pairs. A pair without words or without regions
    has D = 0.

    Args:
        text, image: which tokens are left out. UNITER aligns all; ViLT leaves out [CLS] and [SEP]
            and the picture's first token.
        weight: of the loss; 0.1 in both systems.
        name: of the loss.
    """

    def __init__(
        self,
        text: Ends = ALL,
        image: Ends = ALL,
        weight: float = 0.1,
        name: str = "wra",
    ):
        self.text, self.image, self.weight, self.name = text, image, weight, name

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, Pairs]:
        return case, Pairs(case.pairs())

    def count(self, asked: Pairs) -> dict[str, int]:
        return {self.name: len(asked.right)}

    def read(self, net: Fuses, said: Fused, asked: Pairs) -> Distances:
        x, x_real = spread(said.text, self.text)
        y, y_real = spread(said.image, self.image)
        return Distances(distance(x, y, x_real, y_real))

    def mark(self, answer: Distances, asked: Pairs) -> dict[str, Tensor]:
        sign = torch.where(asked.right, 1.0, -1.0)
        return {self.name: self.weight * (sign * answer.x).sum()}


UNITER = Transport()
VILT = Transport(text=Ends(1, 1), image=Ends(1, 0), name="wpa")


def spread(tokens: Tokens, ends: Ends) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """States one row a sample, and which places hold a token that is not left out."""
    tokens = end_to_end(tokens)
    assert isinstance(tokens.at, Ragged)
    place = torch.arange(tokens.at.rows.shape[1], device=tokens.x.device)
    last = (tokens.at.lengths - ends.end)[:, None]
    return padded(tokens.x, tokens.at), (place >= ends.start) & (place < last)


def distance(
    text: Float[Tensor, "b n d"],
    image: Float[Tensor, "b m d"],
    text_real: Bool[Tensor, "b n"],
    image_real: Bool[Tensor, "b m"],
) -> Float[Tensor, " b"]:
    """D of each pair, in at least float32; the gradient goes through the costs alone."""
    with torch.autocast(text.device.type, enabled=False):
        both = text_real[:, :, None] & image_real[:, None, :]
        cost = costs(wide(text), wide(image)).masked_fill(~both, 0)
        return (cost * plan(cost.detach(), text_real, image_real)).sum((1, 2))
