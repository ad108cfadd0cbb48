"""Image-text matching: does this text belong to this picture? (ITM, a softmax of two)

What is replaced, how often, and which of both numbers means "yes" differs from system to system and
is data: see `Convention`. Wrong pairs are made of the batch's own: the picture, or the text, of
another sample whose text reads otherwise (equal texts would be right for each other).
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.objectives.contrastive import numbered
from sensorium.objectives.passes import Case, head, wide
from sensorium.objectives.rows import places, relaid, take_picture, take_text
from sensorium.types import Detections, Fused, Fuses, Ids, Regions


class Convention(NamedTuple):
    """How a system asks whether text and picture match.

    `replaced`: the picture, the text, or the second segment of the text alone. `match`: the label
    of a right pair. `drawn`: each sample with chance a half, or exactly half of the batch (rounded
    up). `longest`: texts made of two are cut to so many tokens; their last one stays.
    """

    replaced: Literal["picture", "text", "second"]
    match: Literal[0, 1]
    drawn: Literal["chance", "half"] = "chance"
    longest: int | None = None


VISUALBERT = Convention("second", match=1)
UNITER = Convention("picture", match=1)
VILBERT = Convention("text", match=0)
LXMERT = Convention("text", match=1)
VILT = Convention("picture", match=1, drawn="half")


class Matched(NamedTuple):
    """The label of every pair."""

    label: Int[Tensor, " b"]


class MatchLogits(NamedTuple):
    """Two numbers a pair."""

    x: Float[Tensor, "b 2"]


class Matching:
    """A part of a pass: cross-entropy of right and wrong pairs. Stands before all other parts.

    Args:
        name: of the head, which reads the pooled vector, and of the loss.
    """

    def __init__(self, convention: Convention, name: str = "itm"):
        self.convention, self.name = convention, name

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, Matched]:
        wrong, other = partners(case.of.text, self.convention.drawn, g)
        case = mismatched(case, wrong, other, self.convention)
        match = self.convention.match
        return case, Matched(torch.where(wrong, 1 - match, match))

    def count(self, asked: Matched) -> dict[str, int]:
        return {self.name: len(asked.label)}

    def read(self, net: Fuses, said: Fused, asked: Matched) -> MatchLogits:
        return MatchLogits(head(net, self.name)(said.pooled))

    def mark(self, answer: MatchLogits, asked: Matched) -> dict[str, Tensor]:
        return {self.name: F.cross_entropy(wide(answer.x), asked.label, reduction="sum")}


def chance_of_match(logits: Float[Tensor, "b 2"], convention: Convention) -> Float[Tensor, " b"]:
    """How probable each pair is right, whichever of both numbers the system calls so."""
    return wide(logits).softmax(dim=1)[:, convention.match]


def partners(
    text: Ids, drawn: Literal["chance", "half"], g: torch.Generator
) -> tuple[Bool[Tensor, " b"], Int[Tensor, " b"]]:
    """Which samples are made wrong, and the sample that each takes something from (itself where it
    stays right). A sample whose text is that of all others stays right."""
    b, device = len(text.lengths), text.ids.device
    number = numbered(text)
    may = (number[:, None] != number[None, :]).cpu()
    draw, pick = torch.rand(b, generator=g), torch.rand(b, generator=g)
    wrong = draw < 0.5 if drawn == "chance" else draw.argsort().argsort() >= b // 2
    wrong &= may.any(1)
    # the (pick * how many)-th of those it may be given
    rank = (pick * may.sum(1)).long().clamp(max=b - 1) + 1
    other = (may.long().cumsum(1) >= rank[:, None]).int().argmax(1)
    other = torch.where(wrong, other, torch.arange(b))
    return wrong.to(device), other.to(device)


def mismatched(
    case: Case, wrong: Bool[Tensor, " b"], other: Int[Tensor, " b"], how: Convention
) -> Case:
    """The batch with what is replaced taken from `other`; links of wrong pairs are cut."""
    of, said = case.of, case.said
    if how.replaced == "picture":
        if said is not None and isinstance(of.image, Regions):
            place, _ = places(of.image.lengths, other)
            said = Detections(*(field[place] for field in said))
        of = of._replace(image=take_picture(of.image, other))
    elif how.replaced == "text":
        of = of._replace(text=take_text(of.text, other))
    else:
        of = of._replace(text=spliced(of.text, other, how.longest))
    if isinstance(of.image, Regions) and of.image.words.shape[1]:
        pair = of.image.back // of.image.rows.shape[1]
        words = of.image.words.masked_fill(wrong[pair][:, None], -1)
        of = of._replace(image=of.image._replace(words=words))
    return case._replace(of=of, said=said, right=case.pairs() & ~wrong)


def spliced(text: Ids, other: Int[Tensor, " b"], longest: int | None) -> Ids:
    """The first segment of each text, then the second one of another.

    Raises:
        ValueError: the texts have no segments.
    """
    if text.kind is None:
        raise ValueError("the second of two captions is replaced, but these texts have one segment")
    kinds = text.kind[: int(text.lengths.sum())].split(text.lengths.tolist())
    first = [int((kind == 0).sum()) for kind in kinds]
    ends = text.lengths.cumsum(0).tolist()
    lengths, pieces = text.lengths.tolist(), []
    for i, j in enumerate(other.tolist()):
        own = range(ends[i] - lengths[i], ends[i] - lengths[i] + first[i])
        new = list(range(ends[j] - lengths[j] + first[j], ends[j]))
        if longest is not None and (over := len(own) + len(new) - longest) > 0:
            new = new[: -over - 1] + new[-1:]
        pieces.append([*own, *new])
    place = torch.tensor([t for piece in pieces for t in piece], device=text.ids.device)
    sizes = torch.tensor([len(piece) for piece in pieces], device=text.ids.device)
    return relaid(text, place, sizes)
