"""The one door for untrusted pictures, and the versioned transforms that make tensors of them."""

from sensorium.media.budget import BUDGET, Budget, MediaError
from sensorium.media.door import Source, open_image, open_original, read_image_bytes, to_rgb
from sensorium.media.header import FORMATS, Header, read_header
from sensorium.media.specs import (
    albef,
    bottom_up,
    canvas,
    google_vit,
    openai_clip,
    shorter,
    square_vit,
    timm_vit,
    turbo,
    vilt,
)
from sensorium.media.transforms import Transform, transform

__all__ = [
    "BUDGET",
    "FORMATS",
    "Budget",
    "Header",
    "MediaError",
    "Source",
    "Transform",
    "albef",
    "bottom_up",
    "canvas",
    "google_vit",
    "open_image",
    "open_original",
    "openai_clip",
    "read_header",
    "read_image_bytes",
    "shorter",
    "square_vit",
    "timm_vit",
    "to_rgb",
    "transform",
    "turbo",
    "vilt",
]
