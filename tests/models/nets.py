"""Every system's small declarations, and for each a net without zeros, an objective and batches."""

import math
from typing import Any, NamedTuple

import torch
from torch import nn

from sensorium.data.ragged import lay, take
from sensorium.forms.decoder import Decoder
from sensorium.forms.detector import Detector
from sensorium.forms.gated import Gated
from sensorium.forms.listener import Listener
from sensorium.forms.prefix import Prefix
from sensorium.forms.seq2seq import Seq2Seq
from sensorium.models.declaration import Declaration, systems
from sensorium.nn.pictured import Pictures
from sensorium.objectives.classify import Classify
from sensorium.objectives.contrastive import Contrastive
from sensorium.objectives.detection import Detect
from sensorium.objectives.next_token import Lesson, NextToken
from sensorium.types import Classifies, Embeds, Fuses, Ids, ImageLabel, ImageText, Reads, Scenes
from tests.models import seen
from tests.models.drawn import state, uniform
from tests.models.everything import Asked, Everything, asked, everything, look_of, rows_of

SYSTEMS = dict(systems())
PUBLISHED = {
    f"{system} {size}": declaration
    for system, module in SYSTEMS.items()
    for size, declaration in module.SIZES.items()
}
TINY = {
    f"{system}.{name}": declaration
    for system, module in SYSTEMS.items()
    for name, declaration in vars(module).items()
    if name.startswith("TINY") and isinstance(declaration, Declaration)
}


def filled(declaration: Declaration) -> nn.Module:
    """A net of which no parameter is zero, so that every part matters."""
    net = declaration.build()
    net.load_state_dict(state({name: t.shape for name, t in net.state_dict().items()}))
    return net


class Posed(NamedTuple):
    """What is asked of a net, and the answer's name for its count."""

    objective: Any
    batch: Any


def posed(declaration: Declaration, net: nn.Module, rows: int = 8, longest: int = 9) -> Posed:
    """The objective that fits what the net can do, and a batch of as many rows."""
    if isinstance(net, (Decoder, Seq2Seq)):
        lengths = [2 + (5 * i) % longest for i in range(rows)]
        texts = [[(7 * i + 3 * j + 1) % net.vocab for j in range(n)] for i, n in enumerate(lengths)]
        text = lay(texts)
        source = lay(texts[::-1]) if isinstance(net, Seq2Seq) else None
        return Posed(NextToken(), Lesson(text, torch.ones_like(text.ids, dtype=torch.bool), source))
    if isinstance(net, Prefix):
        return Posed(NextToken(), seen.lesson(net, rows, longest))
    if isinstance(net, Gated):
        return Posed(NextToken(), seen.gated_lesson(net, rows, longest))
    if isinstance(net, Listener):
        return Posed(NextToken(), sounds(declaration, net, rows, longest))
    if isinstance(net, Detector):
        return Posed(Detect(anchors=32, regions=16), scenes(rows, next(net.parameters()).dtype))
    if isinstance(net, (Reads, Fuses)):
        look = look_of(declaration.args)
        words = told(declaration, "vocab") + declaration.args.get("tasks", 0)  # a task is an id
        return Posed(Everything(), asked(rows, longest, words, look))
    side = told(declaration, "pixels")
    image = 2 * uniform(f"image {rows}", (rows, 3, side, side))
    image = image.to(next(net.parameters()).dtype)
    if isinstance(net, Embeds):
        vocab = min(told(declaration, "vocab"), 1000)
        lengths = [1 + (5 * i) % longest for i in range(rows)]
        texts = [[(7 * i + 3 * j + 1) % vocab for j in range(n)] for i, n in enumerate(lengths)]
        return Posed(Contrastive((0.0, math.log(100))), ImageText(image, lay(texts)))
    assert isinstance(net, Classifies), "no objective is known for such a net: add it here"
    with torch.no_grad():
        classes = net.eval().classify(image[:1]).shape[1]
    return Posed(Classify(), ImageLabel(image, torch.arange(rows) % classes))


def sounds(declaration: Declaration, net: Listener, rows: int, longest: int) -> Lesson:
    """Spectrograms with a text each."""
    shape = (rows, told(declaration, "mels"), 2 * told(declaration, "frames"))
    mel = 2 * uniform(f"sound {rows}", shape).to(next(net.parameters()).dtype)
    lengths = [2 + (5 * i) % longest for i in range(rows)]
    text = lay([[(7 * i + 3 * j) % net.vocab for j in range(n)] for i, n in enumerate(lengths)])
    return Lesson(text, torch.ones_like(text.ids, dtype=torch.bool), mel)


