"""Made statements: scenes put together anew from nlvr's, and what is true or false of them.

A scene of nlvr is three grey boxes side by side. Boxes of different scenes of one sort (towers, or
loose things) are put beside each other, mirrored, and their colours exchanged; `statements` says
what holds of them. People's statements are told anew in the same way: the boxes of their scene in
another order, mirrored where no word speaks of left and right, and with colours exchanged in the
picture and in the sentence alike. Only the part that is learnt from is used.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, final

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sensorium.data.questions import Question
from sensorium.datasets.asked import Entry, Questions
from sensorium.datasets.files import Rows, read
from sensorium.datasets.nlvr import ANSWERS
from sensorium.media import open_image
from sensorium.recipes.statement_parts import COLOURS, SIDE, Group, Scene, Thing
from sensorium.recipes.statements import Mark, Said, statement, towers

BETWEEN = 128  # grey level between the boxes
STEP = 150  # pixels from one box to the next
INK = np.array([(0, 0, 0), (255, 255, 0), (0, 153, 255), (0, 0, 0)], dtype=np.uint8)  # as COLOURS
MADE, EACH, ANEW = 4000, 30, 14  # scenes, statements of each, and how often people's are told anew
OFF = 0.1  # chance that a corner of a box of every other new scene is a pixel off
TRIES, MOST = 40, 20  # scenes that are looked at for a statement, statements for one that is kept
COLOUR = re.compile("|".join(COLOURS), re.IGNORECASE)


class Part(NamedTuple):
    """One box of a scene: its pixels, which of them have which colour (0: none), and its things,
    the lowest first."""

    pixels: UInt8[np.ndarray, "y x 3"]
    ink: UInt8[np.ndarray, "y x"]
    group: Group


@final
class Made(Rows[Question]):
    """Questions whose pictures are held here, or are files below `root`; `marks` are, by the
    question's id, what it speaks of among its boxes (see `statements.Said`), where that is known.
    """

    def __init__(
        self,
        root: str,
        entries: Sequence[Entry],
        pictures: dict[str, bytes],
        marks: dict[str, list[Mark]],
    ):
        self.root, self.entries, self.pictures, self.marks = root, entries, pictures, marks

    def __len__(self) -> int:
        return len(self.entries)

    def sample(self, i: int) -> Question:
        one = self.entries[i]
        held = (self.pictures.get(name) or read(self.root, name) for name in one.files)
        return Question(tuple(held), *one[1:])


def made(
    of: Questions,
    seed: int,
    scenes: int = MADE,
    each: int = EACH,
    anew: int = ANEW,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> Made:
    """Statements about new scenes, and people's told anew.

    Args:
        of: nlvr's, of the part that is learnt from.
        scenes: new ones.
        each: statements of a new scene, on average; each is told of two scenes, one of which it is
            true of.
        anew: how often each statement of people's is told anew, beside itself.
        say: progress.
    """
    rng = np.random.default_rng(seed)
    pictures: dict[str, bytes] = {}
    marks: dict[str, list[Mark]] = {}
    entries = list(of.entries)
    known = [parts_of(of[i]) for i in range(len(of))]
    for number, one in enumerate(of.entries):
        for again in range(anew):
            told = f"{one.id}+{again}"
            parts, text = told_anew(known[number], one.text, rng)
            pictures[told] = drawn(parts)
            entries.append(off(entry(told, parts, text, one.answers[0]), again, rng))
        say(number + 1, len(of) + scenes)
    sorts = [[p for p in known if towers(groups(p)) == sort] for sort in (True, False)]
    for some in sorts:
        count = round(scenes * len(some) / len(known))
        new = [put_together(some, rng) for _ in range(count)]
        names = [f"made-{len(pictures) + i}" for i in range(count)]
        pictures |= {name: drawn(parts) for name, parts in zip(names, new, strict=True)}
        plain = [entry(*one, "", "") for one in zip(names, new, strict=True)]
        shown = [off(one, number, rng) for number, one in enumerate(plain)]
        pairs = paired([groups(parts) for parts in new], count * each // 2, rng) if new else []
        for number, (said, *two) in enumerate(pairs):
            cluster = " ".join(said.text.lower().split())
            for answer, place in zip(ANSWERS, two, strict=True):
                name = f"{names[place]}-{number}-{answer}"
                one = shown[place]._replace(text=said.text, answers=(answer,), cluster=cluster)
                entries.append(one._replace(id=name))
                if said.marks is not None:
                    marks[name] = said.marks(groups(new[place]))
        say(len(of) + count, len(of) + scenes)
    return Made(of.root, entries, pictures, marks)


def off(one: Entry, number: int, rng: np.random.Generator) -> Entry:
    """Of every other number the boxes as a detector might find them: some corners a pixel off."""
    if number % 2 == 0 or not one.boxes[0]:
        return one
    boxes = np.array(one.boxes[0])
    chance = rng.random(boxes.shape)
    boxes += (chance < OFF / 2) * 1.0 - (chance > 1 - OFF / 2) * 1.0
    boxes = boxes.clip(0, (2 * STEP + SIDE, SIDE) * 2)
    return one._replace(boxes=(tuple(map(tuple, boxes.tolist())),))


def paired(
    scenes: Sequence[Scene], count: int, rng: np.random.Generator
) -> list[tuple[Said, int, int]]:
    """Statements, each with the places of a scene of which it is false and of one where it is true.

    So no words tell whether a statement is true: it takes the picture.
    """
    out: list[tuple[Said, int, int]] = []
    for _ in range(MOST * count):
        if len(out) == count:
            break
        said = statement(rng, towers(scenes[0]))
        two: dict[bool, int] = {}
        for place in rng.integers(len(scenes), size=TRIES).tolist():
            two.setdefault(said.fits(scenes[place]), place)
            if len(two) == 2:
                out.append((said, two[False], two[True]))
                break
    return out


def groups(parts: Sequence[Part]) -> Scene:
    """The things of each part, in order."""
    return tuple(one.group for one in parts)


def parts_of(one: Question) -> tuple[Part, ...]:
    """The boxes of a scene of nlvr."""
    pixels = np.asarray(open_image(one.images[0], name=one.id))
    out = []
    for left in range(0, 3 * STEP, STEP):
        things = []
        for (x1, y1, x2, y2), name in zip(one.boxes[0], one.names[0], strict=True):
            if left <= x1 < left + STEP:
                colour, shape = name.split()
                things.append(Thing(colour, shape, (x1 - left, y1, x2 - left, y2)))
        group = tuple(sorted(things, key=lambda thing: -thing.box[3]))
        own = pixels[:, left : left + int(SIDE)]
        red, green, blue = (own[..., c] for c in range(3))
        ink = np.zeros(red.shape, dtype=np.uint8)
        for number in (1, 2, 3):
            r, g, b = INK[number]
            ink[(red == r) & (green == g) & (blue == b)] = number
        out.append(Part(own, ink, group))
    return tuple(out)


def put_together(known: Sequence[Sequence[Part]], rng: np.random.Generator) -> list[Part]:
    """Boxes of three scenes side by side, mirrored and recoloured at random."""
    new = exchanged(rng)
    out = []
    for _ in range(3):
        scene = known[int(rng.integers(len(known)))]
        part = recoloured(scene[int(rng.integers(3))], new)
        out.append(mirrored(part) if rng.random() < 0.5 else part)
    return out


def told_anew(parts: Sequence[Part], text: str, rng: np.random.Generator) -> tuple[list[Part], str]:
    """The same truth of other boxes."""
    new = exchanged(rng)
    sided = re.search("left|right", text, re.IGNORECASE) is not None
    out = []
    for i in rng.permutation(3):
        part = recoloured(parts[int(i)], new)
        out.append(mirrored(part) if not sided and rng.random() < 0.5 else part)
    return out, COLOUR.sub(lambda found: new[found[0].lower()], text)


def exchanged(rng: np.random.Generator) -> dict[str, str]:
    """Which colour takes the place of each."""
    return {old: COLOURS[int(i)] for old, i in zip(COLOURS, rng.permutation(3), strict=True)}


def mirrored(part: Part) -> Part:
    """Left for right."""
    group = [
        one._replace(box=(SIDE - one.box[2], one.box[1], SIDE - one.box[0], one.box[3]))
        for one in part.group
    ]
    return Part(part.pixels[:, ::-1], part.ink[:, ::-1], tuple(group))


def recoloured(part: Part, new: dict[str, str]) -> Part:
    """Every colour as another one."""
    table = np.array([0, *(1 + COLOURS.index(new[old]) for old in COLOURS)], dtype=np.uint8)
    ink = table[part.ink]
    pixels, drawn_on = part.pixels.copy(), ink > 0
    pixels[drawn_on] = INK[ink[drawn_on]]
    return Part(pixels, ink, tuple(one._replace(colour=new[one.colour]) for one in part.group))


def drawn(parts: Sequence[Part]) -> bytes:
    """A picture of three boxes."""
    whole = np.full((int(SIDE), 2 * STEP + int(SIDE), 3), BETWEEN, dtype=np.uint8)
    for number, part in enumerate(parts):
        whole[:, number * STEP : number * STEP + int(SIDE)] = part.pixels
    file = io.BytesIO()
    Image.fromarray(whole).save(file, "PNG", compress_level=1)
    return file.getvalue()


def entry(name: str, parts: Sequence[Part], text: str, answer: str) -> Entry:
    """A statement about such a picture."""
    boxes, names = [], []
    for number, part in enumerate(parts):
        for one in part.group:
            x1, y1, x2, y2 = one.box
            boxes.append((x1 + number * STEP, y1, x2 + number * STEP, y2))
            names.append(f"{one.colour} {one.shape}")
    return Entry(
        files=(name,),
        text=text,
        answers=(answer,),
        id=name,
        cluster=" ".join(text.lower().split()),
        boxes=(tuple(boxes),),
        names=(tuple(names),),
    )
