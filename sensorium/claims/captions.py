"""Noisy captions of drawn scenes: templates, synonyms, words left out, chatter, errors."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

# what may be said of each value of each attribute; the first word is the class name's
WORDS = {
    "texture": (("plain", "solid", "smooth"), ("striped", "lined", "banded")),
    "colour": (
        ("red", "crimson", "scarlet"),
        ("green", "emerald", "lime"),
        ("blue", "azure", "navy"),
        ("yellow", "golden", "amber"),
    ),
    "shape": (
        ("disc", "circle", "ball"),
        ("square", "box", "block"),
        ("triangle", "wedge", "pyramid"),
        ("cross", "plus", "crosshair"),
    ),
    "side": (("left", "west"), ("right", "east")),
}
TEMPLATES = (
    "a photo of a {texture} {colour} {shape} on the {side}",
    "a {colour} {shape} , {texture} , to the {side}",
    "{side} : one {texture} {shape} in {colour}",
    "my {colour} {texture} {shape} at the {side}",
    "there is a {shape} , {texture} and {colour} , on the {side} side",
    "picture of some {texture} {shape} , {colour} , {side} of the middle",
    "look {side} , a {colour} {shape} with a {texture} face",
    "the {shape} is {colour} and {texture} and stands {side}",
)
CHAT = """
summer holiday sale vintage cheap new best home garden party gift idea kids school print art
design wall poster sticker logo icon vector stock free download image wallpaper background hd
large small cute modern retro classic style fashion shop online store brand original handmade
craft paper wood metal glass stone water sky sun rain snow city street travel trip beach
mountain lake river forest animal bird cat dog fish food cake coffee tea music dance game sport
ball team win love happy fun cool nice great amazing awesome
"""
FILLERS = tuple(CHAT.split())
CHOICE = {3: (0.6, 0.25, 0.15), 2: (0.7, 0.3)}  # how often each synonym is said
OMITTED = 0.25  # each attribute is left out that often
WRONG = 0.1  # captions that belong to another scene
RARER = tuple(1 / rank for rank in range(1, len(FILLERS) + 1))  # Zipf's law
CHATTER = 6  # at most so many fillers, behind or before the sentence
ANYTHING = {"texture": "", "colour": "", "shape": "thing", "side": "spot"}


class Attributes(NamedTuple):
    """One scene in words: an index into each row of WORDS."""

    texture: int
    colour: int
    shape: int
    side: int


CLASSES = tuple(
    Attributes(t, c, s, p) for t in range(2) for c in range(4) for s in range(4) for p in range(2)
)


def name(of: Attributes) -> dict[str, str]:
    """The words of a class's name, one an attribute."""
    return {key: WORDS[key][value][0] for key, value in of._asdict().items()}


def label(of: Attributes) -> str:
    """The bare class name."""
    return " ".join(name(of).values())


def prompt(of: Attributes, template: str) -> str:
    """The class name in a template."""
    return template.format(**name(of))


def caption(of: Attributes, others: Sequence[Attributes], rng: Random) -> str:
    """What somebody might have written under the picture; a wrong one is of one of `others`."""
    if rng.random() < WRONG:
        of = rng.choice(others)
    said = {}
    for key, value in of._asdict().items():
        options = WORDS[key][value]
        (word,) = rng.choices(options, CHOICE[len(options)])
        said[key] = ANYTHING[key] if rng.random() < OMITTED else word
    words = rng.choice(TEMPLATES).format(**said).split()
    chatter = rng.choices(FILLERS, RARER, k=rng.randint(0, CHATTER))
    cut = rng.randint(0, len(chatter))
    return " ".join([*chatter[:cut], *words, *chatter[cut:]])


class Vocabulary:
    """Whole words to ids: 0 starts a text, 1 ends it, then every word a caption can hold."""

    START, END = 0, 1

    def __init__(self) -> None:
        words = {word for rows in WORDS.values() for row in rows for word in row}
        words |= {word for text in TEMPLATES for word in text.split() if "{" not in word}
        words |= {word for word in ANYTHING.values() if word} | set(FILLERS)
        self.ids = {word: place + 2 for place, word in enumerate(sorted(words))}

    def __len__(self) -> int:
        return len(self.ids) + 2

    def encode(self, text: str) -> list[int]:
        """The words' ids, without start and end.

        Raises:
            ValueError: a word that no caption holds.
        """
        words = text.split()
        unknown = [word for word in words if word not in self.ids]
        if unknown:
            raise ValueError(f"the vocabulary of captions has no word {unknown[0]!r}")
        return [self.ids[word] for word in words]
