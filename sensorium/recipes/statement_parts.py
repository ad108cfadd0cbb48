"""The words of statements about coloured shapes, and what one box or tower is said to hold.

See `statements`: each part of a sentence comes with the test of what it says.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

COLOURS = ("yellow", "blue", "black")
SHAPES = ("square", "circle", "triangle")
SIDE = 100.0  # pixels of a box's side
BLOCK = 20.0  # pixels of a block's side
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")


class Thing(NamedTuple):
    """A shape and where it lies in its box, in pixels."""

    colour: str
    shape: str
    box: tuple[float, float, float, float]

    @property
    def size(self) -> float:
        return self.box[2] - self.box[0]


Group = tuple[Thing, ...]
Scene = tuple[Group, ...]
Draw = np.random.Generator


class Kind(NamedTuple):
    """Things of a kind: its words and its test."""

    one: str
    many: str
    fits: Callable[[Thing], bool]

    def count(self, things: Sequence[Thing]) -> int:
        return sum(map(self.fits, things))


class Count(NamedTuple):
    """How many: the words, whether they are of one, and the test of a number."""

    words: str
    single: bool
    fits: Callable[[int], bool]


class Holds(NamedTuple):
    """What is said of one box or tower: "... a blue block at the top"; its words, its test, and
    which things of a box or tower it speaks of."""

    words: str
    fits: Callable[[Group], bool]
    meant: Callable[[Group], list[bool]]


def each(fits: Callable[[Thing], bool]) -> Callable[[Group], list[bool]]:
    """Those things that pass a test."""
    return lambda group: [fits(one) for one in group]


def at(levels: Sequence[int], colours: Sequence[str]) -> Callable[[Group], list[bool]]:
    """What lies at these places from below (negative: from above) and has the place's colour."""

    def meant(group: Group) -> list[bool]:
        out = [False] * len(group)
        for level, colour in zip(levels, colours, strict=True):
            if -len(group) <= level < len(group) and group[level].colour == colour:
                out[level] = True
        return out

    return meant


T = TypeVar("T")


# --- words ----------------------------------------------------------------------------------------


def pick(rng: Draw, of: Sequence[T]) -> T:
    """One of them."""
    return of[int(rng.integers(len(of)))]


def number(rng: Draw, n: int) -> str:
    """A number as a word or in figures."""
    return NUMBERS[n] if rng.random() < 0.5 else str(n)


def kind(rng: Draw, tower: bool, coloured: float = 0.8) -> Kind:
    """Things of a colour, of a shape, or any."""
    colour = pick(rng, COLOURS) if rng.random() < coloured else ""
    shape, noun, size = "", pick(rng, ("item", "object")), 0
    if tower:
        noun = pick(rng, ("block", "block", "block", "item", "object"))
    elif rng.random() < 0.6:
        noun = shape = pick(rng, SHAPES)
        size = pick(rng, (10, 20, 30)) if rng.random() < 0.1 else 0
    sized = {0: "", 10: "small ", 20: "medium ", 30: "big "}[size]
    words = f"{sized}{colour} {noun}".strip()

    def fits(one: Thing) -> bool:
        right = (not colour or one.colour == colour) and (not shape or one.shape == shape)
        return right and (not size or one.size == size)

    return Kind(words, words + "s", fits)


def amount(rng: Draw, most: int) -> Count:
    """How many of something there are."""
    n = int(rng.integers(1, most + 1))
    said = number(rng, n)
    way = int(rng.integers(6))
    if way == 0 or (way == 1 and n == 1):
        return Count(pick(rng, ("a", "at least one", "at least 1")), True, lambda k: k >= 1)
    if way == 1:
        return Count(f"at least {said}", n == 1, lambda k: k >= n)
    if way == 2:
        return Count(f"exactly {said}", n == 1, lambda k: k == n)
    if way == 3:
        return Count(f"only {said}", n == 1, lambda k: k == n)
    if way == 4 and rng.random() < 0.4:
        return Count("no", True, lambda k: k == 0)
    return Count(said, n == 1, lambda k: k == n)


def counted(many: Count, of: Kind) -> str:
    """So many of a kind, in words."""
    return f"{many.words} {of.one if many.single else of.many}"


def there(many: Count, words: str) -> str:
    """That there are so many."""
    return f"there {'is' if many.single else 'are'} {words}"


def being(many: Count) -> str:
    """`is` of one, `are` of several."""
    return "is" if many.single else "are"


# --- where a thing lies ---------------------------------------------------------------------------


