"""Two stacks that read each other: ViLBERT's co-attention, LXMERT's three encoders."""

from collections.abc import Mapping

from torch import Tensor, nn

from sensorium.nn.heads import ask
from sensorium.nn.joint import Seam, apart, join
from sensorium.nn.pair import PairStack
from sensorium.types import Fused, Joint, JointPair, Phrases, Tokens


class TwoStream(nn.Module):
    """Embed words, embed regions, pass the pair blocks in their order, pool; `heads` answer.

    Args:
        pool: the text's and the picture's tokens to one vector a sample.
        whole: of a picture a token for all of it, which goes before its others through the stack,
            is there for the pool, and is not given back (ViLBERT; None: there is none).
    """

    def __init__(
        self,
        text: nn.Module,
        image: nn.Module,
        stack: PairStack,
        pool: nn.Module,
        heads: Mapping[str, nn.Module],
        whole: nn.Module | None = None,
    ):
        super().__init__()
        self.text, self.image, self.stack, self.pool = text, image, stack, pool
        self.whole = whole
        self.heads = nn.ModuleDict(heads)

    def fuse(self, batch: Joint) -> Fused:
        """The states of words and picture after the last pair block, and the pooled vector."""
        image, seam = self.seen(batch)
        text, image = self.stack(self.text(batch.text), image)
        return Fused(text, own(image, seam), self.pool(text, image))

    def states(self, batch: Joint) -> list[tuple[Tokens, Tokens]]:
        """Of words and picture: what enters the first pair block, then what leaves each."""
        text, (image, seam) = self.text(batch.text), self.seen(batch)
        pairs = self.stack.states(text, image)
        return [(text._replace(x=x), own(image._replace(x=y), seam)) for x, y in pairs]

    def seen(self, batch: Joint) -> tuple[Tokens, Seam | None]:
        """The picture's tokens as the stack reads them, and where its own are among them."""
        image = self.image(batch.image)
        return (image, None) if self.whole is None else join(self.whole(batch.image), image)

    def ask(self, head: str, batch: Joint | JointPair | Phrases) -> Tensor:
        """The answer of a head of fine-tuning."""
        return ask(self.fuse, self.heads, head, batch)

    def forward(self, batch: Joint) -> Fused:
        return self.fuse(batch)


def own(image: Tokens, seam: Seam | None) -> Tokens:
    """The picture's tokens without that of the whole."""
    return image if seam is None else apart(image.x, seam)[1]
