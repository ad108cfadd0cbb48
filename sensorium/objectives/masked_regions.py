"""Masked regions: what stood here? Its feature (MRFR), its class (MRC), its classes (MRC-kl).

Sources: UNITER section 3.2, ViLBERT section 3.2, LXMERT section 3.1, each as its code has it; see
`lxmert_objects` for LXMERT's. Boxes are never hidden.
"""

from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.objectives.passes import Case, head, merged, wide
from sensorium.objectives.rows import laid, samples
from sensorium.types import Detections, Fused, Fuses, Regions


class Rule(NamedTuple):
    """How regions are chosen and what becomes of their features.

    `share` of them are chosen; of these `zero` become zeros, `swap` the feature of any region of
    the batch, the rest stay. `least`: at least one in every picture that has any. `right`: only in
    pictures whose text is theirs.
    """

    share: float = 0.15
    zero: float = 1.0
    swap: float = 0.0
    least: bool = False
    right: bool = False


UNITER = Rule(least=True)
VILBERT = Rule(zero=0.9)
VILBERT_MULTI_TASK = Rule(zero=0.9, right=True)
LXMERT = Rule(zero=0.8, swap=0.1)


class Hidden(NamedTuple):
    """The places of hidden regions, the features that stood there, what the detector said of all
    regions, and their number."""

    place: Int[Tensor, " m"]
    feature: Float[Tensor, "m c"]
    said: Detections | None
    regions: int


@runtime_checkable
class RegionLoss(Protocol):
    """What is asked of hidden regions (or of all): see `Feature`, `Class`, `Classes`."""

    def count(self, asked: Hidden) -> dict[str, int]: ...
    def read(self, net: Fuses, states: Float[Tensor, "r d"], asked: Hidden) -> Tensor: ...
    def mark(self, answer: Tensor, asked: Hidden) -> dict[str, Tensor]: ...


class Told(NamedTuple):
    """What was read for each loss."""

    each: tuple[Tensor, ...]


class MaskedRegions:
    """A part of a pass: regions are hidden once, and every loss asks something about them."""

    def __init__(self, rule: Rule, *losses: RegionLoss):
        self.rule, self.losses = rule, losses

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, Hidden]:
        regions = case.of.image
        if not isinstance(regions, Regions):
            raise ValueError("only regions can be hidden; this net is shown pictures or patches")
        where = case.pairs() if self.rule.right else None
        hidden, place = hide_regions(regions, self.rule, g, where)
        asked = Hidden(place, regions.features[place], case.said, int(regions.lengths.sum()))
        return case._replace(of=case.of._replace(image=hidden)), asked

    def count(self, asked: Hidden) -> dict[str, int]:
        return merged([loss.count(asked) for loss in self.losses])

    def read(self, net: Fuses, said: Fused, asked: Hidden) -> Told:
        states = said.image.x.flatten(0, 1)
        return Told(tuple(loss.read(net, states, asked) for loss in self.losses))

    def mark(self, answer: Told, asked: Hidden) -> dict[str, Tensor]:
        each = zip(self.losses, answer.each, strict=True)
        return merged([loss.mark(told, asked) for loss, told in each])


def hide_regions(
    regions: Regions, rule: Rule, g: torch.Generator, where: Bool[Tensor, " b"] | None = None
) -> tuple[Regions, Int[Tensor, " m"]]:
    """The regions with some hidden, and the places of those; `where`: the pictures it may be in."""
    count, device = int(regions.lengths.sum()), regions.features.device
    draw, fate = (
        torch.rand(count, generator=g).to(device),
        torch.rand(count, generator=g).to(device),
    )
    new = torch.randint(max(count, 1), (count,), generator=g).to(device)
    chosen = draw < rule.share
    if rule.least:
        rows, _, _ = laid(regions.lengths)
        alone = torch.zeros_like(regions.lengths).index_add(
            0, samples(regions.lengths), chosen.long()
        )
        lowest = torch.cat([draw, draw.new_full((1,), 2.0)])[rows].argmin(1)  # the one nearest
        need = (alone == 0) & (regions.lengths > 0)
        chosen[rows.gather(1, lowest[:, None])[:, 0][need]] = True
    if where is not None:
        chosen &= where[samples(regions.lengths)]
    zero = chosen & (fate < rule.zero)
    swap = chosen & ~zero & (fate < rule.zero + rule.swap)
    features, masked = regions.features.clone(), regions.masked.clone()
    features[:count] = torch.where(swap[:, None], features[new], features[:count])
    features[:count] = features[:count].masked_fill(zero[:, None], 0)
    masked[:count] = zero.to(masked.dtype)
    return regions._replace(features=features, masked=masked), chosen.nonzero()[:, 0]


