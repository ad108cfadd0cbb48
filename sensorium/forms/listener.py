"""A sound is encoded, and a causal decoder reads it through cross-attention: Whisper."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.forms.decoder import Decoder
from sensorium.nn.block import Stack
from sensorium.nn.grouped import MemoryAttention
from sensorium.nn.slots import Cache, Source
from sensorium.nn.turn import turn
from sensorium.types import Ids, Tokens


class Listener(nn.Module):
    """What is heard becomes a memory once; the decoder reads it with every token.

    Args:
        embed: from a spectrogram to tokens.
        stack: the encoder's.
        decoder: its layers have a branch that reads a memory.
    """

    def __init__(self, embed: nn.Module, stack: Stack, decoder: Decoder):
        super().__init__()
        self.embed, self.stack, self.decoder = embed, stack, decoder

    @property
    def length(self) -> int:
        """The longest text that can be read, in tokens."""
        return self.decoder.length

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return self.decoder.vocab

    def encode(self, mel: Float[Tensor, "b m f"]) -> Float[Tensor, "b n d"]:
        """The memory: one state a token of the input."""
        return self.stack(Tokens(self.embed(mel))).x

    def listen(self, memory: Float[Tensor, "b n d"], room: int) -> Cache:
        """Empty slots for texts of at most `room` tokens, the memory's keys and values kept."""
        cache = self.decoder.blank(len(memory), room)
        cache.cross = self.decoder.stack.remember(laid(memory))
        return cache

    def states_of(self, text: Ids, cache: Cache) -> Float[Tensor, "t d"]:
        """Reads more of each text into the cache; the states of all tokens read."""
        return self.decoder.read(None, text, cache)[0]

    def scores(self, states: Float[Tensor, "t d"]) -> Float[Tensor, "t v"]:
        """Logits of the vocabulary."""
        return self.decoder.scores(states)

    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """Reads more of each text; logits of what follows the last token of each."""
        return self.decoder.extend(text, cache)

    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]:
        """As `extend`, with logits of what follows every token."""
        return self.decoder.extend_all(text, cache)

    def forward(self, mel: Float[Tensor, "b m f"], text: Ids) -> Float[Tensor, "t v"]:
        """Logits of what follows each token, for training: nothing is kept."""
        return self.decoder.scores(self.states(self.encode(mel), text))

    def behind(self, source: Float[Tensor, "b m f"], text: Ids) -> Float[Tensor, "t d"]:
        """As `forward`, without the scores: see `nn.pictured.Behind`."""
        return self.states(self.encode(source), text)

    def states(self, memory: Float[Tensor, "b n d"], text: Ids) -> Float[Tensor, "t d"]:
        """States of all tokens of texts that read a memory each, nothing kept."""
        self.decoder.fits(text, None)
        stack = self.decoder.stack
        made = turn(text, None, stack.rope, stack.bias, memory)._replace(source=laid(memory))
        return stack(self.decoder.embed(text.ids, made.pos), made)[0]

    def looks(
        self, memory: Float[Tensor, "1 n d"], text: Ids, heads: Sequence[tuple[int, int]]
    ) -> tuple[Float[Tensor, "t v"], Float[Tensor, "a t n"]]:
        """Logits of one text, and how some heads' tokens scored the memory, before the softmax.

        Args:
            heads: layer and head of each.
        """
        stack = self.decoder.stack
        source = laid(memory)
        made = turn(text, None, stack.rope, stack.bias, memory)._replace(source=source)
        x = self.decoder.embed(text.ids, made.pos)
        found: dict[tuple[int, int], Tensor] = {}
        for layer, block in enumerate(stack.blocks):
            wanted = [head for at, head in heads if at == layer]
            for branch in block.children():
                look = branch.get_submodule("f")
                if isinstance(look, MemoryAttention):
                    asked = look.q(branch.get_submodule("norm")(x))[0]
                    found |= {(layer, h): s for h, s in scored(look, asked, source, wanted).items()}
                x = branch(x, made)
        logits = self.decoder.scores(stack.norm(x)[0])
        return logits, torch.stack([found[one] for one in heads])


def laid(memory: Float[Tensor, "b n d"]) -> Source:
    """Memories of one length as what decoders read."""
    b, n, d = memory.shape
    rows = torch.arange(b * n, device=memory.device).view(b, n)
    return Source(memory.reshape(1, b * n, d), rows, None)


def scored(
    look: MemoryAttention, asked: Float[Tensor, "t d"], source: Source, heads: Sequence[int]
) -> dict[int, Float[Tensor, "t n"]]:
    """How queries score the memory, head by head."""
    width = look.heads.width
    q = asked.view(len(asked), -1, width).transpose(0, 1)
    k = look.remember(source).k[0]
    return {h: (q[h] * width**-0.25) @ (k[h] * width**-0.25).T for h in heads}
