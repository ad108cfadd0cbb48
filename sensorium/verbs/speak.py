"""What users do with a language model: continue texts, talk with it, choose among answers."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from sensorium.data.conversations import encode_pictured, pictured, stops, template_of
from sensorium.data.errors import DataError
from sensorium.data.tokenizers.words import Words
from sensorium.nn.generate.beam import beam
from sensorium.nn.generate.loop import Start, read, speak
from sensorium.nn.generate.pick import Dice, Rule, wide
from sensorium.nn.generate.speaks import How, Request, Rewrites, Speaks, check, laid
from sensorium.nn.slots import Cache
from sensorium.verbs.sight import Key, Sight, keyed, whole
from sensorium.verbs.tail import Tail

Prompt = str | Sequence[int]


class Reply(NamedTuple):
    """What was said.

    Attributes:
        text: without what ended it; special tokens are left out.
        ids: all tokens, the one that ended it included.
        logprobs: of each token, by the model alone.
        end: "end" (the model ended it), "stop" (a stop string came) or "length".
    """

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    end: str


class Bit(NamedTuple):
    """A piece of a reply that is being said: the text that became sure, and at the end its all."""

    row: int
    text: str
    reply: Reply | None


class Beams(NamedTuple):
    """A beam search: how many texts are kept, and the exponent of the length that divides."""

    beams: int
    penalty: float = 1.0


def apart(words: Words) -> frozenset[int]:
    """The tokens that are no text."""
    return frozenset(words.specials.values())


@torch.inference_mode()
def logprobs(
    net: Speaks, prompt: Sequence[int], ids: Sequence[int], memory: Cache | None
) -> tuple[float, ...]:
    """What the model gave each of `ids` behind the prompt, from one reading.

    `memory` is a cache of one row with what an encoder read; what was written there is forgotten.
    """
    room = len(prompt) + len(ids)
    if memory is None:
        cache = net.blank(1, room)
    else:
        memory.rewind([0])
        cache = memory.take([0], room)
    before = [*prompt, *ids][:-1]
    scores = net.extend_all(laid([before], cache.layers[0].k.device), cache)
    chances = wide(scores[len(prompt) - 1 :]).log_softmax(dim=1)
    return tuple(float(row[i]) for row, i in zip(chances, ids, strict=True))


def how(said: dict[str, Any]) -> How:
    """Settings by name. ValueError: one is not known, or means nothing."""
    unknown = sorted(set(said) - set(How._fields))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not known; settings are {', '.join(How._fields)}")
    made = How(**said)
    made.check()
    return made


def speaker(net: Any) -> Speaks:
    """The net as one that speaks. ValueError: it does not."""
    if not isinstance(net, Speaks):
        raise ValueError("this model says nothing: it is no language model")
    return net


def ids_of(prompt: Prompt, words: Words | None) -> list[int]:
    """A prompt as ids, behind the start token where the model wants one; text is only text."""
    if not isinstance(prompt, str):
        return [int(i) for i in prompt]
    if words is None:
        raise ValueError("this model has no tokenizer: give prompts as lists of ids")
    start = [words.bos] if words.begins and words.bos is not None else []
    ids = start + words.encode(prompt, "the prompt")
    if not ids:
        raise ValueError("the prompt is empty: there is nothing to continue")
    return ids


def endings(words: Words | None, names: Sequence[str] = ()) -> frozenset[int]:
    """The tokens that end a reply: the model's end, and those named by the template."""
    if words is None:
        return frozenset()
    found = {words.specials[name] for name in names if name in words.specials}
    return frozenset(found | ({words.eos} if words.eos is not None else set()))


def say(
    net: Speaks,
    words: Words | None,
    requests: Sequence[Request],
    stop: Sequence[str] = (),
    start: Start | None = None,
    dice: Sequence[Dice] | None = None,
    rules: Sequence[Rule] = (),
) -> Iterator[Bit]:
    """Continues all requests together; gives each one's text as it becomes sure.

    `rules` change the scores, as in `nn.generate.loop.speak`.

    Raises:
        ValueError: as `nn.generate.speak`; stop strings without a tokenizer.
    """
    if words is None and stop:
        raise ValueError("stop strings need a tokenizer, which this model has not: give ends")
    special = apart(words) if words is not None else frozenset()
    tails = [Tail(stop) for _ in requests]
    fresh = [""] * len(requests)

    def ended(row: int, token: int) -> bool:
        if words is not None and token not in special:
            fresh[row] = tails[row].push(words.spelt(token))
        return tails[row].stopped

    said: list[list[str]] = [[] for _ in requests]
    ids: list[list[int]] = [[] for _ in requests]
    chances: list[list[float]] = [[] for _ in requests]
    for step in speak(net, requests, start, rules, dice, ended):
        row = step.row
        ids[row].append(step.token)
        chances[row].append(step.logprob)
        text, fresh[row] = fresh[row], ""
        whole = None
        if step.end is not None:
            text += tails[row].finish()
            joined = "".join([*said[row], text])
            whole = Reply(joined, tuple(ids[row]), tuple(chances[row]), step.end)
        said[row].append(text)
        if text or whole is not None:
            yield Bit(row, text, whole)


