"""The world in which fusion encoders are measured: scenes of coloured shapes, seen as regions.

A scene holds 2 to 4 objects, each a colour and a shape, no two alike. A region is what a detector
would give of an object: a feature (a fixed random code of its colour, plus one of its shape, plus
noise), a box, and words of its class (the shape) and attribute (the colour). Texts are built from
templates over a fixed vocabulary. Everything is drawn from a numpy generator, many at once, and
comes out as the library's own batches.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.data.ragged import places, ragged
from sensorium.objectives.masked_words import Vocabulary
from sensorium.types import Detections, Ids, Regions

COLOURS = ("red", "green", "blue")
SHAPES = ("circle", "square", "star")
KINDS = len(COLOURS) * len(SHAPES)  # kind of an object: colour * len(SHAPES) + shape
FEWEST, MOST = 2, 4
SURE = 0.9  # the probability that the detector gives the class it names
SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
OTHERS = (
    "and",
    "a",
    "exactly",
    "one",
    "both",
    "have",
    "has",
    "what",
    "colour",
    "shape",
    "how",
    "many",
)
WORDS = (*SPECIAL, *OTHERS, *COLOURS, *SHAPES)
ID = {word: i for i, word in enumerate(WORDS)}
CLS, SEP, MASK = ID["[CLS]"], ID["[SEP]"], ID["[MASK]"]
COLOUR, SHAPE = ID[COLOURS[0]], ID[SHAPES[0]]  # ids of the first of each
VOCABULARY = Vocabulary(MASK, (ID["[PAD]"], CLS, SEP), len(SPECIAL), len(WORDS))
LENGTH = 16  # tokens of a text at most
ANSWERS = len(COLOURS) + len(SHAPES) + MOST + 1  # colours, shapes, numbers from 0 on


class Scenes(NamedTuple):
    """Pictures with their objects; places behind the `count` first are empty (-1, zeros)."""

    colour: Int[Tensor, "n m"]
    shape: Int[Tensor, "n m"]
    count: Int[Tensor, " n"]
    box: Float[Tensor, "n m 4"]
    feature: Float[Tensor, "n m c"]


class Texts(NamedTuple):
    """Texts one a row, filled up at the right; `kind` is the segment."""

    ids: Int[Tensor, "n t"]
    length: Int[Tensor, " n"]
    kind: Int[Tensor, "n t"]


class Captions(NamedTuple):
    """Texts, which object each mention is of, and where its word of the colour stands (that of the
    shape is the next)."""

    text: Texts
    object: Int[Tensor, "n k"]
    place: Int[Tensor, "n k"]


# --- scenes --------------------------------------------------------------------------------------


def codes(width: int) -> tuple[Float[Tensor, "v c"], Float[Tensor, "w c"]]:
    """What colours and shapes look like: the same in every world of that width."""
    g = torch.Generator().manual_seed(width)
    return torch.randn(len(COLOURS), width, generator=g), torch.randn(
        len(SHAPES), width, generator=g
    )


def scenes(
    count: int,
    rng: np.random.Generator,
    feature: int,
    noise: float,
    wanted: Int[Tensor, " n"] | None = None,
    has: Bool[Tensor, " n"] | None = None,
) -> Scenes:
    """That many scenes.

    Args:
        feature: numbers of a region's feature.
        noise: its standard deviation; that of colour and of shape is 1.
        wanted: of each scene a kind that it shall have (where `has`) or lack (elsewhere).
    """
    every = np.arange(count)
    key = rng.random((count, KINDS))
    if wanted is not None and has is not None:
        key[every, wanted.numpy()] = np.where(has.numpy(), -1.0, 2.0)
    chosen = key.argsort(1)[:, :MOST]
    number = rng.integers(FEWEST, MOST + 1, count)
    real = np.arange(MOST) < number[:, None]
    order = np.where(real, rng.random((count, MOST)), 2.0).argsort(1)
    kind = np.where(real, np.take_along_axis(chosen, order, 1), -1)
    side = rng.uniform(0.1, 0.3, (count, MOST, 1))
    corner = rng.uniform(0, 1, (count, MOST, 2)) * (1 - side)
    box = np.concatenate([corner, corner + side], 2) * real[:, :, None]
    colour, shape = np.where(real, kind // len(SHAPES), -1), np.where(real, kind % len(SHAPES), -1)
    seen = torch.from_numpy(rng.standard_normal((count, MOST, feature)).astype(np.float32)) * noise
    hue, form = codes(feature)
    seen += hue[np.maximum(colour, 0)] + form[np.maximum(shape, 0)]
    return Scenes(
        torch.from_numpy(colour),
        torch.from_numpy(shape),
        torch.from_numpy(number),
        torch.from_numpy(box.astype(np.float32)),
        seen * torch.from_numpy(real)[:, :, None],
    )


def has_kind(of: Scenes, kind: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whether each scene holds an object of that kind."""
    return (of.colour * len(SHAPES) + of.shape == kind[:, None]).any(1)


