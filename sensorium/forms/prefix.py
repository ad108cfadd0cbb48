"""A picture's tokens stand among the words that a decoder reads: LLaVA."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.forms.decoder import Decoder
from sensorium.nn.block import Stack
from sensorium.nn.pictured import Pictures
from sensorium.nn.slots import Cache
from sensorium.types import Ids


class PatchTower(nn.Module):
    """The states of a picture's patches, behind the last layer and before any norm of the stack.

    The class token is read with the others, and left out at the end.
    """

    def __init__(self, embed: nn.Module, stack: Stack):
        super().__init__()
        self.embed, self.stack = embed, stack

    def forward(self, image: Float[Tensor, "p c y x"]) -> Float[Tensor, "p n e"]:
        return self.stack(self.embed(image)).x[:, 1:]


class Prefix(nn.Module):
    """A tower of pictures, a bridge to the width of the words, and a decoder of both.

    Texts are laid end to end and nothing is padded, whatever pictures stand in them. Of texts alone
    it is the decoder (see `nn.generate.speaks.Speaks`).

    Args:
        image: one state a patch.
        bridge: from the tower's width to the decoder's.
        patches: how many tokens a picture is.
        pixels: side of a picture.
    """

    def __init__(
        self, image: nn.Module, bridge: nn.Module, decoder: Decoder, patches: int, pixels: int
    ):
        super().__init__()
        self.patches, self.pixels = patches, pixels
        self.image, self.bridge, self.decoder = image, bridge, decoder

    @property
    def length(self) -> int:
        """The longest text that can be read, in tokens, those of its pictures counted."""
        return self.decoder.length

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return self.decoder.vocab

    def look(self, image: Float[Tensor, "p c y x"]) -> Float[Tensor, "k d"]:
        """The tokens of pictures, picture by picture, in the decoder's width.

        Without a picture a blank one is looked at and nothing of it is given, so that all ranks of
        a training have gradients of the same parameters.
        """
        if not len(image):
            blank = image.new_zeros((1, *image.shape[1:]))
            return self.bridge(self.image(blank))[:0].flatten(0, 1)
        return self.bridge(self.image(image)).flatten(0, 1)

    def words(self, pictures: Pictures, text: Ids) -> Float[Tensor, "1 t d"]:
        """What the decoder's first layer reads.

        Raises:
            ValueError: there are not as many places as the pictures have tokens.
        """
        count = len(pictures.image) * self.patches
        if len(pictures.place) != count:
            raise ValueError(
                f"{len(pictures.image)} pictures are {count} tokens, and the texts have"
                f" {len(pictures.place)} places for them"
            )
        x = self.decoder.embed(text.ids, text.pos)
        seen = self.look(pictures.image).to(x.dtype)
        return x.index_copy(1, pictures.place, seen[None])

    def behind(self, source: Pictures, text: Ids) -> Float[Tensor, "t d"]:
        """The state of each token, which what follows it is scored by."""
        return self.decoder.read(self.words(source, text), text)[0]

    def scores(self, x: Float[Tensor, "*t d"]) -> Float[Tensor, "*t v"]:
        """Logits of the vocabulary."""
        return self.decoder.scores(x)

    def forward(self, pictures: Pictures, text: Ids) -> Float[Tensor, "t v"]:
        """Logits of what follows each token."""
        return self.scores(self.behind(pictures, text))

    def begin(self, x: Float[Tensor, "1 t d"], text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """Reads more of each text, given what its tokens are in the first layer (see `words`)."""
        states = self.decoder.read(x, text, cache)[0]
        return self.decoder.scores(states[text.lengths.cumsum(0) - 1])

    def blank(self, rows: int, room: int) -> Cache:
        """As the decoder's."""
        return self.decoder.blank(rows, room)

    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """As the decoder's, of words alone."""
        return self.decoder.extend(text, cache)

    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]:
        """As the decoder's, of words alone."""
        return self.decoder.extend_all(text, cache)


def alone(text: Ids) -> Pictures:
    """No pictures, for texts without any."""
    none = torch.zeros((0, 3, 0, 0), device=text.ids.device)
    return Pictures(none, text.ids.new_zeros(0))
