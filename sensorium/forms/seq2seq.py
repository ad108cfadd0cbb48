"""An encoder that reads one text whole, and a decoder that writes another: T5 and BART."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.forms.decoder import Decoder
from sensorium.nn.layer import LayerStack
from sensorium.nn.slots import Cache, Source
from sensorium.nn.turn import around, source
from sensorium.types import Ids


class TextEncoder(nn.Module):
    """Word vectors to a memory; all tokens of a text see each other.

    Args:
        length: how many positions are learnt; None where positions are a bias.
        skip: rows of the position table before that of position 0.
    """

    def __init__(
        self,
        width: int,
        stack: LayerStack,
        length: int | None = None,
        skip: int = 0,
        norm: nn.Module | None = None,
    ):
        super().__init__()
        self.skip, self.pos = skip, None
        if length is not None:
            self.pos = nn.Parameter(torch.randn(length + skip, width) * 0.02)
        self.norm = norm if norm is not None else nn.Identity()
        self.stack = stack

    def forward(self, x: Float[Tensor, "1 t d"], text: Ids) -> Source:
        if self.pos is not None:
            if text.rows.shape[1] + self.skip > len(self.pos):
                most = len(self.pos) - self.skip
                raise ValueError(f"a text of {text.rows.shape[1]} tokens; the encoder reads {most}")
            x = x + self.pos[text.pos + self.skip]
        x = self.norm(x)
        return source(self.stack(x, around(text, self.stack.bias, x)), text)


class Seq2Seq(nn.Module):
    """Both share the word vectors, which are the decoder's.

    Args:
        start: the id that every written text begins with.
    """

    def __init__(self, encoder: TextEncoder, decoder: Decoder, start: int):
        super().__init__()
        self.encoder, self.decoder, self.start = encoder, decoder, start

    @property
    def length(self) -> int:
        """The longest text that the decoder writes."""
        return self.decoder.length

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return self.decoder.vocab

    def encode(self, text: Ids) -> Source:
        """What the decoder reads of these texts."""
        embed = self.decoder.embed
        x = embed.word(text.ids)[None]
        return self.encoder(x if embed.scale == 1.0 else x * embed.scale, text)

    def forward(self, source: Ids, text: Ids) -> Float[Tensor, "t v"]:
        """Logits of what follows each token of `text`, row by row written from `source`."""
        return self.decoder(text, self.encode(source))

    def begin(self, source: Ids, room: int) -> Cache:
        """Slots for one written text for each of these, which are read here."""
        return self.decoder.begin(self.encode(source), room)

    def blank(self, rows: int, room: int) -> Cache:
        """Refused: a text is written from another. ValueError, always."""
        raise ValueError("an encoder must read a text first: give the cache that `begin` makes")

    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """As the decoder's."""
        return self.decoder.extend(text, cache)

    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]:
        """As the decoder's."""
        return self.decoder.extend_all(text, cache)

    def shifted(self, ids: Int[Tensor, " t"]) -> Int[Tensor, " t"]:
        """One text's ids behind the start token, without the last: what is read while training."""
        return torch.cat([ids.new_tensor([self.start]), ids[:-1]])
