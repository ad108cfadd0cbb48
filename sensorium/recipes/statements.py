"""Statements about scenes of coloured shapes, true or false, drawn by a grammar in nlvr's style.

A scene is three boxes with things in them, the lowest first. Templates follow the sentences of
nlvr's training part; what their words mean was read off how people judged those: "2 towers" are
exactly two, "a" and "at least one" mean one or more, "above" in a tower is directly above.
"""

from collections.abc import Callable
from typing import NamedTuple

from sensorium.recipes.statement_parts import (
    BLOCK,
    COLOURS,
    Draw,
    Group,
    Scene,
    Thing,
    adjoining,
    amount,
    at,
    at_level,
    being,
    counted,
    each,
    holds,
    kind,
    number,
    pair,
    paired_up,
    pick,
    place,
    some,
    there,
    upon,
    where,
)

Mark = tuple[bool, bool]


class Said(NamedTuple):
    """A statement, the test of it, and what it speaks of: of each thing of a scene, box by box,
    whether it is meant, and whether its box is; None: that cannot be said."""

    text: str
    fits: Callable[[Scene], bool]
    marks: Callable[[Scene], list[Mark]] | None = None


def statement(rng: Draw, tower: bool) -> Said:
    """A statement about scenes of towers, or of loose things, and the test of it."""
    frames = TOWERS if tower else LOOSE
    said = frames[int(rng.integers(len(frames)))](rng, tower)
    return said._replace(text=styled(said.text, rng))


def marking(
    group: Callable[[Group], bool], meant: Callable[[Group], list[bool]]
) -> Callable[[Scene], list[Mark]]:
    """Which boxes are meant, and which things in each."""
    return lambda scene: [(thing, group(g)) for g in scene if g for thing in meant(g)]


def marking_things(fits: Callable[[Thing], bool]) -> Callable[[Scene], list[Mark]]:
    """Things that pass a test, and the boxes that hold one."""
    return marking(lambda g: any(map(fits, g)), each(fits))


def towers(scene: Scene) -> bool:
    """Whether the things are blocks that stand upon each other."""
    every = [one for group in scene for one in group]
    alone = all(len({one.box[0] for one in group}) <= 1 for group in scene)
    return alone and all(one.shape == "square" and one.size == BLOCK for one in every)


def styled(text: str, rng: Draw) -> str:
    """As one of many people might write it."""
    text = " ".join(text.split())
    if rng.random() < 0.15:
        text = text.replace("at least", "atleast")
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + "." * int(rng.integers(2))


def boxed(rng: Draw, tower: bool) -> tuple[str, str]:
    """What a box is called, one and many."""
    nouns = (("box", "boxes"), ("grey box", "grey boxes"), ("grey square", "grey squares"))
    return ("tower", "towers") if tower and rng.random() < 0.85 else pick(rng, nouns[:2] + nouns)


def held(rng: Draw, tower: bool) -> Said:
    """There is a box with ..."""
    many, inside, (one, more) = amount(rng, 3), holds(rng, tower), boxed(rng, tower)
    link = pick(rng, ("with", "with", "with", "that has", "which has", "having", "which contains"))
    if not many.single:
        link = link.replace("has", "have").replace("contains", "contain")
    words = f"{many.words} {one if many.single else more} {link} {inside.words}"

    def fits(scene: Scene) -> bool:
        return many.fits(sum(bool(group) and inside.fits(group) for group in scene))

    if rng.random() < 0.15:
        n = int(rng.integers(1, 4))
        whole = f"{pick(rng, ('', 'at least ', 'exactly '))}"
        many_of = (lambda k: k >= n) if whole == "at least " else (lambda k: k == n)
        words = f"{whole}{number(rng, n)} of the {more} has {inside.words}"
        test = lambda scene: many_of(sum(bool(g) and inside.fits(g) for g in scene))  # noqa: E731
        return Said(words, test, marking(inside.fits, inside.meant))
    return Said(there(many, words), fits, marking(inside.fits, inside.meant))


