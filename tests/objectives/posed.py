"""What the tests of fusion objectives share: small nets without zeros, batches, and slow twins."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.data.ragged import lay, unlay
from sensorium.data.regions import Looked, lay_regions, unlay_regions
from sensorium.models.uniter import TINY
from sensorium.objectives.masked_words import Vocabulary
from sensorium.objectives.passes import Case
from sensorium.objectives.rows import take_picture, take_text
from sensorium.train.backward import Scale, backward
from sensorium.train.parallel import Place
from sensorium.train.step import Step
from sensorium.types import Detections, Fused, Joint
from tests.models.drawn import uniform
from tests.models.nets import filled

WORDS = Vocabulary(mask=4, never=(0, 1, 2, 3), first=5, last=1000, goes_on=tuple(range(500, 1000)))
FEATURE, CLASSES = 32, 21
ALONE = Place(0, 1, torch.device("cpu"))


def uniter() -> Any:
    """UNITER's small net in double precision."""
    return filled(TINY).double()


def case(rows: int = 6, answers: int = 0, none: int | None = 2) -> Case:
    """Pictures of some regions (picture `none` has none) and texts; rows 1 and 4 read the same."""
    texts = [[2, *((7 * i + 311 * j) % 900 + 5 for j in range(3 + i % 4)), 3] for i in range(rows)]
    if rows > 4:
        texts[4] = texts[1]
    counts = [0 if i == none else 2 + (3 * i) % 5 for i in range(rows)]
    seen = [
        Looked(uniform(f"f{i}", (r, FEATURE)).double(), uniform(f"b{i}", (r, 4)).double().abs())
        for i, r in enumerate(counts)
    ]
    total = sum(counts)
    said = Detections(
        probs=(3 * uniform("probs", (total, CLASSES))).double().softmax(1),
        label=torch.arange(total) % CLASSES,
        score=uniform("sure", (total,)).double().abs(),
        attribute=torch.arange(total) % 5 - 1,
        attribute_score=uniform("sure too", (total,)).double().abs(),
    )
    score = None
    if answers:
        score = uniform("score", (rows, answers)).double().clamp(min=0)
        score[3] = 0
    return Case(Joint(lay_regions(seen), lay(texts)), said=said, score=score)


def part(batch: Case, index: list[int]) -> Case:
    """Some rows of it."""
    chosen = torch.tensor(index)
    of = Joint(take_picture(batch.of.image, chosen), take_text(batch.of.text, chosen))
    lengths = batch.of.image.lengths.tolist()  # type: ignore[union-attr]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    place = torch.tensor([starts[i] + j for i in index for j in range(lengths[i])]).long()
    said = batch.said and Detections(*(field[place] for field in batch.said))
    return Case(of, said=said, score=None if batch.score is None else batch.score[chosen])


def one_by_one(net: Any, of: Joint) -> list[Fused]:
    """What the net says of each pair alone."""
    texts = zip(unlay(of.text), kinds(of), strict=True)
    pairs = zip(texts, unlay_regions(of.image), each_masked(of), strict=True)  # type: ignore[arg-type]
    out = []
    for (ids, kind), seen, masked in pairs:
        image = lay_regions([seen])
        image = image._replace(masked=masked if len(masked) else image.masked)
        out.append(net.fuse(Joint(image, lay([ids], kinds=None if kind is None else [kind]))))
    return out


def kinds(of: Joint) -> list:
    """Each text's segments."""
    if of.text.kind is None:
        return [None] * len(of.text.lengths)
    flat, ends = of.text.kind.tolist(), of.text.lengths.cumsum(0).tolist()
    return [flat[a:z] for a, z in zip([0, *ends[:-1]], ends, strict=True)]


def each_masked(of: Joint) -> list[Tensor]:
    """Each picture's flags."""
    lengths = of.image.lengths.tolist()  # type: ignore[union-attr]
    return list(of.image.masked[: sum(lengths)].split(lengths))  # type: ignore[union-attr]


def states(said: list[Fused], side: str) -> Tensor:
    """The states of all words or regions, one after the other, of pairs read alone."""
    real = [getattr(one, side) for one in said]
    return torch.cat([tokens.x[0, : int(tokens.at.lengths[0])] for tokens in real])


def gradients(net: nn.Module, objective: Any, slices: list[Any]) -> tuple[dict, dict]:
    """The losses' means and the gradient of their sum, from slices that were posed already."""
    step = Step(net, {"asked": objective})
    counts: dict[str, float] = {}
    for question in slices:
        for name, n in objective.count(question).items():
            counts[name] = counts.get(name, 0) + n
    scale = Scale({"asked": {name: 1 / max(n, 1) for name, n in counts.items()}})
    net.zero_grad()
    posed = [{"asked": question} for question in slices]
    sums = backward(step, step, posed, scale, ALONE, lambda _: nullcontext())["asked"]
    grads = {n: p.grad for n, p in net.named_parameters() if p.grad is not None}
    return {n: float(v) / max(counts[n], 1) for n, v in sums.items()}, grads


def same_gradients(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Asserts that both are equal to rounding; a gradient that is missing is one of zeros."""
    for name in found.keys() | wanted.keys():
        a, b = found.get(name), wanted.get(name)
        a = torch.zeros_like(b) if a is None else a  # type: ignore[arg-type]
        b = torch.zeros_like(a) if b is None else b
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
