"""Masked words: which word stood here? (MLM, Devlin et al. 2018, section 3.1)

Each candidate is chosen with chance 0.15; of the chosen 80% become [MASK], 10% a random word, 10%
stay; the loss is over all chosen. What differs from system to system is data: see `Rule`.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.objectives.passes import Case, head, wide
from sensorium.objectives.rows import samples
from sensorium.types import Fused, Fuses, Ids


class Vocabulary(NamedTuple):
    """What masking must know of a tokenizer.

    `mask` is [MASK]; ids in `never` ([CLS], [SEP], [PAD]) are never chosen; a random word is one of
    the ids from `first` to before `last`; `goes_on` marks the ids that go on a word ("##ing"),
    needed for whole words alone.
    """

    mask: int
    never: tuple[int, ...]
    first: int
    last: int
    goes_on: tuple[int, ...] = ()


class Rule(NamedTuple):
    """How words are chosen and what becomes of them.

    `whole`: all pieces of a word or none. `least`: of a text of which nothing was chosen, the first
    candidate becomes [MASK]. `padded`: not by chance but by number: words are taken in random order
    until a `share` of so many tokens is reached (the collator that ViLT uses, on texts padded to
    that length). `right`: only in texts that belong to their picture. `kind`: only this segment.
    """

    share: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole: bool = False
    least: bool = False
    padded: int | None = None
    right: bool = False
    kind: int | None = None


VISUALBERT = Rule()  # of both captions, the wrong one too
VILBERT = LXMERT = Rule()  # of wrong captions too
VILBERT_MULTI_TASK = Rule(right=True)
UNITER = Rule(least=True)  # the random word is one from "!" on: `Vocabulary.first`
VILT = Rule(whole=True, padded=40)
ALBEF = Rule()


class Hidden(NamedTuple):
    """Places in `text.ids`, and the ids that stood there."""

    place: Int[Tensor, " m"]
    label: Int[Tensor, " m"]


class WordLogits(NamedTuple):
    """One number a word of the vocabulary, for each place."""

    x: Float[Tensor, "m v"]


class MaskedWords:
    """A part of a pass: cross-entropy of the hidden words, a mean over them.

    Args:
        name: of the head, which reads the words' states, and of the loss.
    """

    def __init__(self, words: Vocabulary, rule: Rule = VISUALBERT, name: str = "mlm"):
        self.words, self.rule, self.name = words, rule, name

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, Hidden]:
        where = case.pairs() if self.rule.right else None
        text, asked = hide_words(case.of.text, self.words, self.rule, g, where)
        return case._replace(of=case.of._replace(text=text)), asked

    def count(self, asked: Hidden) -> dict[str, int]:
        return {self.name: len(asked.place)}

    def read(self, net: Fuses, said: Fused, asked: Hidden) -> WordLogits:
        return WordLogits(head(net, self.name)(said.text.x.flatten(0, 1)[asked.place]))

    def mark(self, answer: WordLogits, asked: Hidden) -> dict[str, Tensor]:
        return {self.name: F.cross_entropy(wide(answer.x), asked.label, reduction="sum")}


def hide_words(
    text: Ids,
    words: Vocabulary,
    rule: Rule,
    g: torch.Generator,
    where: Bool[Tensor, " b"] | None = None,
) -> tuple[Ids, Hidden]:
    """The texts with hidden words, and what stood there; `where` are the texts it may happen in."""
    ids = text.ids[: int(text.lengths.sum())]
    may = candidates(text, words, rule, where)
    chosen, only_mask = choose(text, may, words, rule, g)
    fate = torch.rand(len(ids), generator=g).to(ids.device)
    new = torch.randint(words.first, words.last, (len(ids),), generator=g).to(ids.device)
    masked = chosen & ((fate < rule.mask) | only_mask)
    swapped = chosen & ~masked & (fate < rule.mask + rule.random)
    hidden = torch.where(masked, words.mask, torch.where(swapped, new, ids))
    place = chosen.nonzero()[:, 0]
    # ids behind the last text belong to none and stay
    whole = torch.cat([hidden, text.ids[len(ids) :]])
    return text._replace(ids=whole), Hidden(place, ids[place])


def candidates(
    text: Ids, words: Vocabulary, rule: Rule, where: Bool[Tensor, " b"] | None
) -> Bool[Tensor, " t"]:
    """The tokens that may be hidden."""
    ids = text.ids[: int(text.lengths.sum())]
    may = ~torch.isin(ids, torch.tensor(words.never, device=ids.device))
    if rule.kind is not None and text.kind is not None:
        may &= text.kind[: len(ids)] == rule.kind
    if where is not None:
        may &= where[samples(text.lengths)]
    return may


def choose(
    text: Ids, may: Bool[Tensor, " t"], words: Vocabulary, rule: Rule, g: torch.Generator
) -> tuple[Bool[Tensor, " t"], Bool[Tensor, " t"]]:
    """The tokens that are hidden, and those of them that become [MASK] whatever is drawn."""
    word = word_of(text, may, words) if rule.whole else torch.arange(len(may), device=may.device)
    draw = torch.rand(len(may), generator=g).to(may.device)
    if rule.padded is not None:
        return counted(text, may, word, rule, g), torch.zeros_like(may)
    chosen = may & (draw[word] < rule.share)
    only_mask = torch.zeros_like(may)
    if rule.least:
        only_mask = first_of(text, may) & ~has_any(text, chosen)[samples(text.lengths)]
        chosen |= only_mask
    return chosen, only_mask


def word_of(text: Ids, may: Bool[Tensor, " t"], words: Vocabulary) -> Int[Tensor, " t"]:
    """The place of the first piece of each token's word."""
    ids = text.ids[: len(may)]
    goes_on = torch.isin(ids, torch.tensor(words.goes_on, device=ids.device, dtype=ids.dtype))
    goes_on &= may & may.roll(1) & (text.pos[: len(may)] > 0)
    here = torch.arange(len(ids), device=ids.device)
    return here.masked_fill(goes_on, 0).cummax(0).values