def place(rng: Draw, tower: bool) -> tuple[str, Callable[[Thing], bool]]:
    """What is touched."""
    wall = pick(rng, ("the wall", "the edge", "any edge", "an edge", "the side"))
    low = pick(rng, ("the base", "the bottom", "the bottom of a box", "the bottom edge"))
    corner = pick(rng, ("a corner", "the corner", "a corner of a box"))
    ways: list[tuple[str, Callable[[Thing], bool]]] = [
        (wall, lambda one: any(touched(one))),
        (low, lambda one: touched(one)[3]),
        (corner, cornered),
        ("right wall of a box", lambda one: touched(one)[2]),
        ("left wall of a box", lambda one: touched(one)[0]),
        ("the top of a box", lambda one: touched(one)[1]),
    ]
    return ways[int(rng.choice(len(ways), p=(0.45, 0.25, 0.18, 0.05, 0.03, 0.04)))]


def touched(one: Thing) -> tuple[bool, bool, bool, bool]:
    """Whether it touches its box on the left, above, on the right, below."""
    x1, y1, x2, y2 = one.box
    return x1 <= 0, y1 <= 0, x2 >= SIDE, y2 >= SIDE


def cornered(one: Thing) -> bool:
    """Whether it touches two sides that meet."""
    left, above, right, below = touched(one)
    return (left or right) and (above or below)


def where(rng: Draw, tower: bool) -> tuple[str, Callable[[Thing], bool]]:
    """Touching something, or not."""
    words, fits = place(rng, tower)
    if rng.random() < 0.25:
        return f"not touching {words}", lambda one: not fits(one)
    return f"{pick(rng, ('', '', 'closely '))}touching {words}", fits


# --- what one box or tower holds ------------------------------------------------------------------


def holds(rng: Draw, tower: bool) -> Holds:
    """One thing that may be said of a box."""
    return pick(rng, INSIDE_TOWERS if tower else INSIDE_BOXES)(rng, tower)


def some(rng: Draw, tower: bool) -> Holds:
    """So many of a kind."""
    of, many = kind(rng, tower), amount(rng, 4)
    return Holds(counted(many, of), lambda group: many.fits(of.count(group)), each(of.fits))


def so_many(rng: Draw, tower: bool) -> Holds:
    """So many things in all."""
    of, many = kind(rng, tower, 0.0), amount(rng, 4 if tower else 7)
    noun = "block" if tower else pick(rng, ("item", "object"))
    of = Kind(noun, noun + "s", lambda one: True)
    return Holds(counted(many, of), lambda group: many.fits(len(group)), each(of.fits))


def two_kinds(rng: Draw, tower: bool) -> Holds:
    """Some of a kind and some of another."""
    first, second = some(rng, tower), some(rng, tower)
    return Holds(
        f"{first.words} and {second.words}",
        lambda group: first.fits(group) and second.fits(group),
        lambda group: [
            a or b for a, b in zip(first.meant(group), second.meant(group), strict=True)
        ],
    )


def of_which(rng: Draw, tower: bool) -> Holds:
    """So many things, some of them of a colour."""
    n, k, colour = int(rng.integers(1, 6)), int(rng.integers(1, 4)), pick(rng, COLOURS)
    part = amount(rng, k)
    noun = pick(rng, ("blocks", "items") if tower else ("items", "objects"))
    words = f"{number(rng, n)} {noun} of which {part.words} {being(part)} {colour}"
    return Holds(
        words,
        lambda group: len(group) == n and part.fits(sum(one.colour == colour for one in group)),
        each(lambda one: one.colour == colour),
    )


def only(rng: Draw, tower: bool) -> Holds:
    """Nothing but things of one colour, or of two."""
    noun = pick(rng, ("blocks", "items") if tower else ("items", "objects"))
    colours = [pick(rng, COLOURS)]
    if rng.random() < 0.5:
        colours = [COLOURS[i] for i in rng.permutation(3)[:2]]
    said = " and ".join(colours)
    words = pick(rng, (f"only {said} {noun}", f"{noun} of only {said} color"))
    return Holds(
        words,
        lambda group: {one.colour for one in group} == set(colours),
        each(lambda one: one.colour in colours),
    )


def colours_of(rng: Draw, tower: bool) -> Holds:
    """Things of so many colours."""
    n = int(rng.integers(1, 4))
    noun = pick(rng, ("blocks", "items") if tower else ("items", "objects"))
    same, all3 = f"{noun} of the same color", f"{noun} of all {number(rng, 3)} different colors"
    words = same if n == 1 else all3 if n == 3 else f"{noun} of {number(rng, 2)} different colors"
    return Holds(
        words, lambda group: len({one.colour for one in group}) == n, each(lambda one: True)
    )


def touching(rng: Draw, tower: bool) -> Holds:
    """So many of a kind that touch something."""
    of, many = kind(rng, tower), amount(rng, 3)
    words, fits = where(rng, tower)
    return Holds(
        f"{counted(many, of)} {words}",
        lambda group: many.fits(sum(of.fits(one) and fits(one) for one in group)),
        each(lambda one: of.fits(one) and fits(one)),
    )


