"""A classifier on the image tower of another model: for fine-tuning and for linear heads."""

from typing import Any

from torch import nn

from sensorium.forms.encoder import Classifier
from sensorium.models.declaration import declared


def classifier(of: dict[str, Any], embed: int, classes: int) -> Classifier:
    """The image tower of the model declared by `of`, and a linear head that starts at zero.

    Args:
        of: the other model's declaration, as a manifest has it; it must have an image tower.
        embed: width of what the tower gives.
        classes: width of the head.

    Raises:
        ValueError: the declaration is not valid, or has no image tower to build on.
    """
    whole = declared(of).build()
    if "image" not in dict(whole.named_children()):
        raise ValueError(f"model {of['function']} has no image tower: start from one such as CLIP")
    head = nn.Linear(embed, classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return Classifier(whole.get_submodule("image"), head)
