"""What a loaded detector finds in a picture."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.media import Source
from sensorium.models.detector_inputs import resized
from sensorium.models.detector_regions import Choice, detector, kept
from sensorium.verbs.model import Model


class Detections(NamedTuple):
    """Objects of one picture, best first; boxes in pixels of the picture as stored."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]


def detect(
    model: Model, image: Source, *, name: str = "picture", least: float = 0.05, most: int = 100
) -> Detections:
    """Finds objects.

    Args:
        image: a path or bytes.
        name: what errors call the picture.
        least: the score that a detection must have.
        most: how many are given at most, the best ones.

    Raises:
        ValueError: the model is no detector; the picture cannot be read.
    """
    net = detector(model.net)
    pixels, scale = resized(model.transform, image, name)
    parameter = next(net.parameters())
    tensor = model.transform.normalise(pixels).to(parameter.device, parameter.dtype)
    found = net.detect(tensor, scale, least, most)
    boxes = (found.boxes.float() / scale).cpu().numpy()
    return Detections(boxes, found.scores.float().cpu().numpy(), found.labels.cpu().numpy())


class Looked(NamedTuple):
    """The regions of one picture; boxes in pixels of the picture as stored, `size` its own."""

    size: tuple[float, float]  # width, height
    boxes: Float[np.ndarray, "n 4"]
    features: Float[np.ndarray, "n d"]
    probs: Float[np.ndarray, "n v"]  # the background first
    label: Int[np.ndarray, " n"]  # from 0, without the background
    score: Float[np.ndarray, " n"]
    attribute: Int[np.ndarray, " n"] | None
    attribute_score: Float[np.ndarray, " n"] | None


def look(model: Model, image: Source, choice: Choice, *, name: str = "picture") -> Looked:
    """What a detector sees in one picture, as region features (see `models.detector_regions`).

    Raises:
        ValueError: the model is no detector; the picture cannot be read.
    """
    net = detector(model.net)
    pixels, scale = resized(model.transform, image, name)
    parameter = next(net.parameters())
    tensor = model.transform.normalise(pixels).to(parameter.device, parameter.dtype)
    found = kept(net, tensor, scale, choice)
    size = (float(round(pixels.shape[1] / scale)), float(round(pixels.shape[0] / scale)))
    attribute = rate = None
    if found.attribute is not None and found.attribute_score is not None:
        attribute, rate = array(found.attribute), array(found.attribute_score)
    said = (array(found.probs), array(found.label), array(found.score))
    return Looked(size, array(found.boxes), array(found.features), *said, attribute, rate)


def array(x: Tensor) -> np.ndarray:
    """As NumPy's: numbers in float32, whole numbers as they are."""
    return (x.float() if x.is_floating_point() else x).cpu().numpy()
