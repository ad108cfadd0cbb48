"""Layers that serve two streams, which read each other (ViLBERT, LXMERT)."""

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.block import Block, Stack
from sensorium.types import Tokens


class PairBlock(nn.Module):
    """First the streams look at each other, both as they came in; then each goes on alone.

    Every part is a `Block` or absent. `to_text` reads the picture for the text, `to_image` the
    other way; `both` is one part with one set of weights for both directions (LXMERT). A layer of
    one stream alone is `PairBlock(text=...)`.
    """

    def __init__(
        self,
        text: Block | None = None,
        image: Block | None = None,
        to_text: Block | None = None,
        to_image: Block | None = None,
        both: Block | None = None,
    ):
        super().__init__()
        if both is not None and (to_text is not None or to_image is not None):
            raise ValueError("`both` stands for to_text and to_image: give it or them")
        self.text, self.image = text, image
        self.to_text, self.to_image, self.both = to_text, to_image, both

    def forward(self, text: Tokens, image: Tokens) -> tuple[Tokens, Tokens]:
        to_text = self.both if self.both is not None else self.to_text
        to_image = self.both if self.both is not None else self.to_image
        x, y = text.x, image.x
        if to_text is not None:
            x = to_text(text.x, Stack.view(text, image))
        if to_image is not None:
            y = to_image(image.x, Stack.view(image, text))
        text, image = text._replace(x=x), image._replace(x=y)
        return alone(self.text, text), alone(self.image, image)


def alone(block: Block | None, tokens: Tokens) -> Tokens:
    """A block of one stream, where there is one."""
    if block is None:
        return tokens
    return tokens._replace(x=block(tokens.x, Stack.view(tokens, None)))


class PairStack(nn.Module):
    """Pair blocks in the order given: it is the declaration that says who runs when."""

    def __init__(self, blocks: list[PairBlock]):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, text: Tokens, image: Tokens) -> tuple[Tokens, Tokens]:
        for block in self.blocks:
            text, image = block(text, image)
        return text, image

    def states(self, text: Tokens, image: Tokens) -> list[tuple[Float[Tensor, "..."], ...]]:
        """What enters the first block, then what leaves each block, of both streams."""
        out = [(text.x, image.x)]
        for block in self.blocks:
            text, image = block(text, image)
            out.append((text.x, image.x))
        return out
