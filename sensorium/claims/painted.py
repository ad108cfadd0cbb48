"""Scenes to be looked at: two coloured shapes side by side or one above the other, as pictures.

Everything comes of a numpy generator, many at once. A scene's caption names the object at the left
or above first, so that equal scenes have equal captions and different ones different captions.
Words of colours and shapes are one token, or two pieces of which each gives the other away.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sensorium.claims.scenes import PIXELS, SHAPES, Objects, draw
from sensorium.claims.toy import Texts
from sensorium.data.ragged import places
from sensorium.objectives.masked_words import Vocabulary
from sensorium.types import Regions

COLOURS = (
    ("red", (0.85, 0.15, 0.15)),
    ("green", (0.15, 0.75, 0.2)),
    ("blue", (0.2, 0.3, 0.9)),
    ("yellow", (0.9, 0.8, 0.15)),
    ("purple", (0.6, 0.2, 0.7)),
)
FORMS = (*SHAPES[:4], "star")  # as `claims.scenes` draws them
BESIDE, ABOVE = 0, 1  # how the two stand
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
PLAIN = ("is", "what", "colour", "shape", "has", "there", "beside", "above")
NAMES = (*(name for name, _ in COLOURS), *FORMS)
WORDS = (*SPECIAL, *PLAIN, *NAMES, *(f"{n}-" for n in NAMES), *(f"##{n}" for n in NAMES))
ID = {word: i for i, word in enumerate(WORDS)}
COLOUR, FORM = ID["red"], ID[FORMS[0]]
LENGTH = 14  # tokens of a text at most
VOCABULARY = Vocabulary(
    ID["[MASK]"],
    (ID["[PAD]"], ID["[CLS]"], ID["[SEP]"]),
    len(SPECIAL),
    len(WORDS),
    tuple(i for i, word in enumerate(WORDS) if word.startswith("##")),
)
ANSWERS = len(COLOURS) + len(FORMS) + 2  # colours, shapes, no, yes
NO = ANSWERS - 2


class Scenes(NamedTuple):
    """n scenes: of both objects colour and shape (the one at the left or above first), how they
    stand, their boxes as shares of the sides, and the picture."""

    colour: Int[Tensor, "n 2"]
    form: Int[Tensor, "n 2"]
    way: Int[Tensor, " n"]
    box: Float[Tensor, "n 2 4"]
    image: Float[Tensor, "n 3 32 32"]


class Asked(NamedTuple):
    """A question about each scene, and its answer."""

    text: Texts
    answer: Int[Tensor, " n"]


def scenes(count: int, rng: np.random.Generator, noise: float) -> Scenes:
    """That many scenes; both objects differ in colour and in shape. `noise` is of the pixels."""
    names = np.stack([two(count, len(names), rng) for names in (COLOURS, FORMS)])
    return painted(names[0], names[1], rng.integers(2, size=count), rng, noise)


def distinct(count: int, rng: np.random.Generator, noise: float) -> Scenes:
    """Scenes of which no two have the same caption.

    Raises:
        ValueError: there are not that many.
    """
    c, f = len(COLOURS), len(FORMS)
    shape = (c, c - 1, f, f - 1, 2)
    if count > np.prod(shape):
        raise ValueError(f"there are {np.prod(shape)} different scenes, not {count}")
    at = np.unravel_index(rng.permutation(np.prod(shape))[:count], shape)
    colour = np.stack([at[0], (at[0] + 1 + at[1]) % c], 1)
    form = np.stack([at[2], (at[2] + 1 + at[3]) % f], 1)
    return painted(colour, form, at[4], rng, noise)


def two(count: int, of: int, rng: np.random.Generator) -> Int[np.ndarray, "n 2"]:
    """Two different numbers below `of`, that many times."""
    first = rng.integers(of, size=count)
    return np.stack([first, (first + rng.integers(1, of, count)) % of], 1)


def painted(
    colour: np.ndarray, form: np.ndarray, way: np.ndarray, rng: np.random.Generator, noise: float
) -> Scenes:
    """The pictures of what is known: each object in a quarter of its own."""
    count = len(way)
    quarter, where = PIXELS / 2, rng.integers(2, size=count)  # which row, or column, both stand in
    along = np.array([0, 1]) * quarter + quarter / 2
    across = (where * quarter + quarter / 2)[:, None].repeat(2, 1)
    beside = (way == BESIDE)[:, None]
    x, y = np.where(beside, along, across), np.where(beside, across, along)
    x, y = (one + rng.uniform(-1.5, 1.5, (count, 2)) for one in (x, y))
    radius = rng.uniform(5, 6.5, (count, 2))
    objects = Objects(
        shape=np.array([SHAPES.index(one) for one in FORMS])[form],
        texture=np.zeros((count, 2), int),
        colour=np.clip(
            np.array([rgb for _, rgb in COLOURS])[colour] + rng.uniform(-0.1, 0.1, (count, 2, 3)),
            0,
            1,
        ),
        x=x,
        y=y,
        radius=radius,
        angle=rng.uniform(-0.2, 0.2, (count, 2)),
    )
    box = np.stack([x - radius, y - radius, x + radius, y + radius], 2) / PIXELS
    return Scenes(
        torch.from_numpy(colour),
        torch.from_numpy(form),
        torch.from_numpy(way),
        torch.from_numpy(box.clip(0, 1).astype(np.float32)),
        torch.from_numpy(draw(objects, rng, noise)),
    )


def seen(of: Scenes, width: int, noise: float, rng: np.random.Generator) -> Float[Tensor, "n 2 c"]:
    """What a detector that knows would see of both objects: a code of the colour plus one of the
    shape, of deviation 1 each, plus noise."""
    g = torch.Generator().manual_seed(width)  # the same in every world of that width
    hue, form = (torch.randn(len(names), width, generator=g) for names in (COLOURS, FORMS))
    drawn = rng.standard_normal((len(of.way), 2, width)).astype(np.float32)
    return hue[of.colour] + form[of.form] + noise * torch.from_numpy(drawn)


def regions(of: Scenes, features: Float[Tensor, "n 2 c"], at: Int[Tensor, " b"]) -> Regions:
    """The scenes at these places as their objects' features and boxes."""
    lengths = torch.full((len(at),), 2)
    rows, back, _ = places(lengths, 2, 2 * len(at))
    none = torch.zeros(2 * len(at), dtype=torch.long)
    words = torch.zeros(2 * len(at), 0, dtype=torch.long)
    flat = features[at].flatten(0, 1), of.box[at].flatten(0, 1)
    return Regions(*flat, none, none, words, rows, back, lengths)


