"""A language model that looks at pictures through layers put between its own: Flamingo."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.forms.decoder import Decoder
from sensorium.nn.gate import LookAt
from sensorium.nn.layer import Layer
from sensorium.nn.pictured import Pictures
from sensorium.nn.resample import Resampler
from sensorium.nn.runs import Seen, latest, runs
from sensorium.nn.slots import Cache, Kept
from sensorium.types import Ids


def interleave(
    decoder: Decoder, where: tuple[int, int], branches: Callable[[], dict[str, nn.Module]]
) -> Decoder:
    """Puts new branches in front of those of some layers, in place.

    Args:
        where: the first layer that has them, and how many layers on the next one is. OpenFlamingo's
            first is the last of an interval (n - 1, n), Flamingo's the very first (0, n).

    Raises:
        ValueError: no layer would.
    """
    (first, every), blocks = where, decoder.stack.blocks
    if not (every >= 1 and 0 <= first < len(blocks)):
        raise ValueError(
            f"layers {first}, {first + every}, ...: the language model has {len(blocks)}"
        )
    decoder.stack.blocks = nn.ModuleList(
        Layer(**branches(), **dict(block.named_children()))
        if i >= first and (i - first) % every == 0
        else block
        for i, block in enumerate(blocks)
    )
    return decoder


class Gated(nn.Module):
    """A tower of pictures, a resampler, and a decoder some of whose layers look at pictures.

    Texts are laid end to end; a token `mark` stands where a picture does. Pictures are
    (p, c, y, x), or clips (p, f, c, y, x) of f frames. Of texts alone it speaks as the decoder
    does, through the layers that were put in (see `nn.generate.speaks.Speaks`).

    Args:
        image: one state a patch of each frame.
        mark: the id of the token that stands for a picture.
        pixels: side of a picture.
    """

    def __init__(
        self, image: nn.Module, resampler: Resampler, decoder: Decoder, mark: int, pixels: int
    ):
        super().__init__()
        if not 0 <= mark < decoder.vocab:
            raise ValueError(f"the mark of pictures, {mark}, is no id of {decoder.vocab} words")
        self.mark, self.pixels = mark, pixels
        self.length = decoder.length  # of the longest text in tokens; a picture counts one
        self.image, self.resampler, self.decoder = image, resampler, decoder

    @property
    def vocab(self) -> int:
        """How many ids there are."""
        return self.decoder.vocab

    def look(self, image: Float[Tensor, "p *f c y x"]) -> Float[Tensor, "p m e"]:
        """The states of pictures or clips, as many for each.

        Without any a blank one is looked at and nothing of it is given, so that all ranks of a
        training have gradients of the same parameters.
        """
        if not len(image):
            return self.look(image.new_zeros((1, *image.shape[1:])))[:0]
        clips = image if image.ndim == 5 else image[:, None]
        states = self.image(clips.flatten(0, 1))
        return self.resampler(states.unflatten(0, clips.shape[:2]))

    def seen(self, source: Pictures, text: Ids) -> Seen:
        """The pictures' states, and who looks at which.

        Raises:
            ValueError: pictures do not stand at the marks of the texts, one at each, in order.
        """
        marks = (text.ids[: int(text.lengths.sum())] == self.mark).nonzero()[:, 0]
        count = len(source.image)
        if len(marks) != count:
            raise ValueError(
                f"{count} pictures, and {len(marks)} marks of a picture in the texts: each picture"
                " needs one mark"
            )
        if not torch.equal(marks, source.place.to(marks.device)):
            raise ValueError("pictures do not stand at the marks of the texts, in their order")
        return Seen(self.look(source.image), runs(text, marks))

    def behind(self, source: Pictures, text: Ids) -> Float[Tensor, "t d"]:
        """The state of each token, which what follows it is scored by."""
        return self.decoder.read(None, text, media=self.seen(source, text))[0]

    def scores(self, x: Float[Tensor, "*t d"]) -> Float[Tensor, "*t v"]:
        """Logits of the vocabulary."""
        return self.decoder.scores(x)

    def forward(self, source: Pictures, text: Ids) -> Float[Tensor, "t v"]:
        """Logits of what follows each token."""
        return self.scores(self.behind(source, text))

    def begin(self, source: Pictures, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """Reads more of each text, with new pictures, into the cache; logits of what comes next.

        Of each text's latest picture keys and values stay in the cache: all that follows looks at
        them, and no picture is read twice.
        """
        seen = self.seen(source, text)
        states = self.decoder.read(None, text, cache, media=seen)[0]
        cache.cross = self.kept(seen, latest(text, seen.runs), cache)
        return self.scores(states[text.lengths.cumsum(0) - 1])

    def kept(self, seen: Seen, which: Tensor, cache: Cache) -> list[Kept]:
        """Keys and values of the picture that each text saw last, layer by layer."""
        p, b = len(seen.x), len(which)
        old = cache.cross or [None] * len(self.decoder.stack.blocks)
        before = (which >= p)[:, None, None, None]
        padded = torch.cat([seen.x, seen.x.new_zeros((1, *seen.x.shape[1:]))])
        last = padded.index_select(0, which.clamp(max=p))
        none = seen.x.new_zeros((b, 0, 0, 0))
        out = []
        for block, was in zip(self.decoder.stack.blocks, old, strict=True):
            looks = [m for m in block.modules() if isinstance(m, LookAt)]
            if not looks:
                out.append(Kept(none, none))
                continue
            new = looks[0].keys(last)
            if was is not None:
                new = Kept(*(torch.where(before, a, c) for a, c in zip(was, new, strict=True)))
            out.append(new)
        return out

    def blank(self, rows: int, room: int) -> Cache:
        """As the decoder's."""
        return self.decoder.blank(rows, room)

    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """As the decoder's; every token looks at the latest picture of its text."""
        return self.decoder.extend(text, cache)

    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]:
        """As the decoder's; every token looks at the latest picture of its text."""
        return self.decoder.extend_all(text, cache)
