"""One stack reads words and picture as one sequence: VisualBERT, UNITER, ViLT."""

from collections.abc import Mapping

from torch import Tensor, nn

from sensorium.nn.block import Stack
from sensorium.nn.dropout import dropped
from sensorium.nn.heads import ask
from sensorium.nn.joint import apart, join
from sensorium.nn.look import shares
from sensorium.types import Fused, Joint, JointPair, Phrases, Ragged, Tokens


class SingleStream(nn.Module):
    """Embed words, embed the picture, join, stack, pool; `heads` answer from what comes out.

    Args:
        text: `Ids` to tokens.
        image: regions, patches or pixels to tokens.
        pool: the joint tokens to one vector a sample (the first token is the text's).
        norm: behind the joining, over both kinds of token; None: nothing.
        drop: dropout behind that norm.
    """

    def __init__(
        self,
        text: nn.Module,
        image: nn.Module,
        stack: Stack,
        pool: nn.Module,
        heads: Mapping[str, nn.Module],
        norm: nn.Module | None = None,
        drop: float = 0.0,
    ):
        super().__init__()
        self.text, self.image, self.stack, self.pool = text, image, stack, pool
        self.norm = norm if norm is not None else nn.Identity()
        self.drop = drop
        self.heads = nn.ModuleDict(heads)

    def fuse(self, batch: Joint) -> Fused:
        """The states of words and picture after the stack, and the pooled vector."""
        tokens, seam = join(self.text(batch.text), self.image(batch.image))
        out = self.stack(self.normed(tokens))
        return Fused(*apart(out.x, seam), self.pool(out))

    def states(self, batch: Joint) -> list[tuple[Tokens, Tokens]]:
        """Of words and picture: what enters the first block, then what leaves each."""
        tokens, seam = join(self.text(batch.text), self.image(batch.image))
        return [apart(x, seam) for x in self.stack.states(self.normed(tokens))]

    def shares(self, batch: Joint) -> tuple[list[Tensor], Ragged]:
        """The shares of attention of each layer (b h n n), and the layout of the joint tokens:
        each row has its words, then its picture's tokens (see `nn.look`)."""
        tokens, _ = join(self.text(batch.text), self.image(batch.image))
        assert isinstance(tokens.at, Ragged)
        return shares(self.stack, self.normed(tokens)), tokens.at

    def normed(self, tokens: Tokens) -> Tokens:
        """Behind the joint norm and dropout."""
        return tokens._replace(x=dropped(self.norm(tokens.x), self.drop, self.training))

    def ask(self, head: str, batch: Joint | JointPair | Phrases) -> Tensor:
        """The answer of a head of fine-tuning."""
        return ask(self.fuse, self.heads, head, batch)

    def forward(self, batch: Joint) -> Fused:
        return self.fuse(batch)
