"""Align before fusing: contrast, matching against hard negatives, masked words (ALBEF section 3).

Three losses on one reading of the two towers. The contrast is set against a slow teacher's vectors
(`momentum`); what it finds similar though wrong is what matching is asked about; masked words are
learnt from what stood there and from the teacher's opinion.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.objectives import masked_words
from sensorium.objectives.contrastive import numbered
from sensorium.objectives.masked_words import Hidden, Vocabulary, hide_words
from sensorium.objectives.momentum import ALBEF, Queue, Slow, Vectors, contrast, copy, follow, keys
from sensorium.objectives.passes import opened, wide
from sensorium.objectives.rows import laid, places
from sensorium.types import Fused, Ids, Joint, Ragged, Tokens

MATCH = 1  # the label of a right pair
TEMPERATURE = (0.001, 0.5)
LEAST = 1e-12  # added to a candidate's weight, so that there is always one to be drawn


@runtime_checkable
class Aligns(Protocol):
    """Two towers, their meeting in one space, and a fusion of any text with any picture."""

    image: nn.Module
    text: nn.Module
    image_pool: nn.Module
    text_pool: nn.Module
    heads: nn.ModuleDict
    temperature: nn.Parameter

    def meet(self, text: Tokens, image: Tokens) -> Fused: ...


class Posed(NamedTuple):
    """The pairs, their texts with hidden words, whom each row may be confused with, the numbers
    that will draw one of them, and those of the pictures."""

    of: Joint
    hidden: Ids
    asked: Hidden
    may: Bool[Tensor, "b b"]
    draw: Float[Tensor, "b 2"]
    picture: Int[Tensor, " b"] | None = None


class Answers(NamedTuple):
    """Vectors of net and teacher; match logits of each pair, of its text with a wrong picture and
    of its picture with a wrong text; of each hidden word -log p, and the teacher's cross-entropy.
    """

    image: Float[Tensor, "b e"]
    text: Float[Tensor, "b e"]
    image_key: Float[Tensor, "b e"]
    text_key: Float[Tensor, "b e"]
    match: Float[Tensor, "b 3 2"]
    words: Float[Tensor, "m 2"]
    temperature: Float[Tensor, " 1"]


class Aligned(nn.Module):
    """ITC, ITM and MLM on one pass. The losses and the state are those of the global batch; the
    wrong pairs come from the same slice on the same rank, as ALBEF's do from the same GPU.

    The teacher starts as the net at the first step. Its parameters must not learn: give them the
    rule `Freeze()` (they are called `objectives.NAME.teacher...`).

    Args:
        teacher: a net like the one that is trained; only its parameters' names and shapes matter.
        queue: the teacher's last vectors; a `named` one where the batches (`Case.picture`) say
            which picture each text is of.
        words: what masking must know of the tokenizer.
        slow: how the teacher follows and counts.
        losses: those of "itc", "itm", "mlm" that are asked.
        hard: wrong pairs by similarity; else any, each as likely.
    """

    coupled = True

    def __init__(
        self,
        teacher: nn.Module,
        queue: Queue,
        words: Vocabulary,
        slow: Slow = ALBEF,
        losses: Sequence[str] = ("itc", "itm", "mlm"),
        hard: bool = True,
    ):
        super().__init__()
        if odd := set(losses) - {"itc", "itm", "mlm"}:
            raise ValueError(
                f"there is no loss {', '.join(sorted(odd))}: itc, itm and mlm there are"
            )
        self.teacher, self.queue = teacher.requires_grad_(False), queue
        self.words, self.slow, self.losses, self.hard = words, slow, tuple(losses), hard
        self.register_buffer("steps", torch.zeros(1, dtype=torch.long))
        self.fresh: tuple[Tensor, Tensor, Tensor | None] | None = None

    def pose(self, net: nn.Module, batch: Any, g: torch.Generator) -> Posed:
        if int(self.get_buffer("steps")) == 0:
            copy(self.teacher, net)
        of, picture = opened(batch).of, opened(batch).picture
        hidden, asked = hide_words(of.text, self.words, masked_words.ALBEF, g)
        number = numbered(of.text)  # an equal text is right for the picture as well
        draw = torch.rand(len(number), 2, generator=g).to(number.device)
        may = number[:, None] != number[None, :]
        if picture is not None:
            may = may & (picture[:, None] != picture[None, :])
        return Posed(of, hidden, asked, may, draw, picture)

    def count(self, question: Posed) -> dict[str, int]:
        b, wrong = len(question.may), int(question.may.any(1).sum())
        counts = {"itc": b, "itm": b + 2 * wrong, "mlm": len(question.asked.place)}
        return {name: counts[name] for name in self.losses}

    def encode(self, net: nn.Module, question: Posed) -> Answers:
        own, teacher = aligns(net), aligns(self.teacher)
        image, text = own.image(question.of.image), own.text(question.of.text)
        v, w = unit(own.image_pool(image)), unit(own.text_pool(text))
        with torch.no_grad():
            image_m = teacher.image(question.of.image)
            v_m = unit(teacher.image_pool(image_m))
            w_m = unit(teacher.text_pool(teacher.text(question.of.text)))
        match, words = v.new_zeros(len(v), 3, 2), v.new_zeros(0, 2)
        if "itm" in self.losses:
            near = Vectors(v.detach(), w.detach(), v_m, w_m)
            picture, other = self.wrong(near, own.temperature.detach(), question)
            match = matched(own, text, image, picture, other)
        if "mlm" in self.losses:
            place = question.asked.place
            logits = said_words(own, question.hidden, image, place)
            with torch.no_grad():
                opinion = said_words(teacher, question.hidden, image_m, place).softmax(dim=1)
            logs = logits.log_softmax(dim=1)
            known = -logs.gather(1, question.asked.label[:, None])[:, 0]
            words = torch.stack([known, -(opinion * logs).sum(dim=1)], dim=1)
        return Answers(v, w, v_m, w_m, match, words, own.temperature)

    def wrong(
        self, said: Vectors, temperature: Float[Tensor, " 1"], question: Posed
    ) -> tuple[Int[Tensor, " b"], Int[Tensor, " b"]]:
        """A wrong picture for each text, and a wrong text for each picture."""
        out = []
        for column, (asks, answers) in enumerate(
            ((said.text, said.image_key), (said.image, said.text_key))
        ):
            weight = (asks @ answers.T / temperature).softmax(dim=1)
            weight = weight if self.hard else torch.ones_like(weight)
            weight = (weight.double() + LEAST) * question.may
            ends = weight.cumsum(dim=1)
            at = question.draw[:, column, None].double() * ends[:, -1:]
            chosen = torch.searchsorted(ends, at, right=True)[:, 0].clamp(max=len(ends) - 1)
            own = torch.arange(len(ends), device=ends.device)
            out.append(torch.where(question.may.any(1), chosen, own))
        return out[0], out[1]

    def mark(self, answers: Answers, question: Posed | Sequence[Posed]) -> dict[str, Tensor]:
        """The sums; also notes the batch's keys for the queue. `question` is a list when slices are
        marked together."""
        asked = [question] if isinstance(question, Posed) else question
        soft = self.share()
        pictures = [q.picture for q in asked if q.picture is not None]
        number = torch.cat(pictures) if pictures else None
        known = keys(answers.image_key.detach(), answers.text_key.detach(), self.queue, number)
        fresh = None if known.number is None else known.number[: known.fresh]
        self.fresh = known.image[: known.fresh], known.text[: known.fresh], fresh
        sums = {}
        if "itc" in self.losses:
            said = Vectors(*answers[:4])
            sums["itc"] = contrast(said, known, answers.temperature, soft)
        if "itm" in self.losses:
            sums["itm"] = matching(answers.match, torch.cat([q.may.any(1) for q in asked]))
        if "mlm" in self.losses:
            hard, teacher = answers.words.sum(dim=0)
            sums["mlm"] = (1 - soft) * hard + soft * teacher
        return sums

    def share(self) -> float:
        """How much the teacher's opinion counts at this step."""
        done = int(self.get_buffer("steps"))
        return self.slow.soft * min(1.0, done / self.slow.ramp if self.slow.ramp else 1.0)

    @torch.no_grad()
    def after_step(self, net: nn.Module) -> None:
        """Clamps the temperature, moves the teacher, feeds the queue, counts the step."""
        net.get_parameter("temperature").clamp_(*TEMPERATURE)
        follow(self.teacher, net, self.slow.decay)
        if self.fresh is not None:
            self.queue.push(*self.fresh)
        self.fresh = None
        self.get_buffer("steps").add_(1)


