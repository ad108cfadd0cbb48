"""The contrast between pictures and texts: InfoNCE in both directions (CLIP, figure 3)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor, nn

from sensorium.objectives.infonce import symmetric
from sensorium.types import Ids, ImageText, Pair


class Contrast(NamedTuple):
    """A batch, and a number for each text that is equal for equal texts."""

    batch: ImageText
    group: Int[Tensor, " b"] | None


class Contrastive:
    """Each picture finds its text among the batch's texts, each text its picture.

    The loss is the mean of both directions, each averaged over the pairs; the batch is that of all
    ranks and slices together, exactly, and the matrix of all pairs is never held.

    Args:
        log_scale: the range the logarithm of the inverse temperature is clamped to after each step
            (CLIP: 0 to ln 100).
        repeats: what happens to texts that occur more than once in a batch. "against" leaves them
            each other's negatives, as CLIP does; "mask" takes them out of the softmax; "share"
            makes all their pictures positives (UniCL).
        smoothing: label smoothing (ALIGN: 0.1).
    """

    coupled = True

    def __init__(
        self,
        log_scale: tuple[float, float],
        repeats: Literal["against", "mask", "share"] = "against",
        smoothing: float = 0.0,
    ):
        self.log_scale, self.repeats, self.smoothing = log_scale, repeats, smoothing

    def pose(self, net: nn.Module, batch: ImageText, g: torch.Generator) -> Contrast:
        return Contrast(batch, None if self.repeats == "against" else numbered(batch.text))

    def count(self, question: Contrast) -> dict[str, int]:
        return {"contrast": len(question.batch.image)}

    def encode(self, net: nn.Module, question: Contrast) -> Pair:
        return net(question.batch)

    def mark(self, answers: Pair, question: Contrast | Sequence[Contrast]) -> dict[str, Tensor]:
        """Half the sum of both directions; `question` is a list when slices are marked together."""
        parts = [question] if isinstance(question, Contrast) else question
        groups = [part.group for part in parts if part.group is not None]
        pictures, texts = symmetric(
            answers.image,
            answers.text,
            answers.log_scale,
            group=torch.cat(groups) if groups else None,
            repeats="share" if self.repeats == "share" else "mask",
            smoothing=self.smoothing,
            ranks=dist.group.WORLD if dist.is_initialized() else None,
        )
        return {"contrast": (pictures + texts) / 2}

    @torch.no_grad()
    def after_step(self, net: nn.Module) -> None:
        net.get_parameter("log_scale").clamp_(*self.log_scale)


def numbered(text: Ids) -> Int[Tensor, " b"]:
    """A 63-bit hash of each text's tokens: the same on every rank."""
    prime = 0x9E3779B97F4A7C15 % (1 << 61)
    last = text.rows.shape[1]
    number = text.lengths.clone()
    for n in range(last):
        word = text.ids[text.rows[:, n]]
        number = torch.where(n < text.lengths, (number * prime + word) & ((1 << 62) - 1), number)
    return number
