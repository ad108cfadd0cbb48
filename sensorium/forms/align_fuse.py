"""Two towers aligned by contrast, then a stack in which the text reads the picture: ALBEF."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.answering import Told
from sensorium.nn.block import Stack
from sensorium.nn.heads import ask
from sensorium.types import Fused, Ids, Joint, JointPair, Phrases, Pictured, Shared, Tokens


class Tower(nn.Module):
    """Embedding and stack: all token states."""

    def __init__(self, embed: nn.Module, stack: Stack):
        super().__init__()
        self.embed, self.stack = embed, stack

    def forward(self, x: Ids | Pictured) -> Tokens:
        if isinstance(x, Shared):
            return Tokens(self(x.images).x[x.which])
        return self.stack(self.embed(x))


class AlignFuse(nn.Module):
    """A picture's tower, a text's tower, their meeting in a shared space, and a stack that fuses.

    `fusion` is a stack of layers with cross-attention: text states go in, the picture's tokens are
    its memory (a `TwinStack` reads two pictures in turn). What is said of the two towers
    (`embed_*`) costs no fusion, and `meet` fuses any text states with any picture's, so that hard
    negatives reuse the towers.

    Args:
        image_pool, text_pool: from a tower's tokens to the shared space, before the norm.
        temperature: its start; similarities are divided by it. Shape (1,), as sharding demands;
            None: a net that is not aligned any more has none.
    """

    def __init__(
        self,
        image: Tower,
        text: Tower,
        fusion: nn.Module,
        image_pool: nn.Module,
        text_pool: nn.Module,
        pool: nn.Module,
        heads: Mapping[str, nn.Module],
        temperature: float | None,
    ):
        super().__init__()
        self.image, self.text, self.fusion, self.pool = image, text, fusion, pool
        self.image_pool, self.text_pool = image_pool, text_pool
        start = None if temperature is None else nn.Parameter(torch.full((1,), temperature))
        self.register_parameter("temperature", start)
        self.heads = nn.ModuleDict(heads)

    def embed_image(self, image: Pictured) -> Float[Tensor, "b e"]:
        """Unit vectors of pictures."""
        return unit(self.image_pool(self.image(image)))

    def embed_text(self, text: Ids) -> Float[Tensor, "b e"]:
        """Unit vectors of texts."""
        return unit(self.text_pool(self.text(text)))

    def meet(self, text: Tokens, image: Tokens, second: Tokens | None = None) -> Fused:
        """Text states that have read the picture's; the (first) picture's are handed on."""
        out = self.fusion(text, image) if second is None else self.fusion(text, image, second)
        return Fused(out, image, self.pool(out))

    def fuse(self, batch: Joint | JointPair) -> Fused:
        """Both towers, then the fusion."""
        text, image = self.text(batch.text), self.image(batch.image)
        return self.meet(text, image, *map(self.image, batch[1:-1]))

    def ask(self, head: str, batch: Joint | JointPair | Phrases | Told) -> Tensor:
        """The answer of a head of fine-tuning."""
        return ask(self.fuse, self.heads, head, batch)

    def forward(self, batch: Joint) -> Fused:
        return self.fuse(batch)


def unit(x: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    """Vectors of length 1, worked out in at least float32."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