def scenes(rows: int, dtype: torch.dtype) -> Scenes:
    """Pictures of two objects, every other one smaller than the place it is padded to."""
    image = 2 * uniform(f"scene {rows}", (rows, 3, 48, 64)).to(dtype)
    size = torch.tensor([[48, 64], [40, 56]]).repeat(-(-rows // 2), 1)[:rows]
    corner = 8 + 8 * uniform(f"corner {rows}", (rows, 2, 2))
    boxes = torch.cat([corner, corner + 16 + 8 * uniform(f"side {rows}", (rows, 2, 2))], dim=-1)
    labels = torch.arange(2 * rows).view(rows, 2)
    crowd = torch.zeros(rows, 2, dtype=torch.bool)
    return Scenes(image, size, boxes, labels % 5, labels % 3, crowd, torch.arange(rows))


def part(batch: Any, index: torch.Tensor) -> Any:
    """Some rows of a batch."""
    if isinstance(batch, Lesson):
        marks = batch.learnt.split(batch.text.lengths.tolist())
        source = batch.source
        if isinstance(source, Ids):
            source = take(source, index)
        elif isinstance(source, Pictures):
            source = seen.some(source, batch.text, index)
        elif source is not None:
            source = source[index]
        learnt = torch.cat([marks[i] for i in index.tolist()])
        return Lesson(take(batch.text, index), learnt, source)
    if isinstance(batch, Asked):
        return rows_of(batch, index)
    if isinstance(batch, ImageText):
        return ImageText(batch.image[index], take(batch.text, index))
    return type(batch)(*[field[index] for field in batch])


def count(batch: Any) -> int:
    """How many rows a batch has."""
    return len(batch.text.lengths if isinstance(batch, (Asked, Lesson)) else batch.image)


def halved(batch: Any) -> Any:
    """The batch for a net in bfloat16."""
    if isinstance(batch, Lesson) and isinstance(batch.source, torch.Tensor):
        return batch._replace(source=batch.source.bfloat16())
    if isinstance(batch, Lesson) and isinstance(batch.source, Pictures):
        return batch._replace(source=batch.source._replace(image=batch.source.image.bfloat16()))
    if isinstance(batch, (Asked, Lesson)):
        return batch
    return batch._replace(image=batch.image.bfloat16())


def outputs(net: nn.Module, batch: Any) -> list[torch.Tensor]:
    """All that the net says of a batch, row by row."""
    if isinstance(net, (Decoder, Seq2Seq)):
        ends = batch.text.lengths.cumsum(0) - 1
        both = isinstance(net, Seq2Seq)
        return [(net(batch.source, batch.text) if both else net(batch.text))[ends]]
    if isinstance(net, (Prefix, Gated)):
        ends = batch.text.lengths.cumsum(0) - 1
        return [net(batch.source, batch.text)[ends]]
    if isinstance(net, Listener):
        ends = batch.text.lengths.cumsum(0) - 1
        return [net.encode(batch.source), net(batch.source, batch.text)[ends]]
    if isinstance(net, Detector):
        boxes = torch.tensor([[0.0, 0.0, 30.0, 30.0], [10.0, 5.0, 38.0, 40.0]])
        boxes = boxes.to(batch.image.dtype)
        views = net.views(batch.image, batch.size)
        read = [net.read(view.x, boxes) for view in views]
        said = [(v.score[:60], v.delta[:60], *r) for v, r in zip(views, read, strict=True)]
        return [torch.stack(column) for column in zip(*said, strict=True)]
    if isinstance(batch, Asked):
        return everything(net, batch)
    if isinstance(net, Embeds):
        return [net.embed_image(batch.image), net.embed_text(batch.text)]
    assert isinstance(net, Classifies)
    return [net.classify(batch.image)]


def told(declaration: Declaration, field: str) -> int:
    """A number that the declaration gives: an argument, or a field of one of its sizes."""
    for name, value in declaration.args.items():
        if name == field:
            return value
        if isinstance(value, tuple) and field in getattr(type(value), "_fields", ()):
            return getattr(value, field)
    raise KeyError(field)


def marked(net: nn.Module, asked: Posed) -> torch.Tensor:
    """The mean loss of a batch."""
    objective = asked.objective
    question = objective.pose(net, asked.batch, torch.Generator().manual_seed(0))
    sums = objective.mark(objective.encode(net, question), question)
    counts = objective.count(question)
    return torch.stack([value / counts[name] for name, value in sums.items()]).sum()
