"""Talking with a Flamingo, which was trained on no conversations: every turn is a chunk of its own.

A question is asked as OpenFlamingo asks those of VQAv2 (eval/eval_model.py), and the reply ends
with the end of the chunk: `<image>Question:... Short answer:...<|endofchunk|>`. Earlier turns stand
before it as demonstrations do. A picture without words is captioned (`Output:`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sensorium.data.chat import Message
from sensorium.data.conversations import MARK, PLAIN, pictured
from sensorium.data.errors import DataError
from sensorium.data.interleaved import marks
from sensorium.forms.gated import Gated
from sensorium.media import Transform
from sensorium.nn.generate.loop import Start
from sensorium.nn.generate.speaks import How, Request, check, laid
from sensorium.nn.pictured import Pictures
from sensorium.nn.slots import Cache
from sensorium.verbs.shots import Teller
from sensorium.verbs.speak import Bit, say

QUESTION = "Question:{} Short answer:"
CAPTION = "Output:"
TEMPLATES = ("vqa", PLAIN)
Key = int | str


class Looks(NamedTuple):
    """What reads the pictures of a conversation: a Flamingo and the transform of its pictures."""

    net: Gated
    transform: Transform

    def pixels(self, images: Sequence[Any]) -> list[Tensor]:
        """Pictures as the net reads them. MediaError: one cannot be read."""
        parameter = next(self.net.parameters())
        return [self.transform(one).to(parameter.device, parameter.dtype) for one in images]


class Turns:
    """A conversation with a Flamingo, of which only what is new is read.

    Args:
        name: "vqa" (None likewise): a turn's words are a question; "plain": they stand as they are,
            and the reply goes on behind them.

    Raises:
        ValueError: another name; the model has no tokenizer, or not one of a Flamingo.
    """

    def __init__(self, teller: Teller, name: str | None = None):
        if name is not None and name not in TEMPLATES:
            raise ValueError(
                f"a Flamingo is asked in {' or '.join(TEMPLATES)}, not in {name!r}: it was trained"
                " on no chat template"
            )
        if teller.words is None:
            raise ValueError("this model has no tokenizer, so it cannot be talked with")
        self.teller, self.words, self.marks = teller, teller.words, marks(teller.words)
        self.sight = Looks(teller.net, teller.look)
        self.asked = "{}" if name == PLAIN else QUESTION
        self.kept: tuple[list[Key], Cache] | None = None
        self.read = 0  # tokens that the last turn had to read

    def stream(self, messages: Any, settings: How, stop: Sequence[str] = ()) -> Iterator[Bit]:
        """The model's next turn, piece by piece; a turn's pictures stand before its words.

        Raises:
            DataError: the conversation is not sound (see `data.conversations.pictured`), or the
                system speaks in it.
            MediaError: a picture cannot be read.
            ValueError: it is too long for the model.
        """
        said, images = pictured(messages)
        ids, pixels = self.ids(said), self.sight.pixels(images)
        names = iter(hashlib.sha256(x.cpu().float().numpy().tobytes()).hexdigest() for x in pixels)
        keys: list[Key] = [next(names) if i == self.marks.picture else i for i in ids]
        request = Request(ids, settings, self.teller.ends())
        room = check(self.teller.net, [request])
        cache = self._same(keys, room)
        self.read = len(ids) - cache.lengths[0]
        start, self.kept = self._start(ids, pixels, cache), None  # until it is whole again
        for bit in stripped(say(self.teller.net, self.words, [request], stop, start)):
            if bit.reply is not None:
                self.kept = [*keys, *bit.reply.ids][: start.cache.lengths[0]], start.cache
            yield bit

    def ids(self, said: Sequence[Message]) -> list[int]:
        """The prompt: a chunk for each turn that was answered, and the beginning of the last."""
        if said[0].role == "system":
            raise DataError(
                "a Flamingo hears no system message: leave it out, and ask in the user's turn"
            )
        ids = [self.words.bos] if self.words.begins and self.words.bos is not None else []
        for place in range(0, len(said), 2):
            text = said[place].text.replace(MARK, "").strip()
            front, _, behind = self.asked.partition("{}")
            asked = f"{front}{text}{behind}" if text else CAPTION
            answers = [one.text.strip() for one in said[place + 1 : place + 2]]
            ids += [self.marks.picture] * said[place].text.count(MARK)
            ids += self.words.encode("".join([asked, *answers]), f"message {place + 1}")
            ids += [self.marks.chunk] * len(answers)
        return ids

    def _same(self, keys: list[Key], room: int) -> Cache:
        """The cache, back to the beginning that it shares with these; or a new one.

        What is kept of pictures is the latest one alone, so that it must be in what is shared.
        """
        new = self.teller.net.blank(1, room)
        if self.kept is None:
            return new
        old, cache = self.kept
        pairs = enumerate(zip(old, keys[:-1], strict=False))
        same = next((i for i, (a, b) in pairs if a != b), min(len(old), len(keys) - 1))
        if not same or any(isinstance(key, str) for key in old[same:]):
            return new
        cache.rewind([same])
        return cache if cache.room >= room else cache.take([0], room)

    @torch.inference_mode()
    def _start(self, ids: Sequence[int], pixels: Sequence[Tensor], cache: Cache) -> Start:
        """Reads what the cache has not: words up to the next new picture, and then the rest."""
        net, done, device = self.teller.net, cache.lengths[0], cache.layers[0].k.device
        places = [i for i, id in enumerate(ids) if id == self.marks.picture and i >= done]
        if not places:
            return Start(cache, net.extend(laid([ids[done:]], device), cache))
        if done < places[0]:
            net.extend(laid([ids[done : places[0]]], device), cache)
        text = laid([ids[places[0] :]], device)
        place = torch.tensor(places, device=device) - places[0]
        seen = Pictures(torch.stack(list(pixels[len(pixels) - len(places) :])), place)
        return Start(cache, net.begin(seen, text, cache))


def stripped(bits: Iterator[Bit]) -> Iterator[Bit]:
    """A reply without the space around it."""
    begun = False
    for bit in bits:
        text = bit.text if begun else bit.text.lstrip()
        begun = begun or bool(text)
        reply = bit.reply and bit.reply._replace(text=bit.reply.text.strip())
        yield Bit(bit.row, text, reply)
