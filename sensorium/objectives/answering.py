"""Questions answered: as pre-training beside other tasks, and as what a net is fine-tuned for.

`Answering` is a part of a pass (LXMERT's question answering while it is pre-trained); `Asking` is
an objective of its own for every head of fine-tuning (`net.ask`), with the loss that the system
uses for it. Every loss is a mean over questions (phrases, groups of choices).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.objectives.passes import Case, fuses, head, wide
from sensorium.types import Answered, Choices, Fused, Fuses, Joint, JointPair, Phrases, Scored

Loss = Callable[[Float[Tensor, "k v"], Tensor], Float[Tensor, ""]]


class Drawn(NamedTuple):
    """The rows that are questions, and the answer drawn for each."""

    row: Int[Tensor, " q"]
    label: Int[Tensor, " q"]


class Logits(NamedTuple):
    """One number an answer."""

    x: Float[Tensor, "q v"]


class Answering:
    """A part of a pass: cross-entropy of an answer that is drawn in proportion to the scores.

    Texts that are no question (all scores 0) or not of their picture are left out.

    Args:
        name: of the head, which reads the pooled vector, and of the loss.
    """

    def __init__(self, name: str = "qa"):
        self.name = name

    def hide(self, case: Case, g: torch.Generator) -> tuple[Case, Drawn]:
        if case.score is None:
            raise ValueError(f"{self.name} is asked, but the batch holds no answers")
        row = (case.pairs() & (case.score.sum(1) > 0)).nonzero()[:, 0]
        shares = case.score[row].double().cumsum(1).cpu()
        draw = torch.rand(len(case.score), generator=g, dtype=torch.float64)[row.cpu(), None]
        label = torch.searchsorted(shares, draw * shares[:, -1:], right=True)[:, 0]
        return case, Drawn(row, label.to(row.device))

    def count(self, asked: Drawn) -> dict[str, int]:
        return {self.name: len(asked.row)}

    def read(self, net: Fuses, said: Fused, asked: Drawn) -> Logits:
        return Logits(head(net, self.name)(said.pooled[asked.row]))

    def mark(self, answer: Logits, asked: Drawn) -> dict[str, Tensor]:
        return {self.name: F.cross_entropy(wide(answer.x), asked.label, reduction="sum")}


class Asking:
    """A head of fine-tuning and its loss.

    The batch is `Answered`, `Scored` or `Choices`, or `Located` where boxes have shares.

    Args:
        name: of the head, and of the loss.
        loss: a sum over questions of the logits and what is right: `one_of`, `soft_bce`, `soft_kl`,
            `choice`, `true_choice`, `best_first`.
    """

    coupled = False

    def __init__(self, name: str, loss: Loss):
        self.name, self.loss = name, loss

    def pose(self, net: nn.Module, batch: Any, g: torch.Generator) -> Any:
        """The batch itself: nothing is random."""
        return batch

    def count(self, question: Any) -> dict[str, int]:
        return {self.name: len(right(question))}

    def encode(self, net: nn.Module, question: Any) -> Logits:
        return Logits(fuses(net).ask(self.name, question.of))

    def mark(self, answers: Logits, question: Any) -> dict[str, Tensor]:
        return {self.name: self.loss(wide(answers.x), right(question))}

    def after_step(self, net: nn.Module) -> None:
        """Nothing follows a step."""


class Located(NamedTuple):
    """Texts that name something in their picture, and how well each region fits (VisualBERT on
    Flickr30k: shares that add up to 1; ViLBERT on RefCOCO+: overlaps)."""

    of: Joint | JointPair | Phrases
    share: Float[Tensor, "k n"]


def right(question: Any) -> Tensor:
    """What is right: labels, or shares.

    Raises:
        ValueError: the batch does not say.
    """
    if isinstance(question, (Answered, Choices)):
        return question.label
    if isinstance(question, Scored):
        return question.score
    if isinstance(question, Located):
        return question.share
    raise ValueError(f"{type(question).__name__} holds no answers to learn from")


# --- losses: sums over questions ------------------------------------------------------------------


def one_of(logits: Float[Tensor, "b v"], label: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """One answer is right, softmax: NLVR2, visual entailment, GQA, the right region (UNITER)."""
    return F.cross_entropy(logits, label, reduction="sum")


def soft_bce(logits: Float[Tensor, "b v"], score: Float[Tensor, "b v"]) -> Float[Tensor, ""]:
    """Each answer by itself is right or not, with a share (VQA v2 in UNITER, ViLBERT, LXMERT and
    ViLT: their mean over answers times the number of answers)."""
    return F.binary_cross_entropy_with_logits(logits, score.to(logits.dtype), reduction="sum")


def soft_kl(logits: Float[Tensor, "b v"], score: Float[Tensor, "b v"]) -> Float[Tensor, ""]:
    """KL of the scores, as they are, to the softmax (VisualBERT on VQA v2; its phrases too)."""
    return F.kl_div(logits.log_softmax(1), score.to(logits.dtype), reduction="sum")


def choice(logits: Float[Tensor, "k 1"], label: Int[Tensor, " g"]) -> Float[Tensor, ""]:
    """One of each group of candidates is right, a softmax over the group: VCR in VisualBERT and
    ViLBERT, retrieval in ViLT (one right text among 16)."""
    return F.cross_entropy(logits.view(len(label), -1), label, reduction="sum")


def true_choice(logits: Float[Tensor, "k 2"], label: Int[Tensor, " g"]) -> Float[Tensor, ""]:
    """Each candidate by itself is true or false (UNITER on VCR): a mean over the group's."""
    groups = len(label)
    truth = torch.zeros(groups, len(logits) // groups, dtype=torch.long, device=label.device)
    truth.scatter_(1, label[:, None], 1)
    return F.cross_entropy(logits, truth.flatten(), reduction="sum") * groups / len(logits)


def best_first(margin: float = 0.2) -> Loss:
    """The right candidate's number shall exceed each other's by a margin (retrieval in UNITER).

    Numbers pass a sigmoid first; a mean over the other candidates.
    """

    def loss(logits: Float[Tensor, "k 1"], label: Int[Tensor, " g"]) -> Float[Tensor, ""]:
        score = logits.sigmoid().view(len(label), -1)
        best = score.gather(1, label[:, None])
        over = (margin + score - best).clamp(min=0).scatter(1, label[:, None], 0.0)
        return over.sum() / (score.shape[1] - 1)

    return loss