def on_top(rng: Draw, tower: bool) -> Holds:
    """The highest thing is of a kind."""
    of = kind(rng, tower, 1.0)
    words = pick(rng, (f"a {of.one} on top", f"a {of.one} at the top"))
    return Holds(
        words,
        lambda group: bool(group) and of.fits(group[-1]),
        lambda group: [of.fits(one) and one is group[-1] for one in group],
    )


def at_level(rng: Draw, tower: bool) -> Holds:
    """A block of a colour at a place of the tower."""
    colour = pick(rng, COLOURS)
    noun = pick(rng, ("block", "block", "item"))
    ends = (("at the base", 0), ("as base", 0), ("at the top", -1), ("on the top", -1))
    inner = (("in the middle", None), ("as second block", 1), ("as third block", 2))
    words, level = pick(rng, (*ends, *ends, *inner))

    def fits(group: Group) -> bool:
        if level is None:
            return any(one.colour == colour for one in group[1:-1])
        return len(group) > max(level, 0) and group[level].colour == colour

    def meant(group: Group) -> list[bool]:
        inner = range(1, len(group) - 1) if level is None else (level,)
        return at(inner, [colour] * len(inner))(group)

    return Holds(f"a {colour} {noun} {words}", fits, meant)


def both_ends(rng: Draw, tower: bool) -> Holds:
    """The colours of top and base."""
    a, b = pick(rng, COLOURS), pick(rng, COLOURS)
    words = (f"a {a} block at the top and a {b} block at the base",)
    words += (f"a {b} block at the base and a {a} block at the top",)
    return Holds(
        pick(rng, words),
        lambda group: bool(group) and group[-1].colour == a and group[0].colour == b,
        at((-1, 0), (a, b)),
    )


def upon(rng: Draw, tower: bool) -> Holds:
    """A block directly above another."""
    words, fits = pair(rng)
    return Holds(f"a {words}", lambda group: adjoining(group, fits) > 0, paired_up(fits))


def pair(rng: Draw) -> tuple[str, Callable[[str, str], bool]]:
    """A block above or below another: the words, and the test of (upper, lower) colours."""
    a, b = pick(rng, COLOURS), pick(rng, COLOURS)
    if rng.random() < 0.75:
        how = pick(rng, ("above", "over", "on", "on top of"))
        return f"{a} block {how} a {b} block", lambda up, low: (up, low) == (a, b)
    return f"{a} block below a {b} block", lambda up, low: (up, low) == (b, a)


def adjoining(group: Group, fits: Callable[[str, str], bool]) -> int:
    """How many neighbours of a tower are so."""
    return sum(fits(up.colour, low.colour) for low, up in pairwise(group))


def paired_up(fits: Callable[[str, str], bool]) -> Callable[[Group], list[bool]]:
    """The blocks of such neighbours."""

    def meant(group: Group) -> list[bool]:
        right = [fits(up.colour, low.colour) for low, up in pairwise(group)]
        return [a or b for a, b in zip([*right, False], [False, *right], strict=True)][: len(group)]

    return meant


def stacked(rng: Draw, tower: bool) -> Holds:
    """Two or three blocks of a colour directly upon each other."""
    n, colour = int(rng.integers(2, 4)), pick(rng, COLOURS)
    at_base = rng.random() < 0.3
    words = f"{number(rng, n)} {colour} blocks {'at the base' if at_base else 'stacked together'}"

    def fits(group: Group) -> bool:
        runs = [group[i : i + n] for i in range(1 if at_base else len(group))]
        return any(len(r) == n and all(one.colour == colour for one in r) for r in runs)

    def meant(group: Group) -> list[bool]:
        out = [False] * len(group)
        for i in range(1 if at_base else len(group)):
            if fits(group[i : i + n]):
                out[i : i + n] = [True] * n
        return out

    return Holds(words, fits, meant)


def tall(rng: Draw, tower: bool) -> Holds:
    """So many blocks, and something else of them."""
    n, rest = int(rng.integers(1, 5)), pick(rng, (at_level, only, colours_of, some))(rng, tower)
    exactly = pick(rng, ("", "exactly "))
    noun = "block" if n == 1 else "blocks"
    words = f"{exactly}{number(rng, n)} {noun} {pick(rng, ('with', 'having'))} {rest.words}"
    return Holds(words, lambda group: len(group) == n and rest.fits(group), rest.meant)


INSIDE_TOWERS = (
    *(at_level, at_level, at_level, upon, upon, some, some, so_many, so_many),
    *(tall, tall, only, colours_of, two_kinds, stacked, both_ends, of_which, on_top),
)
INSIDE_BOXES = (
    *(some, some, some, so_many, so_many, two_kinds, two_kinds, of_which, of_which),
    *(only, colours_of, touching, touching, on_top),
)
