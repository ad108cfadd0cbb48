"""The contrast in which every text there is can be asked at once: names, labels, short captions.

A batch of b pictures offers each of them b - 1 wrong texts. Where the texts of the whole set are
few (1,655 names of emoji) each picture is set against all of them instead: a softmax over names,
whose weights are the text tower's. Texts still find their picture among the batch's.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from sensorium.objectives.contrastive import numbered
from sensorium.objectives.infonce import one_way
from sensorium.types import Embeds, Ids, ImageText


class Question(NamedTuple):
    """Pictures, all names, and the place of each picture's own among them."""

    image: Float[Tensor, "b c y x"]
    names: Ids
    own: Int[Tensor, " b"]


class Answers(NamedTuple):
    """Unit vectors of pictures and of names."""

    image: Float[Tensor, "b e"]
    names: Float[Tensor, "v e"]
    log_scale: Float[Tensor, " 1"]


class Naming:
    """Each picture finds its name among all names, each name its picture in the batch.

    The loss is the mean of both directions, each averaged over the pairs of all ranks and slices.

    Args:
        log_scale: the range the logarithm of the inverse temperature is clamped to after each step.
        names: gives all texts of the data, laid end to end; called once, when training starts.
    """

    coupled = True

    def __init__(self, log_scale: tuple[float, float], names: Callable[[], Ids]):
        self.log_scale, self.names = log_scale, cache(names)

    def pose(self, net: nn.Module, batch: ImageText, g: torch.Generator) -> Question:
        """ValueError: a text of the batch is not among the names."""
        device = batch.image.device
        names = tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, self.names())
        same = numbered(batch.text)[:, None] == numbered(names)[None, :]
        missing = (~same.any(1)).nonzero().flatten().tolist()
        if missing:
            raise ValueError(f"texts {missing[:8]} of a batch are none of the {len(same[0])} names")
        return Question(batch.image, names, same.int().argmax(1))

    def count(self, question: Question) -> dict[str, int]:
        return {"contrast": len(question.image)}

    def encode(self, net: nn.Module, question: Question) -> Answers:
        assert isinstance(net, Embeds)
        image, names = net.embed_image(question.image), net.embed_text(question.names)
        return Answers(image, names, net.get_parameter("log_scale"))

    def mark(self, answers: Answers, question: Question | Sequence[Question]) -> dict[str, Tensor]:
        """Half the sum of both directions; slices marked together share the first one's names."""
        parts = [question] if isinstance(question, Question) else question
        own = torch.cat([part.own for part in parts])
        names = answers.names[: len(parts[0].names.lengths)]
        ranks = dist.group.WORLD if dist.is_initialized() else None
        pictures = one_way(answers.image, names, answers.log_scale, own)
        here = torch.arange(len(own), device=own.device)
        texts = one_way(names[own], answers.image, answers.log_scale, here, ranks=ranks)
        return {"contrast": (pictures + texts) / 2}

    @torch.no_grad()
    def after_step(self, net: nn.Module) -> None:
        net.get_parameter("log_scale").clamp_(*self.log_scale)
