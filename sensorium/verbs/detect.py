"""What a loaded detector finds in a picture."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.forms.detector import Detector
from sensorium.media import Source
from sensorium.models.detector_inputs import resized
from sensorium.verbs.model import Model


class Detections(NamedTuple):
    """Objects of one picture, best first; boxes in pixels of the picture as stored."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]


def detector(net: nn.Module) -> Detector:
    """The net as a detector.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(net, Detector):
        raise ValueError("this model finds no objects: give the checkpoint of a detector")
    return net


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
