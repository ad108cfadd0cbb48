"""Which proposals of a detector become a picture's regions, and what is compared of a detector."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.forms.detector import Detector, Seen, refined
from sensorium.nn.detect.boxes import wide
from sensorium.nn.detect.suppress import nms_by_class

CLASSES = 32  # suppressed at a time


def detector(net: nn.Module) -> Detector:
    """The net as a detector.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(net, Detector):
        raise ValueError("this model finds no objects: give the checkpoint of a detector")
    return net


def detects(net: nn.Module) -> bool:
    """Whether the net is a detector."""
    return isinstance(net, Detector)


class Choice(NamedTuple):
    """Which of a picture's proposals become its regions (bottom-up attention's extraction).

    Attributes:
        least: regions a picture has at least, and `most`, at most (where there are so many).
        conf: those with a class of at least this probability, after suppression, are taken.
        nms: overlap from which, class by class, the less likely of two goes.
        refined: boxes are corrected for their likeliest class; the original keeps the proposals.
    """

    least: int = 10
    most: int = 100
    conf: float = 0.2
    nms: float = 0.3
    refined: bool = False


class Kept(NamedTuple):
    """The regions of one picture; boxes in pixels of the picture as stored."""

    boxes: Float[Tensor, "n 4"]
    features: Float[Tensor, "n d"]
    probs: Float[Tensor, "n v"]  # the background first
    label: Int[Tensor, " n"]  # from 0, without the background
    score: Float[Tensor, " n"]
    attribute: Int[Tensor, " n"] | None
    attribute_score: Float[Tensor, " n"] | None


@torch.no_grad()
def kept(net: Detector, image: Float[Tensor, "3 y x"], scale: float, choice: Choice) -> Kept:
    """The regions of a picture that was enlarged by `scale`.

    They are in the order of the proposals; cut to `most`, or filled up to `least`, by probability.
    """
    return select(net.look(image, scale), image, scale, choice, net.rpn.extra)


def select(seen: Seen, image: Tensor, scale: float, choice: Choice, extra: int) -> Kept:
    """The regions among proposals, with what was read off them."""
    probs = wide(seen.read.classes).softmax(-1)
    score, label = probs[:, 1:].max(-1)
    boxes = wide(seen.boxes)
    if choice.refined:
        rows = torch.arange(len(boxes), device=boxes.device)
        moved = refined(seen, (image.shape[1], image.shape[2]), extra)[rows, label]
        real = ((moved[:, 2:] - moved[:, :2]) > 0).all(1, keepdim=True)
        boxes = torch.where(real, moved, boxes)
    boxes = boxes / scale
    keep = chosen(strongest(boxes, probs[:, 1:], choice, extra), choice)
    attribute = rate = None
    if seen.read.attributes is not None:
        rate, attribute = wide(seen.read.attributes[keep]).softmax(-1)[:, 1:].max(-1)
    feature = wide(seen.read.feature[keep])
    said = (probs[keep], label[keep], score[keep], attribute, rate)
    return Kept(boxes[keep], feature, *said)


def strongest(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, "n c"], choice: Choice, extra: int = 0
) -> Float[Tensor, " n"]:
    """The highest probability of each box among the classes in which suppression leaves it.

    Classes are taken in order of their highest score, and no more of them than can matter: what is
    left out could only change values that are neither over `conf` nor among the `least` best.
    """
    tops, order = scores.max(0).values.sort(descending=True, stable=True)
    best = torch.zeros(len(boxes), dtype=scores.dtype, device=scores.device)
    for first in range(0, len(order), CLASSES):
        some = scores[:, order[first : first + CLASSES]]
        stays = nms_by_class(boxes, some, choice.nms, extra)
        best = torch.maximum(best, (some * stays).max(1).values)
        after = float(tops[first + CLASSES]) if first + CLASSES < len(tops) else 0.0
        if after < choice.conf and int((best > after).sum()) >= choice.least:
            break
    return best


def chosen(best: Float[Tensor, " n"], choice: Choice) -> Int[Tensor, " k"]:
    """The places of the regions that are kept (see `Choice`)."""
    keep = (best >= choice.conf).nonzero().squeeze(1)
    order = best.argsort(descending=True, stable=True)
    if len(keep) < choice.least:
        return order[: choice.least]
    return order[: choice.most] if len(keep) > choice.most else keep


@torch.no_grad()
def fixed(net: Detector, pixels: Float[Tensor, "3 y x"]) -> dict[str, Tensor]:
    """What a net says of one picture wherever its proposals fall: by this a detector is compared.

    Every anchor's score and correction, and all that is read off the whole picture and its four
    quarters.
    """
    parameter = next(net.parameters())
    image = pixels.to(parameter.device, parameter.dtype)[None]
    height, width = pixels.shape[1:]
    y, x = height / 2, width / 2
    corners = [(0.0, 0.0), (x, 0.0), (0.0, y), (x, y)]
    boxes = [[0.0, 0.0, width, height], *([a, b, a + x, b + y] for a, b in corners)]
    view = net.views(image, torch.tensor([[height, width]]))[0]
    read = net.read(view.x, torch.tensor(boxes, dtype=image.dtype, device=image.device))
    said = {"score": view.score, "delta": view.delta, **read._asdict()}
    return {name: value.float().cpu() for name, value in said.items() if value is not None}
