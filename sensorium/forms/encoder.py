"""One encoder alone: something is embedded, passes a stack, and is pooled to one vector."""

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.block import Stack
from sensorium.nn.pool import reads
from sensorium.types import Ids, Read, Tokens


class Encoder(nn.Module):
    """Embedding, stack, pool: the tower of ViT, of CLIP's pictures and of CLIP's texts."""

    def __init__(self, embed: nn.Module, stack: Stack, pool: nn.Module):
        super().__init__()
        self.embed, self.stack, self.pool = embed, stack, pool

    def features(self, x: Float[Tensor, "b 3 y x"] | Ids) -> Tokens:
        """One state a token, behind the stack's norm."""
        return self.stack(self.embed(x))

    def forward(self, x: Float[Tensor, "b 3 y x"] | Ids) -> Float[Tensor, "b e"]:
        tokens = self.embed(x)
        return self.pool(self.stack(tokens, only=reads(self.pool, tokens)))


class ConvEncoder(nn.Module):
    """A convolutional trunk and a pool: the ResNet tower."""

    def __init__(self, trunk: nn.Module, pool: nn.Module):
        super().__init__()
        self.trunk, self.pool = trunk, pool

    def forward(self, x: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b e"]:
        return self.pool(self.trunk(x))


class Classifier(nn.Module):
    """A tower and a linear head, one logit a class; `features` are what the head reads."""

    def __init__(self, tower: nn.Module, head: nn.Module):
        super().__init__()
        self.tower, self.head = tower, head

    def features(self, image: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b d"]:
        return self.tower(image)

    def classify(self, image: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b v"]:
        return self.head(self.tower(image))

    def forward(self, image: Float[Tensor, "b 3 y x"]) -> Float[Tensor, "b v"]:
        return self.classify(image)


class Reader(nn.Module):
    """A text encoder with heads: BERT. `read` gives a state a token and one vector a text."""

    def __init__(
        self, embed: nn.Module, stack: Stack, pool: nn.Module, heads: dict[str, nn.Module]
    ):
        super().__init__()
        self.embed, self.stack, self.pool = embed, stack, pool
        self.heads = nn.ModuleDict(heads)

    def read(self, text: Ids) -> Read:
        tokens = self.stack(self.embed(text))
        return Read(tokens, self.pool(tokens))

    def forward(self, text: Ids) -> Read:
        return self.read(text)
