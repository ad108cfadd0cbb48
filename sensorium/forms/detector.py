"""A detector in two stages: a trunk sees the picture, proposals say where, a head says what."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.detect.boxes import clipped, decode, wide
from sensorium.nn.detect.head import Pool, Predict, Read
from sensorium.nn.detect.rpn import RPN, Limits
from sensorium.nn.detect.suppress import nms

NMS = 0.5  # of detections of one class
READ = 64  # regions read at a time: bounds memory, for a ResNet-101 to about half a gigabyte


class Found(NamedTuple):
    """Detections of one picture, best first; labels count from 0, without the background."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]


class Seen(NamedTuple):
    """The proposals of one picture, best first, and what is read off each."""

    boxes: Float[Tensor, "n 4"]
    read: Read


class View(NamedTuple):
    """The map of one picture, and what the proposal network says of every anchor."""

    x: Float[Tensor, "c y x"]
    score: Float[Tensor, " n"]
    delta: Float[Tensor, "n 4"]


class Detector(nn.Module):
    """Trunk, proposals, pooled regions, head.

    Args:
        trunk: picture (b 3 y x) to map (b c y x).
        head: pooled regions to features; `predict` reads classes, boxes, attributes off those.
        train_limits: how proposals are chosen while training.
    """

    def __init__(
        self,
        trunk: nn.Module,
        rpn: RPN,
        pool: Pool,
        head: nn.Module,
        predict: Predict,
        limits: Limits,
        train_limits: Limits,
    ):
        super().__init__()
        self.trunk, self.rpn, self.head, self.predict = trunk, rpn, head, predict
        self.pool, self.limits, self.train_limits = pool, limits, train_limits

    def views(self, image: Float[Tensor, "b 3 y x"], size: Int[Tensor, "b 2"]) -> list[View]:
        """Each picture's map and proposals; what stands beyond its size has no part in them.

        Pictures of one size pass together, others alone.
        """
        sizes = [(int(h), int(w)) for h, w in size.tolist()]
        if len(set(sizes)) == 1:
            return self._views(image[:, :, : sizes[0][0], : sizes[0][1]])
        pairs = zip(image, sizes, strict=True)
        return [view for one, (h, w) in pairs for view in self._views(one[None, :, :h, :w])]

    def _views(self, image: Float[Tensor, "b 3 y x"]) -> list[View]:
        x = self.trunk(image)
        said = self.rpn(x)
        return [View(*row) for row in zip(x, said.score, said.delta, strict=True)]

    def read(
        self,
        x: Float[Tensor, "c y x"],
        boxes: Float[Tensor, "n 4"],
        label: Int[Tensor, " n"] | None = None,
    ) -> Read:
        """What stands in boxes of a picture, from its map; see `Predict` for `label`."""
        return self.predict(self.head(self.pool(x, boxes)), label)

    @torch.no_grad()
    def look(self, image: Float[Tensor, "3 y x"], resized: float = 1.0) -> Seen:
        """Proposals of one picture and what is read off them; `resized` as in `RPN.propose`."""
        view = self._views(image[None])[0]
        size, boxes = (image.shape[1], image.shape[2]), self.rpn.boxes(view.x)
        boxes = self.rpn.propose(view.score, view.delta, boxes, size, self.limits, resized)
        parts = [self.read(view.x, some) for some in boxes.to(view.x.dtype).split(READ)]
        return Seen(boxes, whole(parts))

    @torch.no_grad()
    def detect(
        self,
        image: Float[Tensor, "3 y x"],
        resized: float = 1.0,
        least: float = 0.05,
        most: int = 100,
    ) -> Found:
        """Objects of one picture: every class of every proposal, suppressed class by class.

        Args:
            least: detections with a lower score are left out.
            most: how many are kept, over all classes.
        """
        seen = self.look(image, resized)
        shares = wide(seen.read.classes).softmax(-1)[:, 1:]
        size = (image.shape[1], image.shape[2])
        moved = refined(seen, size, self.rpn.extra)
        at = (shares > least).nonzero()
        boxes, scores = moved[at[:, 0], at[:, 1]], shares[at[:, 0], at[:, 1]]
        keep = nms(boxes, scores, NMS, kinds=at[:, 1], most=most, extra=self.rpn.extra)
        return Found(boxes[keep], scores[keep], at[keep, 1])


def refined(seen: Seen, size: tuple[int, int], extra: int) -> Float[Tensor, "n k 4"]:
    """Each proposal corrected for each class, cut to the picture of (height, width)."""
    delta = wide(seen.read.delta)
    start = seen.boxes[:, None].expand(-1, delta.shape[1], -1)
    return clipped(decode(delta, start, extra), size, extra)


def whole(parts: list[Read]) -> Read:
    """What was read off some regions and then others, as one."""
    first = parts[0]
    attributes = None
    if first.attributes is not None:
        attributes = torch.cat([p.attributes for p in parts if p.attributes is not None])
    columns = [torch.cat([p[i] for p in parts]) for i in range(3)]  # type: ignore[misc]
    return Read(columns[0], columns[1], columns[2], attributes)
