"""A text that reads two pictures in turn: ALBEF on NLVR2 (Li et al. 2021, section 4).

Every layer of the fusion stands there twice. The first reads the first picture, the second the
second one; keys and values of both pictures are made by one linear map.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import CrossAttention
from sensorium.nn.block import Block, Stack
from sensorium.nn.heads import Fuse, Task
from sensorium.nn.sight import View
from sensorium.types import JointPair, Tokens


class Twin(NamedTuple):
    """What the two halves of a block are given."""

    first: View
    second: View


class Borrowed(nn.Module):
    """Another part's linear map, which is no child: its weight has one name and is saved once."""

    def __init__(self, source: nn.Linear):
        super().__init__()
        self.source = (source,)

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s e"]:
        return self.source[0](x)


class TwinBlock(Block):
    """Two layers with cross-attention, one after the other; the second borrows keys and values."""

    def __init__(self, first: Block, second: Block):
        behind = {f"{name}_second": branch for name, branch in second.named_children()}
        super().__init__(**dict(first.named_children()), **behind)
        self.ahead = len(list(first.children()))
        mine, other = (self.get_submodule(name) for name in ("cross.f", "cross_second.f"))
        assert isinstance(mine, CrossAttention) and isinstance(other, CrossAttention)
        assert isinstance(mine.kv, nn.Linear)
        other.kv = Borrowed(mine.kv)  # type: ignore[assignment]

    def forward(self, x: Float[Tensor, "b n d"], view: Twin) -> Float[Tensor, "b n d"]:  # type: ignore[override]
        for number, branch in enumerate(self.children()):
            x = branch(x, view.first if number < self.ahead else view.second)
        return x


class TwinStack(nn.Module):
    """Twin blocks one after the other; without a second picture both halves read the first."""

    def __init__(self, blocks: list[TwinBlock]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, tokens: Tokens, memory: Tokens, second: Tokens | None = None) -> Tokens:
        first = Stack.view(tokens, memory)
        view = Twin(first, first if second is None else Stack.view(tokens, second))
        x = tokens.x
        for block in self.blocks:
            x = block(x, view)
        return tokens._replace(x=x)


class OfTwo(Task):
    """Answers from the pooled vector of a text that has read both pictures."""

    asks = JointPair

    def forward(self, fuse: Fuse, batch: JointPair) -> Float[Tensor, "b v"]:
        return self.head(fuse(batch).pooled)  # type: ignore[arg-type]