def regions(of: Scenes, at: Int[Tensor, " b"]) -> Regions:
    """The scenes at these places, as a batch of regions."""
    lengths = of.count[at]
    real = torch.arange(MOST) < lengths[:, None]
    total = int(lengths.sum())
    rows, back, _ = places(lengths, int(lengths.max()), total)
    none = torch.zeros(total, dtype=torch.long)
    words = torch.zeros(total, 0, dtype=torch.long)
    return Regions(of.feature[at][real], of.box[at][real], none, none, words, rows, back, lengths)


def unseen(batch: int, feature: int) -> Regions:
    """Pictures of which nothing is seen: one row, which belongs to none of them."""
    lengths = torch.zeros(batch, dtype=torch.long)
    rows, back, _ = places(lengths, 1, 1)
    none = torch.zeros(1, dtype=torch.long)
    words = torch.zeros(1, 0, dtype=torch.long)
    return Regions(
        torch.zeros(1, feature), torch.zeros(1, 4), none, none, words, rows, back, lengths
    )


def detected(of: Scenes, at: Int[Tensor, " b"]) -> Detections:
    """What the detector says of those regions: right, and `SURE` of it; background is class 0."""
    real = torch.arange(MOST) < of.count[at][:, None]
    label, attribute = of.shape[at][real], of.colour[at][real]
    probs = torch.full((len(label), len(SHAPES) + 1), (1 - SURE) / len(SHAPES))
    probs[torch.arange(len(label)), label + 1] = SURE
    sure = torch.full((len(label),), SURE)
    return Detections(probs, label, sure, attribute, sure)


# --- texts ---------------------------------------------------------------------------------------


def laid(of: Texts, at: Int[Tensor, " b"]) -> Ids:
    """The texts at these places, end to end."""
    lengths = of.length[at]
    real = torch.arange(of.ids.shape[1]) < lengths[:, None]
    return ragged(of.ids[at], lengths)._replace(kind=of.kind[at][real])


def text(count: int, *parts: str | Int[Tensor, " n"]) -> Texts:
    """Texts of one template between [CLS] and [SEP]: words, and columns of ids to fill in."""
    columns = [torch.full((count,), CLS)]
    for part in parts:
        if isinstance(part, str):
            columns += [torch.full((count,), ID[word]) for word in part.split()]
        else:
            columns.append(part)
    ids = torch.stack([*columns, torch.full((count,), SEP)], 1)
    return Texts(ids, torch.full((count,), ids.shape[1]), torch.zeros_like(ids))


def captions(of: Scenes, rng: np.random.Generator, mentions: int) -> Captions:
    """ "red circle and blue square": so many objects of each scene, in any order.

    Raises:
        ValueError: a scene holds fewer.
    """
    if mentions > FEWEST:
        raise ValueError(f"{mentions} objects cannot be named: scenes hold from {FEWEST} on")
    count = len(of.count)
    key = rng.random((count, MOST))
    key = np.where(np.arange(MOST) < of.count.numpy()[:, None], key, 2.0)
    chosen = torch.from_numpy(key.argsort(1)[:, :mentions])
    parts: list[str | Tensor] = []
    for k in range(mentions):
        one = chosen[:, k : k + 1]
        parts += ["and"] if k else []
        parts += [COLOUR + of.colour.gather(1, one)[:, 0], SHAPE + of.shape.gather(1, one)[:, 0]]
    place = torch.tensor([1 + 3 * k for k in range(mentions)]).expand(count, -1)
    return Captions(text(count, *parts), chosen, place)


def beside(first: Texts, second: Texts) -> Texts:
    """Two texts as one of two segments: [CLS] first [SEP] second [SEP], both of fixed templates."""
    ids = torch.cat([first.ids, second.ids[:, 1:]], 1)
    kind = torch.cat([first.kind, torch.ones_like(second.ids[:, 1:])], 1)
    return Texts(ids, first.length + second.length - 1, kind)


