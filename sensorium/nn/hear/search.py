"""Transcripts of windows of sound: greedy, drawn, or by beam search as Whisper's code has it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.generate.speaks import laid
from sensorium.nn.hear.rules import Rules
from sensorium.nn.slots import Cache, Kept
from sensorium.types import Ids


@runtime_checkable
class Hears(Protocol):
    """Encodes spectrograms, and scores what is said of them."""

    @property
    def length(self) -> int: ...
    def encode(self, mel: Float[Tensor, "b m f"]) -> Float[Tensor, "b n d"]: ...
    def listen(self, memory: Float[Tensor, "b n d"], room: int) -> Cache: ...
    def states_of(self, text: Ids, cache: Cache) -> Float[Tensor, "t d"]: ...
    def scores(self, states: Float[Tensor, "t d"]) -> Float[Tensor, "t v"]: ...
    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]: ...


class Said(NamedTuple):
    """What was said in a window.

    Attributes:
        ids: text and timestamps, without what ends them.
        total: the sum of log p, of the end too where it was reached.
        no_speech: the probability that nothing was said.
    """

    ids: list[int]
    total: float
    no_speech: float

    @property
    def mean(self) -> float:
        """log p a token, the end counted."""
        return self.total / (len(self.ids) + 1)


class Search(NamedTuple):
    """How a window is searched.

    Attributes:
        temperature: 0 takes the likeliest token; above it tokens are drawn.
        beams: texts kept at a time, where the temperature is 0; 1: greedy.
        best_of: texts drawn, where the temperature is above 0; the likeliest is given.
        patience: finished texts wanted, as a multiple of `beams` (Kasai et al. 2022).
        alpha: of the length penalty ((5 + n) / 6)^alpha (Wu et al. 2016); None: the mean.
        most: tokens at most; None: half of the context.
        seed: of the draws.
    """

    temperature: float = 0.0
    beams: int = 1
    best_of: int = 1
    patience: float = 1.0
    alpha: float | None = None
    most: int | None = None
    seed: int = 0


GREEDY = Search()


@torch.inference_mode()
def transcripts(
    net: Hears,
    memory: Float[Tensor, "b n d"],
    prompts: Sequence[Sequence[int]],
    rules: Rules,
    how: Search = GREEDY,
) -> list[Said]:
    """What is said in each window, behind its prompt; windows together are what they are alone.

    Raises:
        ValueError: a prompt without the token that starts a transcript, or longer than the context.
    """
    most = how.most or net.length // 2
    for prompt in prompts:
        if rules.marks.sot not in prompt or len(prompt) >= net.length:
            raise ValueError(f"a prompt of {len(prompt)} tokens for a context of {net.length}")
    room = min(net.length, max(map(len, prompts)) + most) + 1
    cache = net.listen(memory, room)
    states = net.states_of(laid(prompts, memory.device), cache)
    ends = torch.tensor([len(p) for p in prompts]).cumsum(0)
    starts = [
        int(e) - len(p) + p.index(rules.marks.sot) for e, p in zip(ends, prompts, strict=True)
    ]
    silence = net.scores(states[starts]).float().softmax(-1)[:, rules.marks.no_speech].tolist()
    scores = net.scores(states[ends - 1])
    if how.temperature == 0 and how.beams > 1:
        found = []
        for row, prompt in enumerate(prompts):
            hunt = _Beams(prompt, rules, how, min(most, net.length + 1 - len(prompt)))
            found.append(hunt.run(net, shared(cache, [row], how.beams), scores[row]))
    elif how.temperature > 0 and how.best_of > 1:
        found = []
        for row, prompt in enumerate(prompts):
            own = shared(cache, [row], how.best_of)
            many = [prompt] * how.best_of
            drawn = _sampled(net, own, scores[row].repeat(how.best_of, 1), many, rules, how)
            found.append(drawn[best([d[0] for d in drawn], [d[1] for d in drawn], how.alpha)])
    else:
        found = _sampled(net, cache, scores, prompts, rules, how)
    return [Said(ids, total, s) for (ids, total), s in zip(found, silence, strict=True)]


def shared(cache: Cache, rows: Sequence[int], times: int) -> Cache:
    """A row of the cache so many times; its memory is not copied."""
    index = [row for row in rows for _ in range(times)]
    cross = cache.cross
    own = Cache(cache.layers, cache.lengths).take(index)
    own.cross = [Kept(*(t[rows[0]].expand(times, *t.shape[1:]) for t in one)) for one in cross]
    return own


def permuted(cache: Cache, index: Sequence[int]) -> Cache:
    """The texts in another order; all read the same memory, which stays."""
    if list(index) == list(range(len(cache.lengths))):
        return cache
    own = Cache(cache.layers, cache.lengths).take(index)
    own.cross = [Kept(*(t[: len(index)] for t in one)) for one in cache.cross]
    return own


def best(texts: Sequence[Sequence[int]], totals: Sequence[float], alpha: float | None) -> int:
    """The place of the best text by its log p over its length, the end not counted."""

    def score(total: float, length: int) -> float:
        over = length if alpha is None else ((5 + length) / 6) ** alpha
        return total / over if over else (float("-inf") if total < 0 else float("nan"))

    return int(np.argmax([score(t, len(ids)) for t, ids in zip(totals, texts, strict=True)]))


def _sampled(
    net: Hears,
    cache: Cache,
    scores: Float[Tensor, "b v"],
    prompts: Sequence[Sequence[int]],
    rules: Rules,
    how: Search,
) -> list[tuple[list[int], float]]:
    """Every row by itself, the likeliest token or a drawn one; rows that end leave."""
    eot, most = rules.marks.eot, how.most or net.length // 2
    dice = torch.Generator(device=scores.device).manual_seed(how.seed)
    said: list[list[int]] = [[] for _ in prompts]
    totals = [0.0] * len(prompts)
    live = list(range(len(prompts)))
    while live:
        allowed = rules(scores, [said[row] for row in live]).float()
        if how.temperature == 0:
            tokens = allowed.argmax(-1)
        else:
            shares = (allowed / how.temperature).softmax(-1)
            tokens = torch.multinomial(shares, 1, generator=dice)[:, 0]
        chances = allowed.gather(1, tokens[:, None])[:, 0] - allowed.logsumexp(-1)
        kept = []
        for place, (row, token, chance) in enumerate(
            zip(live, tokens.tolist(), chances.tolist(), strict=True)
        ):
            totals[row] += chance
            if token == eot:
                continue
            said[row].append(token)
            if len(said[row]) < most and len(prompts[row]) + len(said[row]) <= net.length:
                kept.append(place)
        if 0 < len(kept) < len(live):
            cache = cache.take(kept)
        live = [live[place] for place in kept]
        if live:
            scores = net.extend(laid([said[row][-1:] for row in live], scores.device), cache)
    return list(zip(said, totals, strict=True))


class _Beams:
    """The search of one window: as many texts that go on, and those that ended."""

    def __init__(self, prompt: Sequence[int], rules: Rules, how: Search, most: int):
        self.rules, self.how, self.most = rules, how, most
        self.wanted = max(1, round(how.beams * how.patience))
        self.ended: dict[tuple[int, ...], float] = {}

    def run(self, net: Hears, cache: Cache, first: Float[Tensor, " v"]) -> tuple[list[int], float]:
        """The best text and its log p."""
        beams, eot = self.how.beams, self.rules.marks.eot
        texts: list[tuple[int, ...]] = [()] * beams
        totals = np.zeros(beams, np.float32)
        scores = first.repeat(beams, 1)
        for _ in range(self.most):
            allowed = self.rules(scores, texts).float().log_softmax(-1)
            top = allowed.topk(beams + 1)
            found: dict[tuple[int, ...], tuple[np.float32, int]] = {}
            for row, (chances, tokens) in enumerate(
                zip(top.values.numpy(force=True), top.indices.tolist(), strict=True)
            ):
                for chance, token in zip(chances, tokens, strict=True):
                    found[(*texts[row], token)] = (totals[row] + chance, row)
            self._advance(found, texts, totals)
            index = self.index
            if len(self.ended) >= self.wanted:
                break
            cache = permuted(cache, index)
            scores = net.extend(laid([text[-1:] for text in texts], scores.device), cache)
        if len(self.ended) < beams:
            for row in np.argsort(totals)[::-1]:
                self.ended[(*texts[row], eot)] = float(totals[row])
                if len(self.ended) >= beams:
                    break
        ids = [list(text[: text.index(eot)]) for text in self.ended]
        sums = list(self.ended.values())
        place = best(ids, sums, self.how.alpha)
        return ids[place], sums[place]

    def _advance(
        self,
        found: dict[tuple[int, ...], tuple[np.float32, int]],
        texts: list[tuple[int, ...]],
        totals: Float[np.ndarray, " k"],
    ) -> None:
        """The best that go on become the texts; of better ones that ended, some."""
        new: list[tuple[int, ...]] = []
        ended: list[tuple[int, ...]] = []
        for text in sorted(found, key=lambda one: found[one][0], reverse=True):
            if text[-1] == self.rules.marks.eot:
                ended.append(text)
                continue
            new.append(text)
            if len(new) == len(texts):
                break
        for text in ended:
            if len(self.ended) < self.wanted:
                self.ended[text] = float(found[text][0])
        self.index = [found[text][1] for text in new]
        texts[:] = new
        totals[:] = [found[text][0] for text in new]


@torch.inference_mode()
def language_chances(
    net: Hears, memory: Float[Tensor, "b n d"], sot: int, languages: Sequence[int]
) -> Float[Tensor, "b l"]:
    """The probability of each language, from its token's score behind the start alone."""
    cache = net.listen(memory, 1)
    scores = net.extend(laid([[sot]] * len(memory), memory.device), cache)
    return scores[:, list(languages)].float().softmax(-1)
