"""Two towers that meet only in a shared space: CLIP, and everything trained by contrast."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.types import Ids, ImageText, Pair


def unit(x: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    """Vectors of length 1, worked out in at least float32."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


class Dual(nn.Module):
    """An image tower, a text tower, and the learned temperature between them.

    `log_scale` is the logarithm of the inverse temperature, kept as a parameter of shape (1,)
    because sharded training refuses scalars.
    """

    def __init__(self, image: nn.Module, text: nn.Module, log_scale: float):
        super().__init__()
        self.image, self.text = image, text
        self.log_scale = nn.Parameter(torch.full((1,), log_scale))

    def embed_image(self, image: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b e"]:
        """Unit vectors of pictures."""
        return unit(self.image(image))

    def embed_text(self, text: Ids) -> Float[Tensor, "b e"]:
        """Unit vectors of texts."""
        return unit(self.text(text))

    def forward(self, batch: ImageText) -> Pair:
        return Pair(self.embed_image(batch.image), self.embed_text(batch.text), self.log_scale)
