"""Detection: proposals and regions learn where something stands and what it is.

Ren et al. 2015, equation 1, and its second stage (Girshick 2015, equation 1), trained together;
attributes as in Anderson et al. 2018. Every loss is divided by a number fixed beforehand (regions
looked at a picture), as Detectron 2 does it for proposals, so that no picture weighs more because
another one had less to look at.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.detect.boxes import clipped, encode, wide
from sensorium.nn.detect.match import match, noise, sample
from sensorium.types import Scenes

BETA = 1 / 9  # where the loss of a proposal's box turns from square to straight
LOW, HIGH = 0.3, 0.7  # overlaps of anchors that are nothing, that are something
FAIR = 0.5  # overlap of regions that are something


class Marks(NamedTuple):
    """The losses of each picture."""

    here: Float[Tensor, " b"]
    where: Float[Tensor, " b"]
    label: Float[Tensor, " b"]
    box: Float[Tensor, " b"]
    attribute: Float[Tensor, " b"]


class Detect:
    """All losses of a two-stage detector (`sensorium.forms.detector`) on one pass.

    Args:
        anchors: looked at a picture, at most half of them something.
        regions: looked at a picture, at most `share` of them something.
        weight: of the attributes' loss, which is there where the data set names attributes.
    """

    coupled = False

    def __init__(
        self, anchors: int = 256, regions: int = 64, share: float = 0.25, weight: float = 0.5
    ):
        self.anchors, self.regions, self.share, self.weight = anchors, regions, share, weight

    def pose(self, net: nn.Module, batch: Scenes, g: torch.Generator) -> Scenes:
        return batch

    def count(self, question: Scenes) -> dict[str, int]:
        b = len(question.seed)
        said = {"here": b * self.anchors, "where": b * self.anchors}
        said |= {"label": b * self.regions, "box": b * self.regions}
        return said | ({"attribute": b * self.regions} if question.attributes is not None else {})

    def encode(self, net: nn.Module, question: Scenes) -> Marks:
        views = net.views(question.image, question.size)  # type: ignore[operator]
        rows = [self.picture(net, view, question, i) for i, view in enumerate(views)]
        return Marks(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def mark(self, answers: Marks, question: Scenes) -> dict[str, Tensor]:
        sums = {name: value.sum() for name, value in answers._asdict().items()}
        if question.attributes is None:
            del sums["attribute"]
        return sums

    def after_step(self, net: nn.Module) -> None:
        pass

    # --- one picture -----------------------------------------------------------------------------

    def picture(self, net: nn.Module, view: Any, asked: Scenes, i: int) -> tuple[Tensor, ...]:
        """The five losses of picture i; `view` is its map and what is proposed on it."""
        x = view.x
        real = asked.labels[i] >= 0
        truth, crowd = asked.boxes[i][real].float(), asked.crowd[i][real]
        height, width = asked.size[i].tolist()
        rpn = net.get_submodule("rpn")
        boxes, seed = rpn.boxes(x), asked.seed[i]  # type: ignore[operator]
        extra: int = rpn.extra  # type: ignore[assignment]
        score, delta = wide(view.score), wide(view.delta)

        found = match(truth, boxes, LOW, HIGH, rescue=True, crowd=crowd, extra=extra)
        yes, no = sample(found, noise(seed, len(boxes)), self.anchors, 0.5)
        target = torch.cat([torch.ones_like(score[yes]), torch.zeros_like(score[no])])
        here = F.binary_cross_entropy_with_logits(
            score[torch.cat([yes, no])], target, reduction="sum"
        )
        aim = encode(truth[found[yes]], boxes[yes], extra)
        where = F.smooth_l1_loss(delta[yes], aim.to(delta.dtype), beta=BETA, reduction="sum")

        limits = net.train_limits if net.training else net.limits
        proposed = rpn.propose(score, delta, boxes, (height, width), limits)  # type: ignore[operator]
        single = truth[~crowd]
        regions = torch.cat([proposed, clipped(single, (height, width), extra)])
        found = match(truth, regions, FAIR, FAIR, crowd=crowd, extra=extra)
        drawn = noise(seed + 1, len(regions))
        yes, no = sample(found, drawn, self.regions, self.share)
        chosen = torch.cat([yes, no])
        label = torch.cat([asked.labels[i][real][found[yes]] + 1, torch.zeros_like(no)])
        read = net.read(x, regions[chosen].to(x.dtype), label)  # type: ignore[operator]
        named = F.cross_entropy(wide(read.classes), label, reduction="sum")
        units = torch.tensor(net.get_submodule("predict").units, device=x.device)
        aim = encode(truth[found[yes]], regions[yes], extra)
        own = wide(read.delta)[torch.arange(len(yes)), label[: len(yes)] - 1]
        box = F.smooth_l1_loss(own * units, (aim * units).to(own.dtype), reduction="sum")
        attribute = box.new_zeros(())
        if asked.attributes is not None:
            wanted = asked.attributes[i][real][found[yes]]
            known = wanted >= 0
            logits = wide(read.attributes)[: len(yes)][known]
            attribute = self.weight * F.cross_entropy(logits, wanted[known] + 1, reduction="sum")
        return here, where, named, box, attribute
