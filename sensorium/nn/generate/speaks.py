"""What a net must offer to be generated from, and what a request is."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.slots import Cache
from sensorium.types import Ids


@runtime_checkable
class Speaks(Protocol):
    """Scores what comes next in texts, reading them piece by piece.

    `length` is the longest text it can read. `extend` reads more of every row behind what the cache
    holds and scores what follows its last token, `extend_all` what follows every token read.
    """

    length: int

    @property
    def vocab(self) -> int: ...
    def blank(self, rows: int, room: int) -> Cache: ...
    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]: ...
    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]: ...


@runtime_checkable
class Rewrites(Speaks, Protocol):
    """Speaks from what an encoder read: `begin` reads texts into a cache, one row for each.

    `start` is the token that every written text begins with.
    """

    start: int

    def begin(self, source: Ids, room: int) -> Cache: ...


class How(NamedTuple):
    """How a text is continued.

    Attributes:
        max_tokens: new tokens at most, 1 or more.
        temperature: 0 takes the most likely token; else scores are divided by it before drawing.
        top_k: only so many most likely tokens are drawn from (ties kept); 0: all.
        top_p: only the most likely tokens are drawn from that together have this probability, the
            one that reaches it included (Holtzman et al. 2019).
        min_p: only tokens at least so likely, as a share of the most likely one's probability.
        repetition: what scores of tokens already in the text are divided by where they are above
            zero, multiplied by below (Keskar et al. 2019, section 4.1).
        seed: of the draws; each request has its own, so that no other changes it.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises ValueError for a value that means nothing."""
        fine = {
            "max_tokens": type(self.max_tokens) is int and self.max_tokens >= 1,
            "temperature": 0 <= self.temperature < 1e6,
            "top_k": type(self.top_k) is int and self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "min_p": 0 <= self.min_p <= 1,
            "repetition": 0 < self.repetition < 1e6,
            "seed": type(self.seed) is int,
        }
        for name, good in fine.items():
            if not good:
                value = self._asdict()[name]
                raise ValueError(f"{name} is {value!r}: it must be {ALLOWED[name]}")


ALLOWED = {
    "max_tokens": "a whole number, at least 1",
    "temperature": "0 (the most likely token) or above",
    "top_k": "0 (all tokens) or more",
    "top_p": "above 0 and at most 1",
    "min_p": "from 0 to 1",
    "repetition": "above 0",
    "seed": "a whole number",
}


class Request(NamedTuple):
    """A text to be continued, and where that ends.

    `ends` are tokens that end it; they are part of what is said.
    """

    ids: Sequence[int]
    how: How = How()
    ends: frozenset[int] = frozenset()


def check(net: Speaks, requests: Sequence[Request]) -> int:
    """The room that the longest request needs, in tokens.

    Raises:
        ValueError: there are no requests; a prompt is empty, has an id outside the vocabulary, or
            is too long for the model together with what is to be said.
    """
    if not requests:
        raise ValueError("nothing to continue: the list of prompts is empty")
    room = 0
    for place, one in enumerate(requests):
        one.how.check()
        if not one.ids:
            raise ValueError(f"prompt {place} is empty: a text must begin with at least one token")
        if min(one.ids) < 0 or max(one.ids) >= net.vocab:
            raise ValueError(f"prompt {place} has ids outside the vocabulary of {net.vocab}")
        whole = len(one.ids) + one.how.max_tokens
        if whole > net.length:
            raise ValueError(
                f"prompt {place} has {len(one.ids)} tokens, and {one.how.max_tokens} more are asked"
                f" for, but the model's context is {net.length}: shorten it or lower max_tokens"
                " (old tokens are not dropped to make room)"
            )
        room = max(room, whole)
    return room


def laid(texts: Sequence[Sequence[int]], device: torch.device) -> Ids:
    """Lists of ids end to end (see `types.Ids`).

    Raises:
        ValueError: one is empty.
    """
    sizes = [len(text) for text in texts]
    if not sizes or min(sizes) < 1:
        raise ValueError("every text needs at least one token")
    ids = torch.tensor([i for text in texts for i in text], device=device)
    lengths = torch.tensor(sizes, device=device)
    n = max(sizes)
    if n == 1:
        place = torch.arange(len(sizes), device=device)
        return Ids(ids, torch.zeros_like(ids), place[:, None], place, lengths)
    starts = lengths.cumsum(0) - lengths
    column = torch.arange(n, device=device)
    rows = starts[:, None] + torch.minimum(column[None], lengths[:, None] - 1)
    text = torch.arange(len(sizes), device=device).repeat_interleave(lengths)
    pos = torch.arange(len(ids), device=device) - starts[text]
    return Ids(ids, pos, rows, text * n + pos, lengths)
