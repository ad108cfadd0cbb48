"""Pictures with boxes, told in words: captions and questions of what stands in them.

nlvr's scenes have exact boxes and, of some, true statements by people; coco_open's photographs have
captions; drawn scenes have exact boxes and no texts. Where a picture has no caption, or instead of
it, what stands in it is said by templates.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, final

import numpy as np

from sensorium.datasets import boxes as boxed
from sensorium.datasets.boxes import BoxedPictures
from sensorium.datasets.catalogue import Part
from sensorium.datasets.coco_open import coco_open
from sensorium.datasets.files import Rows
from sensorium.datasets.nlvr import nlvr
from sensorium.datasets.scenes import Scenes

ANSWERS = ("no", "yes", *map(str, range(10)))
TOLD = 0.3  # how often a caption by people is said where there is one
MANY = 4  # names that one caption lists at most


class Told(NamedTuple):
    """A picture, what people say of it, and what stands in it (boxes in its pixels)."""

    image: bytes
    texts: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    attributes: tuple[int, ...]
    id: str


@final
class Tellings(Rows[Told]):
    """Boxed pictures with their captions, by id."""

    def __init__(self, of: BoxedPictures | Scenes, said: dict[str, tuple[str, ...]]):
        self.of, self.said = of, said

    def __len__(self) -> int:
        return len(self.of)

    def sample(self, i: int) -> Told:
        one = self.of[i]
        kept = [k for k, crowd in enumerate(one.crowd) if not crowd]
        return Told(
            one.image,
            self.said.get(one.id, ()),
            tuple(one.boxes[k] for k in kept),
            tuple(self.of.labels[one.labels[k]] for k in kept),
            tuple(one.labels[k] for k in kept),
            tuple(one.attributes[k] for k in kept),
            one.id,
        )

    def words(self) -> list[str]:
        """Every text that may be said of any of the pictures, or has all its words."""
        told = [text for texts in self.said.values() for text in texts]
        names = [name for label in self.of.labels for name in (label, plural(label))]
        rest = ["there are no left right above below how many is of the a an and , . ?"]
        return [*told, *names, *rest, " ".join(ANSWERS)] * 2  # seen twice: learnt as words


def told(data: str, part: Part) -> Tellings:
    """The pictures of a set: "nlvr", "coco_open" or "scenes".

    Raises:
        ValueError: there is none of that name.
    """
    if data == "nlvr":
        true = [one for one in nlvr(part=part).entries if one.answers == ("true",)]
        return Tellings(boxed.nlvr(part=part), {one.id: (one.text,) for one in true})
    if data == "coco_open":
        captions = coco_open(part=part)
        texts = dict(zip(captions.ids, captions.texts, strict=True))
        return Tellings(boxed.coco_open(part=part), {k: tuple(v) for k, v in texts.items()})
    if data == "scenes":
        return Tellings(Scenes(part), {})
    raise ValueError(
        f"no pictures with boxes are called {data!r}; there are nlvr, coco_open, scenes"
    )


def caption(one: Told, rng: np.random.Generator) -> str:
    """A sentence that is true of the picture: people's, or what stands where by a template."""
    if one.texts and rng.random() < TOLD:
        return one.texts[int(rng.integers(len(one.texts)))]
    if len(set(one.names)) > 1 and rng.random() < 0.5:
        return related(one, rng)
    return counted(one.names, rng)


def counted(names: Sequence[str], rng: np.random.Generator) -> str:
    """How many there are of some of the things."""
    counts = Counter(names)
    if not counts:
        return "there is nothing ."
    kinds = list(counts)
    chosen = [kinds[i] for i in rng.permutation(len(kinds))[: int(rng.integers(1, MANY + 1))]]
    parts = [several(name, counts[name]) for name in chosen]
    verb = "is" if counts[chosen[0]] == 1 else "are"
    listed = parts[0] if len(parts) == 1 else f"{' , '.join(parts[:-1])} and {parts[-1]}"
    return f"there {verb} {listed} ."


def related(one: Told, rng: np.random.Generator) -> str:
    """Where one thing stands from another of another name."""
    i = int(rng.integers(len(one.names)))
    others = [j for j, name in enumerate(one.names) if name != one.names[i]]
    j = others[int(rng.integers(len(others)))]
    (x1, y1, x2, y2), (u1, v1, u2, v2) = one.boxes[i], one.boxes[j]
    x, y = x1 + x2 - u1 - u2, y1 + y2 - v1 - v2
    if abs(x) >= abs(y):
        where = "left of" if x < 0 else "right of"
    else:
        where = "above" if y < 0 else "below"
    return f"{article(one.names[i])} is {where} {article(one.names[j])} ."


def question(one: Told, labels: Sequence[str], rng: np.random.Generator) -> tuple[str, int]:
    """A question about the picture, and the place of its answer among ANSWERS."""
    counts = Counter(one.names)
    there = bool(counts) and rng.random() < 0.5
    known = list(counts) if there else list(labels)
    name = known[int(rng.integers(len(known)))]
    if rng.random() < 0.5:
        return f"is there {article(name)} ?", int(counts[name] > 0)
    return f"how many {plural(name)} are there ?", 2 + min(counts[name], 9)


def several(name: str, count: int) -> str:
    """A thing, or so many of them."""
    return article(name) if count == 1 else f"{count} {plural(name)}"


def article(name: str) -> str:
    """With "a" or "an" before it."""
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    """More than one of it."""
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return f"{name}s"
