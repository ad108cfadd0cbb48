"""A causal language model: words are embedded, pass a stack, and a head scores what comes next."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.layer import LayerStack
from sensorium.nn.runs import Seen
from sensorium.nn.slots import Cache, Source
from sensorium.nn.turn import turn
from sensorium.types import Ids


class WordEmbed(nn.Module):
    """Word vectors, scaled, brought to the model's width, with learnt positions and a norm.

    Args:
        length: how many positions are learnt; None where positions are a rotation or a bias.
        skip: rows of the position table before that of position 0 (OPT and BART leave out two).
        project: from the word vectors' width to the model's.
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        length: int | None = None,
        skip: int = 0,
        scale: float = 1.0,
        project: nn.Module | None = None,
        norm: nn.Module | None = None,
        inner: int | None = None,
    ):
        super().__init__()
        self.skip, self.scale = skip, scale
        self.word = nn.Embedding(vocab, inner or width)
        nn.init.normal_(self.word.weight, std=0.02)
        self.project = project if project is not None else nn.Identity()
        self.pos = None
        if length is not None:
            self.pos = nn.Parameter(torch.randn(length + skip, width) * 0.02)
        self.norm = norm if norm is not None else nn.Identity()

    def forward(self, ids: Int[Tensor, " t"], pos: Int[Tensor, " t"]) -> Float[Tensor, "1 t d"]:
        x = self.word(ids)
        if self.scale != 1.0:
            x = x * self.scale
        x = self.project(x)
        if self.pos is not None:
            x = x + self.pos[pos + self.skip]
        return self.norm(x)[None]


class Decoder(nn.Module):
    """GPT-2, OPT, LLaMA, MPT, GPT-Neo, GPT-J; with a memory the decoders of T5, BART and Whisper.

    Texts are laid end to end (`types.Ids`); nothing is padded. With a cache the same tokens are
    read piece by piece, with the same states.

    Args:
        head: scores of the vocabulary from states; None: the word vectors' own (tied).
        length: the longest text it can read; with rotations and biases the one it was trained on.
        out: from the model's width to the head's (350M OPT).
        shrink: what states are multiplied by before they are scored (T5's tied head).
    """

    def __init__(
        self,
        embed: WordEmbed,
        stack: LayerStack,
        head: nn.Linear | None,
        length: int,
        out: nn.Module | None = None,
        shrink: float = 1.0,
    ):
        super().__init__()
        self.length, self.shrink = length, shrink
        self.embed, self.stack = embed, stack
        self.out = out if out is not None else nn.Identity()
        self.head = head

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return self.embed.word.num_embeddings

    def read(
        self,
        x: Float[Tensor, "1 t d"] | None,
        text: Ids,
        cache: Cache | None = None,
        source: Source | None = None,
        media: Seen | None = None,
    ) -> Float[Tensor, "1 t d"]:
        """States of tokens behind what the cache holds; `x` stands in for the words' vectors.

        `source` is the memory to read, where the cache does not hold it; `media` are pictures that
        layers put in between look at (see `forms.gated`).

        Raises:
            ValueError: a text is longer than the model, or than the cache has room for.
        """
        self.fits(text, cache)
        like = self.embed.word.weight
        made = turn(text, cache, self.stack.rope, self.stack.bias, like)
        made = made._replace(source=source, media=media)
        states = self.stack(self.embed(text.ids, made.pos) if x is None else x, made, cache)
        if cache is not None:
            added = text.lengths.tolist()
            cache.lengths = [a + b for a, b in zip(cache.lengths, added, strict=True)]
        return states

    def fits(self, text: Ids, cache: Cache | None) -> None:
        """Raises ValueError where a text would be longer than the model can read."""
        before = [0] * len(text.lengths) if cache is None else cache.lengths
        longest = max(a + b for a, b in zip(before, text.lengths.tolist(), strict=True))
        if longest > self.length:
            raise ValueError(
                f"a text of {longest} tokens is longer than the model's context of {self.length}:"
                " shorten it, or ask for fewer new tokens"
            )

    def scores(self, x: Float[Tensor, "*t d"]) -> Float[Tensor, "*t v"]:
        """Logits of the vocabulary."""
        x = self.out(x if self.shrink == 1.0 else x * self.shrink)
        return F.linear(x, self.embed.word.weight) if self.head is None else self.head(x)

    def forward(self, text: Ids, source: Source | None = None) -> Float[Tensor, "t v"]:
        """Logits of what follows each token."""
        return self.scores(self.read(None, text, None, source)[0])

    def begin(self, source: Source, room: int) -> Cache:
        """Empty slots for as many texts as the memory has, which is read here once for all."""
        cache = self.blank(len(source.rows), room)
        cache.cross, cache.seen = self.stack.remember(source), source.mask
        return cache

    def blank(self, rows: int, room: int) -> Cache:
        """Empty slots for so many texts of at most `room` tokens."""
        return self.stack.blank(rows, room, self.embed.word.weight)

    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """Reads more of each text into the cache; logits of what follows the last token of each."""
        states = self.read(None, text, cache)[0]
        last = text.lengths.cumsum(0) - 1
        return self.scores(states if len(states) == len(last) else states[last])

    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]:
        """As `extend`, with logits of what follows every token."""
        return self.scores(self.read(None, text, cache)[0])