def counted(
    text: Ids,
    may: Bool[Tensor, " t"],
    word: Int[Tensor, " t"],
    rule: Rule,
    g: torch.Generator,
) -> Bool[Tensor, " t"]:
    """Words in random order until the number of tokens is reached; those too long are passed over.

    Texts count as padded to `rule.padded` tokens: the padding is drawn like words of one piece.
    """
    longest = max(rule.padded or 0, 1)
    draw = torch.rand(len(may), generator=g)
    filling = torch.rand(len(text.lengths), longest, generator=g)
    chosen = torch.zeros(len(may), dtype=torch.bool)
    may_, word_, draw_ = may.tolist(), word.tolist(), draw.tolist()
    end = 0
    for length, empty in zip(text.lengths.tolist(), filling, strict=True):
        start, end = end, end + length
        pieces: dict[int, list[int]] = {}
        for i in range(start, end):
            if may_[i]:
                pieces.setdefault(word_[i], []).append(i)
        line = [(draw_[first], own) for first, own in pieces.items()]
        line += [(at, []) for at in empty[: max(0, longest - length)].tolist()]
        room = max(1, round(max(length, longest) * rule.share))
        for _, own in sorted(line):
            if room >= max(len(own), 1):
                room -= max(len(own), 1)
                chosen[own] = True
    return chosen.to(may.device)


def first_of(text: Ids, may: Bool[Tensor, " t"]) -> Bool[Tensor, " t"]:
    """Of each text the first candidate."""
    before = may.long().cumsum(0) - may.long()  # candidates before this token, in all texts
    starts = text.lengths.cumsum(0) - text.lengths
    return may & (before == before[starts][samples(text.lengths)])


def has_any(text: Ids, chosen: Bool[Tensor, " t"]) -> Bool[Tensor, " b"]:
    """The texts of which a token was chosen."""
    count = torch.zeros_like(text.lengths)
    return count.index_add(0, samples(text.lengths), chosen.long()) > 0
