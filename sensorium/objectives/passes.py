"""Several questions about one reading: each hides something, the net reads once, each is marked.

A part of a pass knows what it changes in the batch (words, regions, which picture goes with which
text), what it reads from the states, and how that is marked. `OnePass` of one part is one task
(UNITER's steps); of several it is their sum on one reading (VisualBERT, ViLBERT, LXMERT). Parts
change the batch in the order they are named: what decides which pairs are right comes first.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.types import Detected, Detections, Fused, Fuses, Joint, JointPair, Scored


class Case(NamedTuple):
    """Pictures with texts, and all that is known of them; a batch of pre-training.

    `right`: the rows whose text is of their picture (None: all). `said`: what a detector said of
    the regions. `score`: how right each answer is to the text as a question (0 everywhere: the text
    is no question). `picture`: a number of each picture, where several texts are of one.
    """

    of: Joint
    right: Bool[Tensor, " b"] | None = None
    said: Detections | None = None
    score: Float[Tensor, "b v"] | None = None
    picture: Int[Tensor, " b"] | None = None

    def pairs(self) -> Bool[Tensor, " b"]:
        """`right`, written out."""
        if self.right is not None:
            return self.right
        return torch.ones_like(self.of.text.lengths, dtype=torch.bool)


@runtime_checkable
class Part(Protocol):
    """One question of a pass."""

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, Any]:
        """The batch as the net shall see it, and what will be needed to mark the answer."""
        ...

    def count(self, asked: Any) -> dict[str, int]:
        """What each of its losses is divided by once all slices and ranks are summed."""
        ...

    def read(self, net: Fuses, said: Fused, asked: Any) -> Any:
        """The answer, from the states: a NamedTuple of tensors."""
        ...

    def mark(self, answer: Any, asked: Any) -> dict[str, Tensor]:
        """The sum of each loss over this rank's rows; a pure function."""
        ...


class Posed(NamedTuple):
    """What the net reads, and what each part will mark by."""

    of: Joint
    asked: tuple[Any, ...]


class Answers(NamedTuple):
    """What each part read from the states."""

    parts: tuple[Any, ...]


class OnePass:
    """One reading of the batch, all parts marked on it; every loss has weight 1.

    The batch is a `Joint`, `Detected`, `Scored` (of one picture each) or `Case`.

    Args:
        parts: see `Part`.
    """

    coupled = False

    def __init__(self, *parts: Part):
        if not parts:
            raise ValueError("a pass needs at least one part: nothing would be asked")
        self.parts = parts

    def pose(self, net: nn.Module, batch: Any, g: torch.Generator) -> Posed:
        case, asked = opened(batch), []
        for part in self.parts:
            case, target = part.hide(case, g)
            asked.append(target)
        return Posed(case.of, tuple(asked))

    def count(self, question: Posed) -> dict[str, int]:
        each = zip(self.parts, question.asked, strict=True)
        return merged([part.count(asked) for part, asked in each])

    def encode(self, net: nn.Module, question: Posed) -> Answers:
        reads = fuses(net)
        said = reads.fuse(question.of)
        each = zip(self.parts, question.asked, strict=True)
        return Answers(tuple(part.read(reads, said, asked) for part, asked in each))

    def mark(self, answers: Answers, question: Posed) -> dict[str, Tensor]:
        each = zip(self.parts, answers.parts, question.asked, strict=True)
        return merged([part.mark(answer, asked) for part, answer, asked in each])

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""


def opened(batch: Any) -> Case:
    """Any batch of one picture to a text as a `Case`.

    Raises:
        ValueError: it is none.
    """
    if isinstance(batch, Case):
        return batch
    if isinstance(batch, Joint):
        return Case(batch)
    if isinstance(batch, Detected):
        return Case(batch.of, said=batch.said)
    if isinstance(batch, Scored) and not isinstance(batch.of, JointPair):
        return Case(batch.of, score=batch.score)
    raise ValueError(f"a pass reads one picture and one text a sample, not {type(batch).__name__}")


def fuses(net: nn.Module) -> Fuses:
    """The net as one that reads pictures and texts together.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(net, Fuses):
        raise ValueError(f"{type(net).__name__} does not read pictures and texts together")
    return net


def head(net: Fuses, name: str) -> nn.Module:
    """A head of the net.

    Raises:
        ValueError: the net was declared without it; the message lists those it has.
    """
    if name not in net.heads:
        known = ", ".join(net.heads) or "none"
        raise ValueError(f"the net has no head {name!r} (it has: {known}): declare it with one")
    return net.heads[name]


def merged(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """All entries of all parts.

    Raises:
        ValueError: two parts have a loss of the same name.
    """
    out: dict[str, Any] = {}
    for part in parts:
        if twice := out.keys() & part.keys():
            raise ValueError(f"two parts of a pass have the loss {', '.join(sorted(twice))}")
        out |= part
    return out


def wide(x: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """In at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
