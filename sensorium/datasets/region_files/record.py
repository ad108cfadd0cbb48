"""One picture's regions, whatever file they came from, and what is refused of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sensorium.data.errors import DataError

BEYOND = 1.0  # pixels by which a box may leave its picture: Caffe's corners name pixels
SHARE = 1e-3  # the same where boxes are shares of the picture
SUM = 2e-2  # by which class probabilities, perhaps in halves, may miss 1
MOST = 4096  # regions of a picture


class Seen(NamedTuple):
    """What a detector saw in one picture.

    Boxes are (x1, y1, x2, y2) in pixels of the original picture; where a file keeps only shares of
    its width and height, `size` is (1, 1). Object and attribute ids count from 0 without the
    background; `probs` have the background first.
    """

    id: str
    size: tuple[float, float]  # width, height
    boxes: Float[np.ndarray, "n 4"]
    features: Float[np.ndarray, "n d"]
    detector: str
    probs: Float[np.ndarray, "n v"] | None = None
    label: Int[np.ndarray, " n"] | None = None
    score: Float[np.ndarray, " n"] | None = None
    attribute: Int[np.ndarray, " n"] | None = None
    attribute_score: Float[np.ndarray, " n"] | None = None

    def shares(self) -> Float[np.ndarray, "n 4"]:
        """Boxes as shares of the picture's width and height."""
        return self.boxes / np.array([*self.size, *self.size], dtype=np.float32)


class Needs(NamedTuple):
    """What a model wants of a region file; None: it does not mind.

    Attributes:
        width: of the features.
        least: regions of a picture, at least, and `most`, at most.
        probs: columns of class probabilities, with the background.
        labels: whether the best class and attribute of each region must be there.
    """

    detector: str | None = None
    width: int | None = None
    least: int = 0
    most: int = MOST
    probs: int | None = None
    labels: bool = False


ANYTHING = Needs()


def check(one: Seen, where: str, needs: Needs = ANYTHING) -> Seen:
    """The same regions, refused if they are not sound or not what a model needs.

    Args:
        where: the file and the key, for errors.

    Raises:
        DataError: file, key, what is wrong, and what to do.
    """

    def refuse(why: str, remedy: str) -> None:
        raise DataError(f"{where}: picture {one.id!r}: {why}; {remedy}")

    n = len(one.boxes)
    again = "extract the features again"
    if one.boxes.ndim != 2 or one.boxes.shape[1] != 4 or one.features.ndim != 2:
        refuse(f"boxes {one.boxes.shape}, features {one.features.shape}", again)
    for name in ("features", "probs", "label", "score", "attribute", "attribute_score"):
        value = one._asdict()[name]
        if value is not None and len(value) != n:
            refuse(f"{len(value)} rows of {name} for {n} boxes", again)
        if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
            rows = np.flatnonzero(~np.isfinite(value.reshape(n, -1)).all(1))
            refuse(f"{name} hold NaN or infinity (region {rows[0]})", again)
    _check_boxes(one, refuse)
    if one.probs is not None and n and np.abs(one.probs.astype(np.float32).sum(1) - 1).max() > SUM:
        refuse("class probabilities do not add up to 1", "are they logits? store their softmax")
    other = "use a file for this model, or a model for this file"
    if needs.detector is not None and one.detector != needs.detector:
        refuse(f"seen by {one.detector!r}, the model expects {needs.detector!r}", other)
    if needs.width is not None and one.features.shape[1] != needs.width:
        refuse(f"features of width {one.features.shape[1]}, the model reads {needs.width}", other)
    if not needs.least <= n <= needs.most:
        span = f"{needs.least} to {needs.most}" if needs.least != needs.most else f"{needs.most}"
        refuse(f"{n} regions, the model reads {span}", "extract with --min and --max like these")
    if needs.probs is not None and (one.probs is None or one.probs.shape[1] != needs.probs):
        has = "none" if one.probs is None else f"those of {one.probs.shape[1]}"
        refuse(f"the model learns from {needs.probs} class probabilities, there are {has}", other)
    if needs.labels and (one.label is None or one.attribute is None):
        refuse("the model learns from classes and attributes of regions, there are none", other)
    return one


def _check_boxes(one: Seen, refuse) -> None:
    boxes, (width, height) = one.boxes, one.size
    if not (width > 0 and height > 0 and np.isfinite([width, height]).all()):
        refuse(f"the picture is said to be {width} x {height}", "give its true size")
    if not len(boxes):
        return
    if not np.isfinite(boxes).all():
        refuse("boxes hold NaN or infinity", "extract the features again")
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(1)
    if flat.any():
        worst = boxes[flat][0].tolist()
        refuse(
            f"{int(flat.sum())} boxes have no area (the first: {worst})",
            "corners (x1, y1, x2, y2) are expected; is it x, y, width, height?",
        )
    if width > 2 and height > 2 and boxes.max() <= 1 + SHARE:
        refuse("boxes are shares of the picture, pixels are expected", "multiply by its size")
    slack = SHARE if width <= 1 else BEYOND
    low, high = boxes.min(), (boxes[:, 2:] - np.array([width, height])).max()
    if low < -slack or high > slack:
        beyond = max(-low, high)
        refuse(
            f"a box leaves the picture of {width:g} x {height:g} by {beyond:g}",
            "boxes must be in pixels of the original picture, not of the resized one",
        )


def by_id(ids: Sequence[str], where: str) -> dict[str, int]:
    """Each picture's place.

    Raises:
        DataError: an id occurs twice.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(ids):
        if name in places:
            raise DataError(f"{where}: picture {name!r} occurs twice; take one of the two out")
        places[name] = place
    return places