def generate(
    net: Any,
    words: Words | None,
    prompts: Sequence[Prompt],
    settings: How,
    n: int = 1,
    stop: Sequence[str] = (),
) -> list[Reply]:
    """Continues every prompt, `n` times each; prompt by prompt. Every prompt is read once.

    Raises:
        ValueError: a prompt is empty or too long, or a setting means nothing.
    """
    if n < 1:
        raise ValueError(f"n is {n}: every prompt must be continued at least once")
    if isinstance(stop, str):
        raise ValueError("stop must be a list of texts, even of one: stop=[...]")
    requests, start = opened(net, words, prompts, settings, n)
    dice = [Dice(settings.seed, number) for _ in prompts for number in range(n)]
    done: dict[int, Reply] = {}
    for bit in say(speaker(net), words, requests, stop, start, dice):
        if bit.reply is not None:
            done[bit.row] = bit.reply
    return [done[row] for row in range(len(requests))]


def opened(
    net: Any, words: Words | None, prompts: Sequence[Prompt], settings: How, n: int
) -> tuple[list[Request], Start | None]:
    """What is asked for every prompt, `n` times each, and where an encoder reads them, the memory.

    An encoder reads a prompt with the end token behind it; what is written begins anew.
    """
    ends = endings(words)
    ids = [ids_of(prompt, words) for prompt in prompts]
    if not isinstance(net, Rewrites):
        asked = [Request(one, settings, ends) for one in ids]
        return [one for one in asked for _ in range(n)], None
    requests = [Request([net.start], settings, ends) for _ in ids for _ in range(n)]
    room = check(net, requests)
    whole = [
        [*one, words.eos]
        if isinstance(prompt, str) and words is not None and words.eos is not None
        else one
        for one, prompt in zip(ids, prompts, strict=True)
    ]
    if empty := [place for place, one in enumerate(whole) if not one]:
        raise ValueError(f"prompt {empty[0]} is empty: an encoder must read at least one token")
    module: Any = net
    source = laid(whole, next(module.parameters()).device)
    with torch.inference_mode():
        cache = net.begin(source, room)
    rows = [place for place in range(len(ids)) for _ in range(n)]
    return requests, read(net, requests, cache if n == 1 else cache.take(rows))


def search(
    net: Any, words: Words | None, prompts: Sequence[Prompt], settings: How, beams: Beams, n: int
) -> list[Reply]:
    """The best `n` texts that a beam search finds for every prompt; prompt by prompt, best first.

    Raises:
        ValueError: as `generate`; more texts than beams; a temperature, for nothing is drawn.
    """
    if not 1 <= n <= beams.beams:
        raise ValueError(f"n is {n}: a search with {beams.beams} beams finds 1 to {beams.beams}")
    spoken = speaker(net)
    asked, start = opened(net, words, prompts, settings, 1)
    caches = None if start is None else start.cache.take(range(len(asked)))
    out = []
    every = beam(spoken, asked, beams.beams, beams.penalty, start)
    for place, (one, found) in enumerate(zip(asked, every, strict=True)):
        for text in found[:n]:
            said = text.ids if words is None else [i for i in text.ids if i not in apart(words)]
            read_out = "" if words is None else words.decode(said)
            empty = None if caches is None else caches.take([place])
            chances = logprobs(spoken, one.ids, text.ids, empty)
            out.append(Reply(read_out, text.ids, chances, "end" if text.ended else "length"))
    return out


class Chat:
    """A conversation whose tokens are kept: a new turn reads only what is new, pictures included.

    Args:
        net: what says the tokens.
        name: of the chat template.
        sight: what reads pictures; None: nothing does.
    """

    def __init__(self, net: Any, words: Words | None, name: str | None, sight: Sight | None = None):
        if words is None:
            raise ValueError("this model has no tokenizer, so it cannot be talked with")
        self.net, self.words, self.template = speaker(net), words, template_of(name)
        self.sight, self.stop = sight, stops(name)
        self.kept: tuple[list[Key], Cache] | None = None
        self.read = 0  # tokens that the last turn had to read

    def stream(self, messages: Any, settings: How, stop: Sequence[str] = ()) -> Iterator[Bit]:
        """The assistant's next turn, piece by piece.

        Raises:
            DataError: the conversation is not sound (see `data.conversations.pictured`), or shows
                pictures to a model that reads none.
            MediaError: a picture cannot be read.
            ValueError: it is too long for the model.
        """
        said, images = pictured(messages)
        if images and self.sight is None:
            raise DataError("the conversation shows a picture, and this model reads text only")
        patches = 0 if self.sight is None else self.sight.patches
        pixels = [] if self.sight is None else self.sight.pixels(images)
        made = encode_pictured(self.template.parts(said, True), self.words, patches)
        keys = keyed(made, pixels, patches)
        request = Request(made.ids, settings, endings(self.words, self.template.ends))
        cache = self._same(keys, made.holes, patches)
        self.read = len(keys) - (cache.lengths[0] if cache is not None else 0)
        if self.sight is None:
            start = read(self.net, [request], cache)
        else:
            start = self.sight.begin(request, made, pixels, cache)
        self.kept = None  # until it is whole again
        strip = True
        for bit in say(self.net, self.words, [request], (*stop, *self.stop), start):
            text = bit.text.lstrip() if strip else bit.text
            strip = strip and not text
            reply = bit.reply
            if reply is not None:
                spoken = [*keys, *reply.ids]
                self.kept = spoken[: start.cache.lengths[0]], start.cache
                reply = reply._replace(text=reply.text.strip())
            yield Bit(0, text, reply)

    def _same(self, keys: list[Key], holes: Sequence[int], patches: int) -> Cache | None:
        """The cache, back to the beginning that it shares with these; None: none is shared."""
        if self.kept is None:
            return None
        old, cache = self.kept
        same = 0
        for a, b in zip(old, keys[:-1], strict=False):
            if a != b:
                break
            same += 1
        same = whole(same, holes, patches)
        if not same:
            return None
        cache.rewind([same])
        return cache
