"""Faster R-CNN (Ren et al. 2015, arXiv 1506.01497), as bottom-up attention trained it.

Anderson et al. 2018, arXiv 1707.07998, section 3.1: a ResNet-101 up to its fourth stage, 12 anchors
a cell, the last stage over each pooled region with stride 1 and dilation 2, the mean of which is
the region's 2048-d feature; 1,600 classes and 400 attributes of Visual Genome. Its weights were
published for Caffe and carried over twice with other anchors and boxes: the three declarations
differ where those programs do. `small` is a net of our own that two cores train in minutes.
"""

from functools import partial
from typing import Literal, NamedTuple

from sensorium.forms.detector import Detector
from sensorium.models.declaration import Declaration, Paper
from sensorium.nn.detect.head import Predict, Res5, TwoLayers
from sensorium.nn.detect.pool import roi_align, roi_pool
from sensorium.nn.detect.rpn import RPN, Anchors, Limits
from sensorium.nn.detect.trunk import Merged, ResNetC4

PLAIN = (1.0, 1.0, 1.0, 1.0)
UNITS = (10.0, 10.0, 5.0, 5.0)


class C4(NamedTuple):
    """A ResNet cut after its fourth stage; the fifth reads the regions."""

    blocks: tuple[int, int, int]
    width: int
    last: int
    pooled: int = 14


class Small(NamedTuple):
    """A small trunk (`nn.detect.trunk.Merged`) and two linear layers over aligned regions."""

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    channels: int
    hidden: int
    pooled: int = 7


class Kept(NamedTuple):
    """Proposals before and after suppression, its limit, the least side; first while training."""

    train: tuple[int, int] = (12000, 2000)
    test: tuple[int, int] = (6000, 300)
    nms: float = 0.7
    least: float = 0.0


def faster_rcnn(
    size: C4,
    anchors: Anchors,
    kept: Kept,
    classes: int,
    attributes: int,
    hidden: int = 512,
    columns: int = 1,
    coding: Literal["plain", "units", "background"] = "units",
) -> Detector:
    """A C4 detector.

    Args:
        hidden: channels of the proposal network.
        columns: logits an anchor, see `nn.detect.rpn.RPN`.
        coding: of box corrections: "units" are those of Detectron 2, (10, 10, 5, 5), "plain" are
            1, and "background" are 1 with a row for the background, as in Caffe.
    """
    trunk = ResNetC4(size.blocks, size.width)
    head = Res5(trunk.channels, size.last, stride=1, dilation=2)
    boxes = classes + 1 if coding == "background" else classes
    units = UNITS if coding == "units" else PLAIN
    return Detector(
        trunk,
        RPN(trunk.channels, hidden, anchors, columns),
        partial(roi_pool, side=size.pooled, scale=1 / anchors.stride),
        head,
        Predict(head.width, classes, boxes, attributes, units),
        *limits(kept),
    )


def small(size: Small, anchors: Anchors, kept: Kept, classes: int, attributes: int) -> Detector:
    """A detector for small sets of pictures; `anchors.stride` is 4, 8 or 16."""
    trunk = Merged(size.widths, size.blocks, anchors.stride, size.channels)
    head = TwoLayers(size.channels, size.pooled, size.hidden)
    return Detector(
        trunk,
        RPN(size.channels, size.channels, anchors),
        partial(roi_align, side=size.pooled, scale=1 / anchors.stride),
        head,
        Predict(head.width, classes, classes, attributes, UNITS),
        *limits(kept),
    )


def limits(kept: Kept) -> tuple[Limits, Limits]:
    """How proposals are chosen: at test, then while training."""
    test, train = (Limits(*pair, kept.nms, kept.least) for pair in (kept.test, kept.train))
    return test, train


RATIOS = (0.5, 1.0, 2.0)
R101 = C4((3, 4, 23), 64, 3)
CAFFE = Anchors((64.0, 128.0, 256.0, 512.0), RATIOS, 16, "caffe")
EXACT = Anchors((64.0, 128.0, 256.0, 512.0), RATIOS, 16)
GENOME = dict(classes=1600, attributes=400)
BUTD = Declaration(
    faster_rcnn,
    dict(
        size=R101,
        anchors=CAFFE,
        kept=Kept(least=16.0),
        columns=2,
        coding="background",
        **GENOME,
    ),
)
VG = Declaration(faster_rcnn, dict(size=R101, anchors=EXACT, kept=Kept(), **GENOME))
SMALL_SIZE = Small((16, 32, 64, 96), (1, 2, 2), 48, 128)
SMALL_KEPT = Kept(train=(500, 100), test=(500, 100))
SMALL = Declaration(
    small,
    dict(
        size=SMALL_SIZE,
        anchors=Anchors((12.0, 24.0, 48.0), RATIOS, 4),
        kept=SMALL_KEPT,
        classes=9,
        attributes=3,
    ),
)
SIZES = {"R101-butd": BUTD, "R101-vg": VG, "small": SMALL}
TINY = Declaration(
    faster_rcnn,
    dict(
        size=C4((1, 1, 1), 8, 2, 4),
        anchors=Anchors((16.0, 32.0), RATIOS, 16, "caffe"),
        kept=Kept((60, 20), (60, 20), 0.7, 4.0),
        classes=5,
        attributes=3,
        hidden=16,
        columns=2,
        coding="background",
    ),
)
TINY_SMALL = Declaration(
    small,
    dict(
        size=Small((8, 8, 16), (1, 1), 16, 32, 3),
        anchors=Anchors((8.0, 16.0), (1.0,), 4),
        kept=Kept((60, 20), (60, 20)),
        classes=5,
        attributes=3,
    ),
)
PAPER = Paper(
    name="Faster R-CNN",
    year=2015,
    citation="Ren et al., Faster R-CNN, arXiv 1506.01497; Anderson et al., arXiv 1707.07998",
    text="none",
    vision="ResNet-101 and region proposals",
    fusion="encoder alone",
    objectives="proposals, classes, boxes, attributes",
    data="Visual Genome",
)
