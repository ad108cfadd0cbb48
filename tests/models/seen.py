"""Texts with no picture, one, or two among their words, by formula."""

import torch
from torch import Tensor

from sensorium.data.ragged import lay, take
from sensorium.forms.gated import Gated
from sensorium.forms.prefix import Prefix
from sensorium.nn.pictured import Pictures
from sensorium.objectives.next_token import Lesson
from sensorium.types import Ids
from tests.models.drawn import uniform


def lesson(net: Prefix, rows: int, longest: int) -> Lesson:
    """Texts of words, all learnt, with 0, 1, 2, 0, ... pictures."""
    lengths = [2 + (5 * i) % longest for i in range(rows)]
    return placed(net, [i % 3 for i in range(rows)], lengths, 2 * uniform_pictures(net, rows))


def uniform_pictures(net: Prefix | Gated, rows: int) -> Tensor:
    """As many pictures as `rows` texts have."""
    side = (3, net.pixels, net.pixels)
    drawn = uniform(f"seen {rows}", (sum(i % 3 for i in range(rows)), *side))
    return drawn.to(next(net.parameters()).dtype)


def placed(net: Prefix, counts: list[int], lengths: list[int], image: Tensor) -> Lesson:
    """One word, then the pictures, then the other words."""
    texts, learnt, place, start = [], [], [], 0
    for i, (pictures, n) in enumerate(zip(counts, lengths, strict=True)):
        words = [(7 * i + 3 * j + 1) % net.vocab for j in range(n)]
        holes = pictures * net.patches
        place += range(start + 1, start + 1 + holes)
        texts.append([words[0], *[0] * holes, *words[1:]])
        learnt += [True, *[False] * holes, *[True] * (n - 1)]
        start += len(texts[-1])
    seen = Pictures(image, torch.tensor(place, dtype=torch.long))
    return Lesson(lay(texts), torch.tensor(learnt), seen)  # type: ignore[arg-type]


def gated_lesson(net: Gated, rows: int, longest: int) -> Lesson:
    """Texts with 0, 1, 2, 0, ... pictures, each a mark between words; clips where a net has times.

    The first text with pictures begins with one; two stand side by side in the second.
    """
    texts, place, start = [], [], 0
    for i in range(rows):
        words = [(7 * i + 3 * j + 1) % net.mark for j in range(2 + (5 * i) % longest)]
        for k in range(i % 3):
            words.insert(min(k + i - 1, len(words) - 1), net.mark)
        place += [start + j for j, id in enumerate(words) if id == net.mark]
        texts.append(words)
        start += len(words)
    frames = (2,) if net.resampler.time is not None else ()
    shape = (len(place), *frames, 3, net.pixels, net.pixels)
    image = 2 * uniform(f"clips {rows}", shape).to(next(net.parameters()).dtype)
    text = lay(texts)
    return Lesson(
        text, torch.ones_like(text.ids, dtype=torch.bool), Pictures(image, torch.tensor(place))
    )


def some(source: Pictures, text: Ids, index: Tensor) -> Pictures:
    """The pictures of the texts at `index`, as `take` lays those texts."""
    patches = len(source.place) // max(len(source.image), 1)
    places = source.place.view(len(source.image), patches)
    ends = text.lengths.cumsum(0)
    owner = torch.searchsorted(ends, places[:, 0].contiguous(), right=True)
    images, moved, start = [], [], 0
    for i in index.tolist():
        mine = (owner == i).nonzero()[:, 0]
        images.append(source.image[mine])
        moved.append(places[mine].flatten() - (ends - text.lengths)[i] + start)
        start += int(text.lengths[i])
    assert take(text, index).lengths.sum() == start
    return Pictures(torch.cat(images), torch.cat(moved))
