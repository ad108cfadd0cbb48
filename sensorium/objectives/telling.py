"""Answers learnt word by word (Li et al. 2021, ALBEF, section 4: visual question answering)."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.answering import Told
from sensorium.objectives.passes import fuses


class Weighed(NamedTuple):
    """Answers to questions, and how much of a question's weight each has (1 a question)."""

    of: Told
    share: Float[Tensor, " a"]


class Likely(NamedTuple):
    """The log-likelihood of each answer."""

    x: Float[Tensor, "a 1"]


class Telling:
    """The likelihood of the answers that people gave, each by its share of them.

    The loss is the sum over an answer's tokens, weighed, as a mean over questions.

    Args:
        name: of the head (`nn.answering.OfAnswers`), and of the loss.
    """

    coupled = False

    def __init__(self, name: str = "vqa"):
        self.name = name

    def pose(self, net: nn.Module, batch: Any, g: torch.Generator) -> Weighed:
        """The batch itself. ValueError: it holds no answers in words."""
        if not isinstance(batch, Weighed):
            raise ValueError(f"{type(batch).__name__} holds no answers in words to learn from")
        return batch

    def count(self, question: Weighed) -> dict[str, int]:
        return {self.name: len(question.of.of.text.lengths)}

    def encode(self, net: nn.Module, question: Weighed) -> Likely:
        whole = fuses(net)
        return Likely(whole.heads[self.name](whole.fuse, question.of))

    def mark(self, answers: Likely, question: Weighed) -> dict[str, Tensor]:
        return {self.name: -(answers.x[:, 0].float() * question.share).sum()}

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""
