"""Every head of a net that reads words (and pictures), asked at once: what the battery poses."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sensorium.data.patched import lay_patches, take_patches
from sensorium.data.ragged import lay, take
from sensorium.data.regions import Looked, lay_regions, take_regions
from sensorium.forms.align_fuse import AlignFuse
from sensorium.nn.answering import Told
from sensorium.nn.heads import STATES, OfRegions, Task
from sensorium.types import (
    Fuses,
    Ids,
    Joint,
    JointPair,
    Patched,
    Phrases,
    Pictured,
    Ragged,
    Reads,
    Regions,
    Tokens,
)
from tests.models.drawn import uniform


class Asked(NamedTuple):
    """Texts, and two pictures to each (None: the net reads texts alone)."""

    text: Ids
    image: Pictured | None
    second: Pictured | None


Look = Callable[[int, int], Pictured]  # so many pictures, the first (0) or the second (1) ones


def look_of(args: Mapping[str, Any]) -> Look | None:
    """Pictures of the kind that a declaration's arguments speak of; None: it speaks of none."""
    if "feature" in args:
        return partial(regions, feature=args["feature"])
    if "patch" in args:
        return partial(shapes, patch=args["patch"])
    if "image" in args and "feature" in args["image"]._fields:
        return partial(regions, feature=args["image"].feature)
    if "image" in args:
        return partial(squares, pixels=args["image"].pixels)
    return None


def asked(rows: int, longest: int, vocab: int, look: Look | None) -> Asked:
    """Texts of 1 to `longest` words, the first of one, and what is seen."""
    lengths = [1 + (5 * i) % longest for i in range(rows)]
    ids = [[(7 * i + 3 * j + 1) % vocab for j in range(n)] for i, n in enumerate(lengths)]
    text = lay(ids, kinds=[[j % 2 for j in range(n)] for n in lengths])
    if look is None:
        return Asked(text, None, None)
    return Asked(text, look(rows, 0), look(rows, 1))


def shapes(rows: int, which: int, patch: int) -> Patched:
    """Pictures of 1 to 4 rows and columns of patches."""
    sides = [(1 + (i + which) % 3, 1 + (3 * i + which) % 4) for i in range(rows)]
    return lay_patches(
        [
            2 * uniform(f"shape {i} {which}", (3, patch * y, patch * x))
            for i, (y, x) in enumerate(sides)
        ],
        patch,
    )


def regions(rows: int, which: int, feature: int) -> Regions:
    """Pictures of 0 to 5 regions, some linked with the first word, the first of each hidden."""
    samples = []
    for i in range(rows):
        r = (3 * i + which) % 6
        near, far = uniform(f"near {i} {which}", (r, 2)), uniform(f"far {i} {which}", (r, 2))
        boxes = torch.cat([near / 4 + 0.25, far / 4 + 0.75], dim=1)
        words = torch.tensor([[0, -1] if j % 2 else [-1, -1] for j in range(r)]).view(r, 2)
        seen = uniform(f"seen {i} {which}", (r, feature))
        samples.append(Looked(seen, boxes, words=words))
    laid = lay_regions(samples)
    masked = torch.zeros_like(laid.masked)
    masked[laid.rows[laid.lengths > 0, 0]] = 1
    return laid._replace(masked=masked)


def squares(rows: int, which: int, pixels: int) -> Tensor:
    """Pictures as pixels."""
    return 2 * uniform(f"square {rows} {which}", (rows, 3, pixels, pixels))


def rows_of(batch: Asked, index: Tensor) -> Asked:
    """Some rows."""
    return Asked(take(batch.text, index), *(pick(x, index) for x in batch[1:]))


def pick(image: Pictured | None, index: Tensor) -> Pictured | None:
    """Some pictures."""
    if isinstance(image, Regions):
        return take_regions(image, index)
    if isinstance(image, Patched):
        return take_patches(image, index)
    return image[index] if isinstance(image, Tensor) else None


def everything(net: nn.Module, batch: Asked) -> list[Tensor]:
    """The pooled vector, then what each head says, row by row."""
    if isinstance(net, Reads):
        said = net.read(batch.text)
        states = {"text": said.text, "pooled": said.pooled}
    else:
        assert isinstance(net, Fuses) and batch.image is not None and batch.second is not None
        joint, pair = Joint(batch.image, batch.text), JointPair(*batch[1:], batch.text)
        said = net.fuse(joint)
        states = {"text": said.text, "image": said.image, "pooled": said.pooled}
    out = [said.pooled]
    if isinstance(net, AlignFuse) and net.temperature is not None:
        vectors = net.embed_image(joint.image), net.embed_text(batch.text)
        out.append((vectors[0] * vectors[1]).sum(dim=1, keepdim=True) * (1 + net.temperature))
    for name, head in net.heads.items():
        if not isinstance(head, Task):
            out.append(head(first(states[STATES[name]])))
        elif head.asks is JointPair:
            out.append(net.ask(name, pair))
        elif head.asks is Told:
            out.append(net.ask(name, Told(joint, batch.text, torch.arange(len(batch.text.rows)))))  # type: ignore[arg-type]
        elif head.asks is Phrases:
            rows = batch.text.rows
            some = Phrases(joint, rows[:, 0], torch.arange(len(rows)))
            out.append(seen(net.ask(name, some), joint.image))
        else:
            answer = net.ask(name, joint)
            out.append(seen(answer, joint.image) if isinstance(head, OfRegions) else answer)
    return out


def first(states: Tokens | Tensor) -> Tensor:
    """The state of each row's first token (0 where it has none), or the vectors as they are."""
    if isinstance(states, Tensor):
        return states
    assert isinstance(states.at, Ragged)
    there = (states.at.lengths > 0)[:, None]
    return states.x[0, states.at.rows[:, 0]] * there


def seen(scores: Tensor, image: Pictured) -> Tensor:
    """The score of each row's first region; nothing where it has none."""
    assert isinstance(image, Regions)
    return scores[:, :1].where(image.lengths[:, None] > 0, 0)


class Everything:
    """Squares of all that is said, summed: every part of the net has a share in it."""

    coupled = False

    def pose(self, net: nn.Module, batch: Asked, g: torch.Generator) -> Asked:
        return batch

    def count(self, question: Asked) -> dict[str, int]:
        return {"all": len(question.text.lengths)}

    def encode(self, net: nn.Module, question: Asked) -> Any:
        return tuple(everything(net, question))

    def mark(self, answers: Any, question: Any) -> dict[str, Tensor]:
        parts = [(x.float() if x.dtype == torch.bfloat16 else x) for x in answers]
        return {"all": torch.stack([((x + 1) ** 2).sum() / x.shape[1] for x in parts]).sum()}

    def after_step(self, net: nn.Module) -> None:
        pass