# --- texts ---------------------------------------------------------------------------------------


def text(columns: list[str | Int[Tensor, " n"]], count: int, pieces: int) -> Texts:
    """Texts of one template: words, and ids of names, which stand as one token or as two pieces."""
    rows = [torch.full((count,), ID["[CLS]"])]
    for column in columns:
        if isinstance(column, str):
            rows.append(torch.full((count,), ID[column]))
        elif pieces == 1:
            rows.append(column)
        else:
            rows += [column + len(NAMES), column + 2 * len(NAMES)]
    ids = torch.stack([*rows, torch.full((count,), ID["[SEP]"])], 1)
    return Texts(ids, torch.full((count,), ids.shape[1]), torch.zeros_like(ids))


def captions(of: Scenes, pieces: int = 1) -> Texts:
    """ "red disc beside blue star": the first is the one at the left, or above."""
    (c1, c2), (f1, f2) = (COLOUR + of.colour).T, (FORM + of.form).T
    way = torch.tensor([ID["beside"], ID["above"]])[of.way]
    told = text([c1, f1, "beside", c2, f2], len(way), pieces)
    told.ids[:, 1 + 2 * pieces] = way
    return told


def questions(of: Scenes, rng: np.random.Generator, pieces: int = 1) -> Asked:
    """Of each scene one: "what colour is disc", "what shape is red", "is there red disc".

    The last is as often true as not; where not, half of the time the shape is the other object's.
    """
    n = len(of.way)
    kind = torch.from_numpy(rng.integers(3, size=n))
    one = torch.from_numpy(rng.integers(2, size=n))[:, None]
    colour, form = of.colour.gather(1, one)[:, 0], of.form.gather(1, one)[:, 0]
    true = torch.from_numpy(rng.random(n) < 0.5)
    swapped = torch.from_numpy(rng.random(n) < 0.5)
    other = (form + torch.from_numpy(rng.integers(1, len(FORMS), n))) % len(FORMS)
    false = torch.where(swapped, of.form.gather(1, 1 - one)[:, 0], other)
    said = torch.where(true, form, false)
    made = [
        text(["what", "colour", "is", FORM + form], n, pieces),
        text(["what", "shape", "is", COLOUR + colour], n, pieces),
        text(["is", "there", COLOUR + colour, FORM + said], n, pieces),
    ]
    width = max(one.ids.shape[1] for one in made)
    ids = torch.zeros(n, width, dtype=torch.long)
    length = torch.zeros(n, dtype=torch.long)
    for k, told in enumerate(made):
        mine = kind == k
        ids[mine, : told.ids.shape[1]] = told.ids[mine]
        length[mine] = told.length[mine]
    answers = torch.stack([colour, len(COLOURS) + form, NO + true.long()])
    return Asked(Texts(ids, length, torch.zeros_like(ids)), answers[kind, torch.arange(n)])


def distorted(told: Texts, share: float, rng: np.random.Generator) -> Texts:
    """The texts with so many of them replaced by another scene's."""
    n = len(told.ids)
    at = np.where(rng.random(n) < share, (np.arange(n) + rng.integers(1, n, n)) % n, np.arange(n))
    return Texts(*(field[torch.from_numpy(at)] for field in told))
