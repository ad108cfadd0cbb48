"""What was said: a text's tokens, each given those before it and a sound (Radford et al. 2022)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sensorium.objectives.next_token import Said, before
from sensorium.types import Ids


class Heard(NamedTuple):
    """Spectrograms, a text each, and which of the texts' tokens are learnt.

    A prompt's tokens are read and not learnt (the paper's section 2.3).
    """

    mel: Float[Tensor, "b m f"]
    text: Ids
    learnt: Bool[Tensor, " t"]


class Transcript:
    """Cross-entropy of each learnt token; a text's first token follows nothing."""

    coupled = False

    def pose(self, net: nn.Module, batch: Heard, g: torch.Generator) -> Heard:
        """The batch itself: nothing is random."""
        return batch

    def count(self, question: Heard) -> dict[str, int]:
        """Learnt tokens that follow another.

        Raises:
            ValueError: there are none.
        """
        follows, _ = before(question.text)
        count = int(question.learnt[follows].sum())
        if not count:
            raise ValueError("no token of this batch is learnt: look at how its texts are masked")
        return {"said": count}

    def encode(self, net: nn.Module, question: Heard) -> Said:
        """Log-probabilities, worked out in at least float32."""
        text = question.text
        follows, those = before(text)
        logits = net(question.mel, text)[those]
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        chance = -F.cross_entropy(wide, text.ids[follows], reduction="none")
        return Said(chance.new_zeros(len(text.ids)).index_put((follows,), chance))

    def mark(self, answers: Said, question: Heard) -> dict[str, Tensor]:
        """The sum over learnt tokens of -log p."""
        return {"said": -(answers.chance * question.learnt).sum()}

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""