class Projected(nn.Module):
    """A fixed random projection: what is asked of features wider than the net's head says (the
    pixels of crops). Its numbers are as large as the features', on average."""

    def __init__(self, inputs: int, outputs: int, seed: int = 0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        matrix = torch.randn(inputs, outputs, generator=g) * inputs**-0.5
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, feature: Float[Tensor, "m c"]) -> Float[Tensor, "m d"]:
        return feature @ self.get_buffer("matrix").to(feature)


class Feature:
    """The feature that stood there, by squared error: a mean over its numbers and over regions.

    Args:
        name: of the head, which reads regions' states, and of the loss.
        of: what of the feature is asked; Identity: all of it.
    """

    def __init__(self, name: str = "mrfr", of: nn.Module | None = None):
        self.name, self.of = name, of if of is not None else nn.Identity()

    def count(self, asked: Hidden) -> dict[str, int]:
        return {self.name: len(asked.place)}

    def read(self, net: Fuses, states: Float[Tensor, "r d"], asked: Hidden) -> Tensor:
        return head(net, self.name)(states[asked.place])

    def mark(self, answer: Tensor, asked: Hidden) -> dict[str, Tensor]:
        error = (wide(answer) - wide(self.of(asked.feature))).square()
        return {self.name: error.sum() / answer.shape[1]}


class Class:
    """The class that the detector held most likely, background (class 0) left out (UNITER's MRC).

    Args:
        name: of the head and of the loss.
    """

    def __init__(self, name: str = "mrc"):
        self.name = name

    def count(self, asked: Hidden) -> dict[str, int]:
        return {self.name: len(asked.place)}

    def read(self, net: Fuses, states: Float[Tensor, "r d"], asked: Hidden) -> Tensor:
        return head(net, self.name)(states[asked.place])

    def mark(self, answer: Tensor, asked: Hidden) -> dict[str, Tensor]:
        label = probs(asked, answer)[:, 1:].argmax(1) + 1
        return {self.name: F.cross_entropy(wide(answer), label, reduction="sum")}


class Classes:
    """The detector's probabilities of all classes: KL(theirs || the net's) over hidden regions.

    Args:
        mean: over regions (ViLBERT), or over regions and classes (UNITER's MRC-kl, which is smaller
            by the number of classes).
        name: of the head and of the loss.
    """

    def __init__(self, mean: Literal["regions", "classes"], name: str = "mrc"):
        self.mean, self.name = mean, name

    def count(self, asked: Hidden) -> dict[str, int]:
        return {self.name: len(asked.place)}

    def read(self, net: Fuses, states: Float[Tensor, "r d"], asked: Hidden) -> Tensor:
        return head(net, self.name)(states[asked.place])

    def mark(self, answer: Tensor, asked: Hidden) -> dict[str, Tensor]:
        logs = wide(answer).log_softmax(dim=1)
        total = F.kl_div(logs, probs(asked, answer).to(logs.dtype), reduction="sum")
        return {self.name: total / answer.shape[1] if self.mean == "classes" else total}


def probs(asked: Hidden, answer: Tensor) -> Float[Tensor, "m v"]:
    """What the detector gave each class, of the hidden regions.

    Raises:
        ValueError: the batch has no such probabilities, or of another number of classes.
    """
    if asked.said is None:
        raise ValueError("classes of regions are asked, but the batch does not say a detector's")
    found = asked.said.probs
    if found.shape[1] != answer.shape[1]:
        raise ValueError(
            f"the net knows {answer.shape[1]} classes of regions, the detector {found.shape[1]}: "
            "declare the net with as many, or use region files that keep all probabilities"
        )
    return found[asked.place]
