"""Classification: which class does a picture show (softmax cross-entropy)."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.types import ImageLabel


class Logits(NamedTuple):
    """One number a class."""

    x: Float[Tensor, "b v"]


class Classify:
    """Cross-entropy against the label, with label smoothing if asked for."""

    coupled = False

    def __init__(self, smoothing: float = 0.0):
        self.smoothing = smoothing

    def pose(self, net: nn.Module, batch: ImageLabel, g: torch.Generator) -> ImageLabel:
        return batch

    def count(self, question: ImageLabel) -> dict[str, int]:
        return {"class": len(question.label)}

    def encode(self, net: nn.Module, question: ImageLabel) -> Logits:
        return Logits(net(question.image))

    def mark(self, answers: Logits, question: Any) -> dict[str, Tensor]:
        loss = F.cross_entropy(
            answers.x.float(), question.label, label_smoothing=self.smoothing, reduction="sum"
        )
        return {"class": loss}

    def after_step(self, net: nn.Module) -> None:
        pass
