"""Heads that answer questions: each knows what it is asked about, and how often the net must read.

A head of pre-training maps states: `net.heads["mlm"](states of words)`, see `STATES`. The heads
here are asked with a whole batch instead, `net.ask("vqa", batch)`: they call `fuse` themselves,
because a statement about two pictures is read once by some nets and twice by others.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.dropout import dropped
from sensorium.nn.joint import join
from sensorium.nn.regions import beside
from sensorium.nn.sight import HIDDEN, View, across, real
from sensorium.types import (
    Fused,
    Joint,
    JointPair,
    Patched,
    Phrases,
    Pictured,
    Ragged,
    Regions,
    Tokens,
)

Fuse = Callable[[Joint], Fused]

STATES = {  # the part of a `Fused` that each head of pre-training reads
    **dict.fromkeys(("mlm",), "text"),
    **dict.fromkeys(("mrfr", "mrc", "obj", "attr", "feat"), "image"),
    **dict.fromkeys(("itm", "nsp", "qa"), "pooled"),
}


class Task(nn.Module):
    """A head that is asked with a batch; `asks` is the type of batch."""

    asks: type = Joint

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = head


class Unread(nn.Module):
    """A linear layer of published weights that nothing reads: kept, so that files stay whole."""

    def __init__(self, outputs: int, inputs: int):
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs))
        self.register_buffer("bias", torch.zeros(outputs))


class OfPooled(Task):
    """Answers from the pooled vector."""

    def forward(self, fuse: Fuse, batch: Joint) -> Float[Tensor, "b v"]:
        return self.head(fuse(batch).pooled)


class OfWord(Task):
    """Answers from the state of one word, counted from the end of its text (1: the last).

    VisualBERT ends questions with "? [MASK] [SEP]" and reads the word before the last.
    """

    def __init__(self, head: nn.Module, from_end: int):
        super().__init__(head)
        self.from_end = from_end

    def forward(self, fuse: Fuse, batch: Joint) -> Float[Tensor, "b v"]:
        text = fuse(batch).text
        assert isinstance(text.at, Ragged)
        column = (text.at.lengths - self.from_end).clamp(min=0)
        return self.head(text.x[0, text.at.rows.gather(1, column[:, None])[:, 0]])


class OfRegions(Task):
    """One number a region, a row a sample: which region is meant (referring expressions).

    Places where a sample has no region get a score that no softmax hears.
    """

    def forward(self, fuse: Fuse, batch: Joint) -> Float[Tensor, "b n"]:
        image = fuse(batch).image
        assert isinstance(image.at, Ragged)
        scores = self.head(image.x[0])[:, 0][image.at.rows]
        return scores.masked_fill(~real(image.at)[:, 0, 0], HIDDEN)


class OfPhrases(Task):
    """One number a region for each phrase: the phrase's last word asks the regions (Flickr30k).

    One head of attention without values (VisualBERT's `flickr_attention`; its `value` is there
    because the published weights have it, and is never used).
    """

    asks = Phrases

    def __init__(self, width: int, inner: int):
        super().__init__(nn.Identity())
        self.query, self.key = nn.Linear(width, inner), nn.Linear(width, inner)
        self.value = Unread(inner, width)

    def forward(self, fuse: Fuse, batch: Phrases) -> Float[Tensor, "p n"]:
        said = fuse(batch.of)
        assert isinstance(said.image.at, Ragged)
        q, k = self.query(said.text.x[0, batch.place]), self.key(said.image.x[0])
        k = k[said.image.at.rows[batch.row]]
        scores = torch.einsum("pd,pnd->pn", q, k) * q.shape[1] ** -0.5
        return scores.masked_fill(~real(said.image.at)[batch.row, 0, 0], HIDDEN)


class OfBoth(Task):
    """Both pictures in one sequence, told apart by their kind; answers from the pooled vector."""

    asks = JointPair

    def forward(self, fuse: Fuse, batch: JointPair) -> Float[Tensor, "b v"]:
        if not isinstance(batch.image, Regions) or not isinstance(batch.second, Regions):
            raise ValueError("two pictures in one sequence are read as regions")
        return self.head(fuse(Joint(beside(batch.image, batch.second), batch.text)).pooled)


class OfPair(Task):
    """The text is read with each picture in turn; answers from both pooled vectors."""

    asks = JointPair

    def forward(self, fuse: Fuse, batch: JointPair) -> Float[Tensor, "b v"]:
        left, right = both(fuse, batch)
        return self.head(torch.cat([left.pooled, right.pooled], dim=1))


class OfPairAttention(Task):
    """The two readings look at each other, then are pooled by attention (UNITER on NLVR2).

    Args:
        left, right: the two `CrossAttention`s; the left reading asks the right one, and back.
        mix: what has been read beside what was there, made one (2d to d).
        score: one number a token, whose softmax weighs the tokens.
        head: both readings' vectors to the answer.
        drop: on those weights.
    """

    asks = JointPair

    def __init__(
        self,
        left: nn.Module,
        right: nn.Module,
        mix: nn.Module,
        score: nn.Module,
        head: nn.Module,
        drop: float,
    ):
        super().__init__(head)
        self.left, self.right, self.mix, self.score, self.drop = left, right, mix, score, drop

    def forward(self, fuse: Fuse, batch: JointPair) -> Float[Tensor, "b v"]:
        left, right = (join(said.text, said.image)[0] for said in both(fuse, batch))
        vectors = self.looked(self.left, left, right), self.looked(self.right, right, left)
        return self.head(torch.cat(vectors, dim=1))

    def looked(self, look: nn.Module, asks: Tokens, told: Tokens) -> Float[Tensor, "b d"]:
        """One reading's vector, once it has looked at the other."""
        seen = look(asks.x, View(memory=told.x, see_memory=across(asks, told)[0]))
        mixed = self.mix(torch.cat([seen, asks.x], dim=2))[0]
        assert isinstance(asks.at, Ragged)
        score = self.score(mixed)[:, 0][asks.at.rows]
        share = score.masked_fill(~real(asks.at)[:, 0, 0], HIDDEN).softmax(dim=1)
        share = dropped(share, self.drop, self.training)
        return torch.einsum("bn,bnd->bd", share, mixed[asks.at.rows])


def both(fuse: Fuse, batch: JointPair) -> tuple[Fused, Fused]:
    """The text read with the first picture, and with the second, whose kind is the next."""
    return fuse(Joint(batch.image, batch.text)), fuse(Joint(next_kind(batch.second), batch.text))


def next_kind(image: Pictured) -> Pictured:
    """The same picture as the second of its sample."""
    if isinstance(image, (Regions, Patched)):
        return image._replace(kind=image.kind + 1)
    return image


def ask(fuse: Fuse, heads: nn.ModuleDict, name: str, batch: object) -> Tensor:
    """What the head of that name answers to a batch.

    Raises:
        ValueError: the net has no such head, or it is asked with another kind of batch; the message
            says what there is.
    """
    tasks = {key: head for key, head in heads.items() if isinstance(head, Task)}
    if name not in tasks:
        raise ValueError(
            f"the net answers no {name!r}; it answers: {', '.join(tasks) or 'nothing'}"
        )
    head = tasks[name]
    if not isinstance(batch, head.asks):
        raise ValueError(f"{name} is asked with {head.asks.__name__}, not {type(batch).__name__}")
    return head(fuse, batch)
