"""Two stacks that read each other: ViLBERT's co-attention, LXMERT's three encoders."""

from collections.abc import Mapping

from torch import Tensor, nn

from sensorium.nn.heads import ask
from sensorium.nn.pair import PairStack
from sensorium.types import Fused, Joint, JointPair, Phrases, Tokens


class TwoStream(nn.Module):
    """Embed words, embed regions, pass the pair blocks in their order, pool; `heads` answer.

    Args:
        pool: the text's and the picture's tokens to one vector a sample.
    """

    def __init__(
        self,
        text: nn.Module,
        image: nn.Module,
        stack: PairStack,
        pool: nn.Module,
        heads: Mapping[str, nn.Module],
    ):
        super().__init__()
        self.text, self.image, self.stack, self.pool = text, image, stack, pool
        self.heads = nn.ModuleDict(heads)

    def fuse(self, batch: Joint) -> Fused:
        """The states of words and picture after the last pair block, and the pooled vector."""
        text, image = self.stack(self.text(batch.text), self.image(batch.image))
        return Fused(text, image, self.pool(text, image))

    def states(self, batch: Joint) -> list[tuple[Tokens, Tokens]]:
        """Of words and picture: what enters the first pair block, then what leaves each."""
        text, image = self.text(batch.text), self.image(batch.image)
        pairs = self.stack.states(text, image)
        return [(text._replace(x=x), image._replace(x=y)) for x, y in pairs]

    def ask(self, head: str, batch: Joint | JointPair | Phrases) -> Tensor:
        """The answer of a head of fine-tuning."""
        return ask(self.fuse, self.heads, head, batch)

    def forward(self, batch: Joint) -> Fused:
        return self.fuse(batch)
