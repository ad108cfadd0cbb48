"""LXMERT's three questions about objects: which, what is it like, and its feature.

As the released code has them: class and attribute are asked of every object, hidden or not, each
answer weighed by how sure the detector was; the feature is asked of hidden ones alone. All three
are means over all objects, times 1 / 0.15. (The paper, section 3.1, describes hidden objects.)
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.objectives.masked_regions import Hidden
from sensorium.objectives.passes import head, wide
from sensorium.types import Fuses

WEIGHT = 1 / 0.15


class SmoothFeature:
    """The feature that stood there: smooth L1 (from squared to absolute at 1).

    Args:
        of: what of the feature is asked; Identity: all of it.
    """

    def __init__(self, name: str = "feat", of: nn.Module | None = None):
        self.name, self.of = name, of if of is not None else nn.Identity()

    def count(self, asked: Hidden) -> dict[str, int]:
        return {self.name: asked.regions}

    def read(self, net: Fuses, states: Float[Tensor, "r d"], asked: Hidden) -> Tensor:
        return head(net, self.name)(states[asked.place])

    def mark(self, answer: Tensor, asked: Hidden) -> dict[str, Tensor]:
        loss = F.smooth_l1_loss(wide(answer), wide(self.of(asked.feature)), reduction="sum")
        return {self.name: WEIGHT * loss / answer.shape[1]}


class Named:
    """What the detector called the object ("obj"), or what it said it is like ("attr").

    Args:
        name: of the head and of the loss.
    """

    def __init__(self, name: Literal["obj", "attr"]):
        self.name: Literal["obj", "attr"] = name

    def count(self, asked: Hidden) -> dict[str, int]:
        return {self.name: asked.regions}

    def read(self, net: Fuses, states: Float[Tensor, "r d"], asked: Hidden) -> Tensor:
        return head(net, self.name)(states[: asked.regions])

    def mark(self, answer: Tensor, asked: Hidden) -> dict[str, Tensor]:
        if asked.said is None:
            raise ValueError(f"{self.name} is asked, but the batch does not say a detector's")
        s = asked.said
        label, sure = (s.label, s.score) if self.name == "obj" else (s.attribute, s.attribute_score)
        label, sure = label[: asked.regions], sure[: asked.regions]
        # -1: the detector did not say
        loss = F.cross_entropy(wide(answer), label, ignore_index=-1, reduction="none")
        return {self.name: WEIGHT * (loss * sure).sum()}
