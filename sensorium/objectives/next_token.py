"""The next token: how language models are trained (Radford et al. 2018, equation 1)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.nn.pictured import Behind, Pictures
from sensorium.types import Ids


class Lesson(NamedTuple):
    """Texts end to end, and which of their tokens are learnt (those of answers, say).

    `source` is what an encoder reads, where the net has one: a text for each, or the spectrogram of
    what was said (Radford et al. 2022, section 2.3: a prompt's tokens are read and not learnt); or
    the pictures that stand among the words.
    """

    text: Ids
    learnt: Bool[Tensor, " t"]
    source: Ids | Float[Tensor, "b m f"] | Pictures | None = None


class Said(NamedTuple):
    """The log-probability that a net gave each token after those before it; 0 for first ones.

    Tokens that are not learnt may have 0 too.
    """

    chance: Float[Tensor, " t"]


def before(text: Ids) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """The places of all tokens that follow another in their text, and of those they follow."""
    place = torch.arange(int(text.lengths.sum()), device=text.ids.device)
    follows = place[text.pos[: len(place)] > 0]
    return follows, follows - 1


class NextToken:
    """Cross-entropy of each learnt token given those before it in its text.

    The first token of a text follows nothing and is not learnt.
    """

    coupled = False

    def pose(self, net: nn.Module, batch: Lesson, g: torch.Generator) -> Lesson:
        """The batch itself: nothing is random."""
        return batch

    def count(self, question: Lesson) -> dict[str, int]:
        """Learnt tokens that follow another.

        Raises:
            ValueError: there are none.
        """
        follows, _ = before(question.text)
        count = int(question.learnt[follows].sum())
        if not count:
            raise ValueError("no token of this batch is learnt: look at how its texts are masked")
        return {"next": count}

    def encode(self, net: nn.Module, question: Lesson) -> Said:
        """Log-probabilities in at least float32; of a `Behind` those of learnt tokens alone."""
        text = question.text
        follows, those = before(text)
        if isinstance(net, Behind):
            wanted = question.learnt[follows]
            follows, those = follows[wanted], those[wanted]
            logits = net.scores(net.behind(question.source, text)[those])
        else:
            logits = (net(text) if question.source is None else net(question.source, text))[those]
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        chance = -F.cross_entropy(wide, text.ids[follows], reduction="none")
        return Said(chance.new_zeros(len(text.ids)).index_put((follows,), chance))

    def mark(self, answers: Said, question: Lesson) -> dict[str, Tensor]:
        """The sum over learnt tokens of -log p."""
        return {"next": -(answers.chance * question.learnt).sum()}

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""