def every(rng: Draw, tower: bool) -> Said:
    """Each box has ..."""
    inside, (one, more) = holds(rng, tower), boxed(rng, tower)
    all3 = (f"all {more} have", f"all {number(rng, 3)} {more} have")
    words = pick(rng, (f"each {one} has", f"every {one} has", *all3))
    if rng.random() < 0.2:
        text = f"there is {inside.words} in {pick(rng, ('every', 'each'))} {one}"
    else:
        text = f"{words} {inside.words}"
    return Said(
        text,
        lambda scene: all(inside.fits(group) for group in scene),
        marking(inside.fits, inside.meant),
    )


def flat(scene: Scene) -> list[Thing]:
    """All things of a scene, box by box."""
    return [one for group in scene for one in group]


def total(rng: Draw, tower: bool) -> Said:
    """There are so many of a kind in all."""
    many, of = amount(rng, 5), kind(rng, tower, 0.95)
    text = there(many, counted(many, of))
    return Said(text, lambda scene: many.fits(of.count(flat(scene))), marking_things(of.fits))


def lying(rng: Draw, tower: bool) -> Said:
    """There are so many of a kind that touch something."""
    many, of, (words, fits) = amount(rng, 4), kind(rng, tower), where(rng, tower)
    said = counted(many, of)
    ways = [there(many, f"{said} {words}"), there(many, f"{said} that {being(many)} {words}")]
    ways.append(f"{said} {being(many)} {words}")

    def both(one: Thing) -> bool:
        return of.fits(one) and fits(one)

    def right(scene: Scene) -> bool:
        return many.fits(sum(map(both, flat(scene))))

    return Said(pick(rng, (ways[0], *ways)), right, marking_things(both))


def none(rng: Draw, tower: bool) -> Said:
    """None of a kind, or all of them, touch something."""
    of, (words, fits) = kind(rng, tower), place(rng, tower)
    marks = marking_things(lambda one: of.fits(one) and fits(one))
    if rng.random() < 0.6:
        text = f"none of the {of.many} are touching {words}"
        return Said(
            text, lambda scene: not any(of.fits(one) and fits(one) for one in flat(scene)), marks
        )
    text = f"all the {of.many} are touching {words}"
    return Said(text, lambda scene: all(fits(one) for one in flat(scene) if of.fits(one)), marks)


def ends(rng: Draw, tower: bool) -> Said:
    """So many blocks of a colour are the top, or the base, of a tower."""
    many, colour, level = amount(rng, 3), pick(rng, COLOURS), pick(rng, (0, -1))
    least, exact = int(rng.integers(1, 5)), rng.random() < 0.4
    any_height = rng.random() < 0.6
    end = "base" if level == 0 else "top"
    block = "block" if many.single else "blocks"
    words = f"{many.words} {colour} {block} as the {end} of a tower"
    if not any_height:
        noun = "block" if least == 1 else "blocks"
        how = pick(rng, ("", "exactly ", "only ")) if exact else "at least "
        words += f" with {how}{number(rng, least)} {noun}"

    def tall_enough(group: Group) -> bool:
        return any_height or (len(group) == least if exact else len(group) >= least)

    def right(group: Group) -> bool:
        return bool(group) and tall_enough(group) and group[level].colour == colour

    marks = marking(right, at((level,), (colour,)))
    return Said(there(many, words), lambda scene: many.fits(sum(map(right, scene))), marks)


def relation(rng: Draw, tower: bool) -> Said:
    """There are so many blocks upon another."""
    words, fits = pair(rng)
    many = amount(rng, 1)
    text = there(many, f"{many.words} {words}")
    return Said(
        text,
        lambda scene: many.fits(sum(adjoining(group, fits) for group in scene)),
        marking(lambda group: adjoining(group, fits) > 0, paired_up(fits)),
    )