def matched(
    net: Aligns,
    text: Tokens,
    image: Tokens,
    picture: Int[Tensor, " b"],
    other: Int[Tensor, " b"],
) -> Float[Tensor, "b 3 2"]:
    """Match logits of each pair, of its text with a wrong picture, of its picture with a wrong
    text; all fused in one call."""
    own = torch.arange(len(picture), device=picture.device)
    texts, pictures = torch.cat([own, own, other]), torch.cat([own, picture, own])
    fused = net.meet(take_tokens(text, texts), take_tokens(image, pictures))
    return wide(net.heads["itm"](fused.pooled)).unflatten(0, (3, len(own))).transpose(0, 1)


def matching(match: Float[Tensor, "b 3 2"], known: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """Cross-entropy of right and wrong pairs; `known`: the rows for which wrong ones were found."""
    label = torch.tensor([MATCH, 1 - MATCH, 1 - MATCH], device=match.device).expand(len(match), 3)
    each = F.cross_entropy(match.flatten(0, 1), label.flatten(), reduction="none").view(-1, 3)
    return each[:, 0].sum() + (each[:, 1:] * known[:, None]).sum()


def said_words(
    net: Aligns, hidden: Ids, image: Tokens, place: Int[Tensor, " m"]
) -> Float[Tensor, "m v"]:
    """Logits of the hidden words, from a reading of their texts with the right pictures."""
    states = net.meet(net.text(hidden), image).text.x.flatten(0, 1)
    return wide(net.heads["mlm"](states[place]))


def take_tokens(tokens: Tokens, index: Int[Tensor, " k"]) -> Tokens:
    """The tokens of the samples at these places, in this order, possibly repeated."""
    if tokens.at is None:
        return Tokens(tokens.x[index])
    assert isinstance(tokens.at, Ragged)
    place, lengths = places(tokens.at.lengths, index)
    rows, back, _ = laid(lengths)
    return Tokens(tokens.x[:, place], Ragged(rows, back, lengths, tokens.at.causal))


def unit(x: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    """Vectors of length 1, in at least float32."""
    return F.normalize(wide(x), dim=-1)


def aligns(net: nn.Module) -> Aligns:
    """The net as two towers and a fusion.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(net, Aligns):
        raise ValueError(f"{type(net).__name__} does not align pictures and texts before fusing")
    return net
