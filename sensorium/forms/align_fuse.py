"""Two towers aligned by contrast, then a stack in which the text reads the picture: ALBEF."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.block import Stack
from sensorium.nn.heads import ask
from sensorium.types import Fused, Ids, Joint, JointPair, Phrases, Pictured, Tokens


class Tower(nn.Module):
    """Embedding and stack: all token states."""

    def __init__(self, embed: nn.Module, stack: Stack):
        super().__init__()
        self.embed, self.stack = embed, stack

    def forward(self, x: Float[Tensor, "b 3 y x"] | Ids | Pictured) -> Tokens:
        return self.stack(self.embed(x))


class AlignFuse(nn.Module):
    """A picture's tower, a text's tower, their meeting in a shared space, and a stack that fuses.

    `fusion` is a stack of layers with cross-attention: text states go in, the picture's tokens are
    its memory. What is said of the two towers (`see`, `read`, `embed_*`) costs no fusion, and
    `meet` fuses any text states with any picture's, so that hard negatives reuse the towers.

    Args:
        image_pool, text_pool: from a tower's tokens to the shared space, before the norm.
        temperature: its start; similarities are divided by it. Shape (1,), as sharding demands.
    """

    def __init__(
        self,
        image: Tower,
        text: Tower,
        fusion: Stack,
        image_pool: nn.Module,
        text_pool: nn.Module,
        pool: nn.Module,
        heads: Mapping[str, nn.Module],
        temperature: float,
    ):
        super().__init__()
        self.image, self.text, self.fusion, self.pool = image, text, fusion, pool
        self.image_pool, self.text_pool = image_pool, text_pool
        self.temperature = nn.Parameter(torch.full((1,), temperature))
        self.heads = nn.ModuleDict(heads)

    def embed_image(self, image: Pictured) -> Float[Tensor, "b e"]:
        """Unit vectors of pictures."""
        return unit(self.image_pool(self.image(image)))

    def embed_text(self, text: Ids) -> Float[Tensor, "b e"]:
        """Unit vectors of texts."""
        return unit(self.text_pool(self.text(text)))

    def meet(self, text: Tokens, image: Tokens) -> Fused:
        """Text states that have read the picture's; the picture's are handed on as they are."""
        out = self.fusion(text, memory=image)
        return Fused(out, image, self.pool(out))

    def fuse(self, batch: Joint) -> Fused:
        """Both towers, then the fusion."""
        return self.meet(self.text(batch.text), self.image(batch.image))

    def ask(self, head: str, batch: Joint | JointPair | Phrases) -> Tensor:
        """The answer of a head of fine-tuning."""
        return ask(self.fuse, self.heads, head, batch)

    def forward(self, batch: Joint) -> Fused:
        return self.fuse(batch)


def unit(x: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    """Vectors of length 1, worked out in at least float32."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