def the_tower(rng: Draw, tower: bool) -> Said:
    """The tower with four blocks has ...; true of any such tower, false where there is none."""
    n, inside = int(rng.integers(1, 5)), pick(rng, (at_level, some, upon))(rng, tower)
    noun = "block" if n == 1 else "blocks"
    words = pick(rng, (f"the tower with {number(rng, n)} {noun} has {inside.words}",))

    def fits(group: Group) -> bool:
        return len(group) == n and inside.fits(group)

    return Said(words, lambda scene: any(map(fits, scene)), marking(fits, inside.meant))


def the_end(rng: Draw, tower: bool) -> Said:
    """The base of a tower is blue; the second block from the base is black."""
    n, colour = int(rng.integers(1, 4)), pick(rng, COLOURS)
    base = rng.random() < 0.5
    if n == 1:
        height = int(rng.integers(1, 5))
        sized = rng.random() < 0.3
        of = f"{number(rng, height)} blocks tower" if sized else "tower"
        text = f"the {'base' if base else 'top'} of a {of} is {colour}"
    else:
        height, sized = 0, False
        nth = ("second", "third")[n - 2]
        end = "base" if base else "top"
        text = f"the {nth} block of a tower from the {end} is {colour}"
    level = n - 1 if base else -n

    def fits(group: Group) -> bool:
        right = len(group) >= n and (not sized or len(group) == height)
        return right and group[level].colour == colour

    return Said(text, lambda scene: any(map(fits, scene)), marking(fits, at((level,), (colour,))))


def alike(rng: Draw, tower: bool) -> Said:
    """Towers of one height, tops of one colour, and the like."""
    by: dict[str, Callable[[Group], object]] = {
        "with the same height": len,
        "that are the same in height": len,
        "which has the same base color": lambda group: group[0].colour,
        "which has the same top color": lambda group: group[-1].colour,
    }
    if not tower:
        by = {"that has the same number of objects": len, "with the same number of items": len}
    words = pick(rng, list(by))
    of = by[words]
    noun = "towers" if tower else "boxes"
    if tower and rng.random() < 0.4:
        end, level = pick(rng, (("top", -1), ("base", 0)))
        text = f"all the {end} of the towers are the same in color"
        if rng.random() < 0.5:
            text = f"the {end} of the three towers are not the same in colors"
            return Said(text, lambda scene: len({g[level].colour for g in scene}) > 1)
        return Said(text, lambda scene: len({g[level].colour for g in scene}) == 1)
    how = pick(rng, ("", "at least ", "exactly "))

    def fits(scene: Scene) -> bool:
        kinds = {of(group) for group in scene}
        return len(kinds) == 2 or (len(kinds) == 1 and how != "exactly ")

    return Said(f"there are {how}{number(rng, 2)} {noun} {words}", fits)


def one_colour(rng: Draw, tower: bool) -> Said:
    """There is a yellow tower with two blocks."""
    colour, n = pick(rng, COLOURS), int(rng.integers(1, 4))
    way = int(rng.integers(4))
    noun = "block" if n == 1 else "blocks"
    words = ("", f" with only {number(rng, n)} {noun}", f" with {number(rng, n)} {noun}")
    words += (" with more than one block",)

    def fits(group: Group) -> bool:
        right = len(group) == n if way in (1, 2) else len(group) > 1 if way == 3 else True
        return right and all(one.colour == colour for one in group)

    meant = each(lambda one: one.colour == colour)
    text = f"there is a {colour} tower{words[way]}"
    return Said(text, lambda scene: any(map(fits, scene)), marking(fits, meant))


TOWERS = (held, held, held, held, held, ends, ends, total, relation, every, the_tower, the_end)
TOWERS += (alike, one_colour, lying)
LOOSE = (held, held, held, held, lying, lying, lying, lying, total, total, every, none, alike)
