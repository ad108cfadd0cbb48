"""Dialogues about scenes of four places, each of which is empty or has a coloured shape.

A scene is shown as a picture, or told in words: at each place, in drawn order, what stands there.
Questions are of three types, as in LLaVA's data (Liu et al. 2023, section 3): conversation (the
colour or the shape at a place, whether a shape is there), detail (all that is to be seen, place
by place) and reasoning (how many of a colour, what stands beside something). A caption names the
objects in reading order and not where they stand.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sensorium.claims.painted import COLOURS, FORMS
from sensorium.claims.scenes import PIXELS, SHAPES, Objects, draw
from sensorium.data.ragged import lay
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson

PLACES, HUES, KINDS = 4, 4, 4  # places of a scene, colours, shapes
THINGS = 1 + HUES * KINDS  # what may stand at a place: nothing, or a colour and a shape
WORDS = (
    *("start", "patch", "user", "bot", "end", "empty", "no", "yes"),
    *("above left", "above right", "below left", "below right"),
    *(name for name, _ in COLOURS[:HUES]),
    *FORMS[:KINDS],
    *(str(n) for n in range(PLACES + 1)),
    *("what colour", "what shape", "is there", "describe", "how many", "what is beside"),
)
ID = {word: i for i, word in enumerate(WORDS)}
START, PATCH, USER, BOT, END, EMPTY, NO = range(7)
PLACE, COLOUR, FORM, NUMBER = ID["above left"], ID[COLOURS[0][0]], ID[FORMS[0]], ID["0"]
VOCAB = len(WORDS)
TYPES = {
    "conversation": ("what colour", "what shape", "is there"),
    "detail": ("describe",),
    "reasoning": ("how many", "what is beside"),
}
LONGEST = 96  # tokens of a dialogue and less

Kinds = Int[np.ndarray, "n 4"]  # of each scene what stands at each place, below THINGS


class Text(NamedTuple):
    """Tokens, and which of them are learnt."""

    ids: list[int]
    learnt: list[bool]


def held() -> Bool[np.ndarray, " m"]:
    """True where a scene is never learnt from: a tenth of all, the same always."""
    out = np.zeros(THINGS**PLACES, dtype=bool)
    out[np.random.default_rng(7).permutation(len(out))[: len(out) // 10]] = True
    return out


HELD = held()


def scenes(count: int, rng: np.random.Generator, test: bool) -> Kinds:
    """That many scenes of at least two objects, of those that are held out or of the others."""
    found: list[Kinds] = []
    while sum(map(len, found)) < count:
        kind = rng.integers(1, THINGS, (20 * count, PLACES))
        kind[rng.random(kind.shape) < 0.25] = 0
        held_out = HELD[kind @ THINGS ** np.arange(PLACES)]
        found.append(kind[(held_out == test) & ((kind > 0).sum(1) >= 2)])
    return np.concatenate(found)[:count]


def drawn(kind: Kinds, rng: np.random.Generator, noise: float) -> Float[Tensor, "n 3 32 32"]:
    """Pictures: each object in a quarter of its own, moved, turned and in a shade of its own."""
    n, quarter = len(kind), PIXELS / 2
    at = np.arange(PLACES)
    x, y = (quarter * (one + 0.5) + rng.uniform(-1.5, 1.5, kind.shape) for one in (at % 2, at // 2))
    there, hue, form = kind > 0, (kind - 1) // KINDS, (kind - 1) % KINDS
    shade = np.array([rgb for _, rgb in COLOURS])[hue] + rng.uniform(-0.1, 0.1, (n, PLACES, 3))
    objects = Objects(
        shape=np.array([SHAPES.index(one) for one in FORMS])[form],
        texture=np.zeros(kind.shape, int),
        colour=shade.clip(0, 1),
        x=np.where(there, x, -9 * PIXELS),  # what is not there is far outside
        y=y,
        radius=rng.uniform(5, 6.5, kind.shape),
        angle=rng.uniform(-0.2, 0.2, kind.shape),
    )
    return torch.from_numpy(draw(objects, rng, noise))


# --- words ---------------------------------------------------------------------------------------


def name(thing: int) -> list[int]:
    """What stands somewhere: a colour and a shape, or that it is empty."""
    return [COLOUR + (thing - 1) // KINDS, FORM + (thing - 1) % KINDS] if thing else [EMPTY]


def told(kind: Sequence[int], rng: np.random.Generator) -> list[int]:
    """A scene in words, place by place in drawn order."""
    return [i for at in rng.permutation(PLACES) for i in (PLACE + int(at), *name(kind[at]))]


def caption(kind: Sequence[int]) -> list[int]:
    """The objects in reading order, without their places."""
    return [i for thing in kind if thing for i in name(thing)]


def ask(
    kind: Sequence[int], question: str, rng: np.random.Generator
) -> tuple[list[int], list[int]]:
    """A question about a scene of at least two objects, and its answer.

    Whether a shape is there is about as often so as not. Beside is in the same row; that is asked
    of an object of which there is only one, and where there is none it is asked how many of a
    colour there are.
    """
    objects = [at for at, thing in enumerate(kind) if thing]
    at = int(rng.choice(objects))
    hue, form = name(kind[at])
    word = ID[question]
    if question == "what colour":
        return [word, PLACE + at], [hue]
    if question == "what shape":
        return [word, PLACE + at], [form]
    if question == "is there":
        has = {name(kind[one])[1] for one in objects}
        others = [FORM + i for i in range(KINDS) if FORM + i not in has]
        if rng.random() < 0.5 or not others:
            return [word, form], [NO + 1]
        return [word, int(rng.choice(others))], [NO]
    if question == "describe":
        return [word], [i for thing in kind for i in name(thing)]
    single = [one for one in objects if list(kind).count(kind[one]) == 1]
    if question == "what is beside" and single:
        at = int(rng.choice(single))
        return [word, *name(kind[at])], name(kind[at ^ 1])
    if rng.random() < 0.25:
        hue = COLOUR + int(rng.integers(HUES))
    much = sum(name(kind[one])[0] == hue for one in objects)
    return [ID["how many"], hue], [NUMBER + much]


def talk(
    scene: list[int], kind: Sequence[int], asked: Sequence[str], rng: np.random.Generator
) -> Text:
    """A dialogue behind a scene: answers and their ends are learnt."""
    ids = [START, *scene]
    learnt = [False] * len(ids)
    for question in asked:
        words, answer = ask(kind, question, rng)
        ids += [USER, *words, BOT, *answer, END]
        learnt += [False] * (2 + len(words)) + [True] * (len(answer) + 1)
    return Text(ids, learnt)


def plain(scene: list[int], kind: Sequence[int]) -> Text:
    """A scene and its caption, which is learnt."""
    said = [*caption(kind), END]
    return Text([START, *scene, *said], [False] * (1 + len(scene)) + [True] * len(said))


def some(types: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The questions of a dialogue: all those of a drawn type, in drawn order."""
    return rng.permutation(TYPES[str(rng.choice(types))]).tolist()


