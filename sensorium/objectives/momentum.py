"""A contrast against a slow teacher and a queue of what it said (MoCo; ALBEF, section 3.2).

The teacher is a moving average of the net. Its vectors of the batch and of the last batches are
the keys; its own opinion of how similar things are softens the targets. Teacher, queue and the
number of steps are state: they are saved and resumed with the run.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.objectives.ranks import agree, gather, parts, position

NOBODY = -100  # the number of pictures that a queue begins with


class Slow(NamedTuple):
    """How slowly the teacher follows, and how much its opinion counts.

    The teacher keeps `decay` of itself at each step. `soft` is the share of targets that are its
    opinion; it rises from 0 over the first `ramp` steps (ALBEF: one epoch).
    """

    decay: float = 0.995
    soft: float = 0.4
    ramp: int = 1000


ALBEF = Slow()


class Queue(nn.Module):
    """The teacher's vectors of the last `size` pairs; at the start random unit vectors.

    Args:
        size: k; at least a global batch.
        width: e.
        named: whether it also keeps the numbers of their pictures, so that all pairs of one picture
            are right (fine-tuning on retrieval, where a picture has several captions).
    """

    def __init__(self, size: int, width: int, seed: int = 0, named: bool = False):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.named = named
        if named:
            self.register_buffer("number", torch.full((size,), NOBODY))
        for name in ("image", "text"):
            self.register_buffer(name, F.normalize(torch.randn(size, width, generator=g), dim=1))
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def keys(self, name: str) -> Float[Tensor, "k e"]:
        """The vectors of pictures, or of texts."""
        return self.get_buffer(name)

    @torch.no_grad()
    def push(
        self,
        image: Float[Tensor, "b e"],
        text: Float[Tensor, "b e"],
        number: Int[Tensor, " b"] | None = None,
    ) -> None:
        """Puts a batch in the place of the oldest.

        Raises:
            ValueError: the batch is larger than the queue, or pictures have numbers and the queue
                keeps none, or the other way round.
        """
        if (number is None) == self.named:
            raise ValueError("a queue keeps the numbers of all its pictures, or of none")
        size, place = len(self.keys("image")), self.get_buffer("place")
        if len(image) > size:
            raise ValueError(
                f"a queue of {size} cannot hold a batch of {len(image)}: make it longer"
            )
        at = (place + torch.arange(len(image), device=place.device)) % size
        for name, new in (("image", image), ("text", text)):
            self.keys(name)[at] = new.to(self.keys(name).dtype)
        if number is not None:
            self.get_buffer("number")[at] = number
        place.copy_((place + len(image)) % size)


class Keys(NamedTuple):
    """What the pairs of all ranks are set against: the teacher's vectors of this batch, then the
    queue's. Row i of this rank belongs to key `own[i]`; where pictures have a `number`, to all keys
    of the same one."""

    image: Float[Tensor, "k e"]
    text: Float[Tensor, "k e"]
    own: Int[Tensor, " b"]
    fresh: int  # how many of the keys are this batch's
    number: Int[Tensor, " k"] | None = None

    def right(self, dtype: torch.dtype) -> Float[Tensor, "b k"]:
        """How right each key is to each of this rank's rows; a row's shares add up to 1."""
        if self.number is not None:
            same = (self.number[self.own, None] == self.number[None, :]).to(dtype)
            return same / same.sum(dim=1, keepdim=True)
        out = torch.zeros(len(self.own), len(self.image), dtype=dtype, device=self.own.device)
        return out.scatter_(1, self.own[:, None], 1.0)


@torch.no_grad()
def keys(
    image: Float[Tensor, "b e"],
    text: Float[Tensor, "b e"],
    queue: Queue,
    number: Int[Tensor, " b"] | None = None,
) -> Keys:
    """The teacher's vectors of all ranks' pairs and of the queue; all ranks must call it."""
    ranks = dist.group.WORLD if dist.is_initialized() else None
    sizes = agree(len(image), {"the width of keys": image.shape[1]}, image.device, ranks)
    own = parts(sizes)[position(ranks)[0]]
    images, texts = (gather(x.contiguous(), sizes, ranks) for x in (image, text))
    numbers = None
    if number is not None:
        numbers = torch.cat([gather(number, sizes, ranks), queue.get_buffer("number")])
    return Keys(
        torch.cat([images, queue.keys("image").to(image.dtype)]),
        torch.cat([texts, queue.keys("text").to(text.dtype)]),
        torch.arange(own.start, own.stop, device=image.device),
        sum(sizes),
        numbers,
    )


class Vectors(NamedTuple):
    """Unit vectors of pictures and texts, of the net and of its teacher."""

    image: Float[Tensor, "b e"]
    text: Float[Tensor, "b e"]
    image_key: Float[Tensor, "b e"]
    text_key: Float[Tensor, "b e"]


def contrast(
    said: Vectors, known: Keys, temperature: Float[Tensor, " 1"], soft: Float[Tensor, ""] | float
) -> Float[Tensor, ""]:
    """Half the sum of both directions, of this rank's rows (ALBEF, equations 1 and 6).

    Each row's target is (1 - soft) * its own key (or, evenly, those of its picture) + soft * the
    teacher's softmax, without gradient.
    """
    total = torch.zeros((), device=temperature.device)
    for asks, teacher, answers in (
        (said.image, said.image_key, known.text),
        (said.text, said.text_key, known.image),
    ):
        logits = asks @ answers.T / temperature
        with torch.no_grad():
            target = soft * (teacher @ answers.T / temperature).softmax(dim=1)
            target = target + (1 - soft) * known.right(target.dtype)
        total = total - (target * logits.log_softmax(dim=1)).sum() / 2
    return total


@torch.no_grad()
def copy(teacher: nn.Module, net: nn.Module) -> None:
    """Makes the teacher equal to the net, parameter by parameter."""
    for name, slow in teacher.named_parameters():
        slow.copy_(net.get_parameter(name))


@torch.no_grad()
def follow(teacher: nn.Module, net: nn.Module, decay: float) -> None:
    """Moves the teacher's parameters towards the net's."""
    for name, slow in teacher.named_parameters():
        slow.lerp_(net.get_parameter(name).detach(), 1 - decay)