def distorted(of: Scenes, told: Captions, rng: np.random.Generator, tries: int = 64) -> Texts:
    """The captions with one mention made false: its colour or its shape is another one, such that
    no object of the scene is meant."""
    count, mentions = told.object.shape
    each = torch.arange(count)
    which = torch.from_numpy(rng.integers(mentions, size=count))
    one = told.object[each, which]
    colour, shape = of.colour[each, one], of.shape[each, one]
    left = torch.ones(count, dtype=torch.bool)
    for _ in range(tries):
        hue = torch.from_numpy(rng.random(count) < 0.5)
        other = torch.from_numpy(rng.integers(1, len(COLOURS), count))
        new = torch.where(hue, (of.colour[each, one] + other) % len(COLOURS), of.colour[each, one])
        form = torch.where(hue, of.shape[each, one], (of.shape[each, one] + other) % len(SHAPES))
        colour, shape = torch.where(left, new, colour), torch.where(left, form, shape)
        left = has_kind(of, colour * len(SHAPES) + shape)
    if left.any():
        raise ValueError(f"{int(left.sum())} captions stay true after {tries} tries")
    ids, at = told.text.ids.clone(), told.place[each, which]
    ids[each, at], ids[each, at + 1] = COLOUR + colour, SHAPE + shape
    return told.text._replace(ids=ids)


def questions(
    of: Scenes, rng: np.random.Generator
) -> tuple[Texts, Int[Tensor, " n"], Int[Tensor, " n"]]:
    """A question of each scene: "what colour has circle", "what shape has red" (of what there is
    one of alone), "how many has red", "how many has circle" (of what there is).

    Returns:
        The questions, their answers (below `ANSWERS`), and the object that each names.
    """
    count = len(of.count)
    one = torch.from_numpy((rng.random(count) * of.count.numpy()).astype(np.int64))[:, None]
    hue, form = of.colour.gather(1, one), of.shape.gather(1, one)
    hues, forms = (of.colour == hue).sum(1), (of.shape == form).sum(1)
    hue, form, by_hue = hue[:, 0], form[:, 0], torch.from_numpy(rng.random(count) < 0.5)
    alone = torch.where(by_hue, hues, forms) == 1
    what = torch.from_numpy(rng.random(count) < 2 / 3) & alone
    named = torch.where(by_hue, COLOUR + hue, SHAPE + form)
    asked = torch.where(by_hue, ID["shape"], ID["colour"])
    words = text(
        count,
        torch.where(what, ID["what"], ID["how"]),
        torch.where(what, asked, ID["many"]),
        "has",
        named,
    )
    number = len(COLOURS) + len(SHAPES) + torch.where(by_hue, hues, forms)
    answer = torch.where(what, torch.where(by_hue, len(COLOURS) + form, hue), number)
    return words, answer, one[:, 0]


def either(first: Texts, second: Texts, which: Bool[Tensor, " n"]) -> Texts:
    """The second text where `which`, elsewhere the first."""
    most = max(first.ids.shape[1], second.ids.shape[1])

    def wide(x: Int[Tensor, "n t"]) -> Int[Tensor, "n m"]:
        return torch.nn.functional.pad(x, (0, most - x.shape[1]))

    return Texts(
        torch.where(which[:, None], wide(second.ids), wide(first.ids)),
        torch.where(which, second.length, first.length),
        torch.where(which[:, None], wide(second.kind), wide(first.kind)),
    )


# --- two scenes ----------------------------------------------------------------------------------


class Twos(NamedTuple):
    """Two scenes each, a statement about both, and whether it is true."""

    left: Scenes
    right: Scenes
    text: Texts
    label: Int[Tensor, " n"]


def exactly_one(count: int, rng: np.random.Generator, feature: int, noise: float) -> Twos:
    """ "exactly one has a red circle" (of the pictures): as often true as not; where not, both have
    it as often as none."""
    true, left = (torch.from_numpy(rng.random(count) < 0.5) for _ in range(2))
    return _twos("exactly one has a", left, left ^ true, true, rng, (feature, noise))


def both_have(count: int, rng: np.random.Generator, feature: int, noise: float) -> Twos:
    """ "both have a red circle": as often true as not; where not, one has it, or (in a
    quarter) none."""
    true, left = (torch.from_numpy(rng.random(count) < 0.5) for _ in range(2))
    none = torch.from_numpy(rng.random(count) < 0.25)
    one, other = true | (left & ~none), true | (~left & ~none)
    return _twos("both have a", one, other, true, rng, (feature, noise))


def _twos(
    said: str,
    left: Bool[Tensor, " n"],
    right: Bool[Tensor, " n"],
    true: Bool[Tensor, " n"],
    rng: np.random.Generator,
    seen: tuple[int, float],
) -> Twos:
    """Statements about a kind that the left and the right scenes have or lack."""
    count = len(true)
    kind = torch.from_numpy(rng.integers(KINDS, size=count))
    first, second = (scenes(count, rng, *seen, kind, has) for has in (left, right))
    words = text(count, said, COLOUR + kind // len(SHAPES), SHAPE + kind % len(SHAPES))
    return Twos(first, second, words, true.long())