# --- batches -------------------------------------------------------------------------------------


def words(count: int, rng: np.random.Generator) -> Lesson:
    """Scenes in words: a caption behind one in four, dialogues of all types behind the others."""
    texts = []
    for kind in scenes(count, rng, test=False).tolist():
        scene = told(kind, rng)
        captioned = rng.random() < 0.25
        texts.append(
            plain(scene, kind) if captioned else talk(scene, kind, some([*TYPES], rng), rng)
        )
    return lesson(texts)


def captions(count: int, patches: int, noise: float, rng: np.random.Generator) -> Lesson:
    """Pictures with captions."""
    kinds = scenes(count, rng, test=False)
    scene = [PATCH] * patches
    return lesson([plain(scene, kind) for kind in kinds.tolist()], drawn(kinds, rng, noise))


def talks(
    count: int, types: Sequence[str], patches: int, noise: float, rng: np.random.Generator
) -> Lesson:
    """Pictures with dialogues, each of one of these types."""
    kinds = scenes(count, rng, test=False)
    scene = [PATCH] * patches
    texts = [talk(scene, kind, some(types, rng), rng) for kind in kinds.tolist()]
    return lesson(texts, drawn(kinds, rng, noise))


def lesson(texts: Sequence[Text], image: Float[Tensor, "n 3 32 32"] | None = None) -> Lesson:
    """Texts laid end to end, with a picture each or none."""
    text = lay([one.ids for one in texts])
    learnt = torch.tensor([flag for one in texts for flag in one.learnt])
    if image is None:
        return Lesson(text, learnt)
    return Lesson(text, learnt, Pictures(image, (text.ids == PATCH).nonzero()[:, 0]))
