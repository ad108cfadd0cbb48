"""Answers that are read word by word: ALBEF's decoder of answers (Li et al. 2021, section 4)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.block import Stack
from sensorium.nn.heads import Fuse, Task
from sensorium.types import Ids, Joint, Ragged, Tokens


class Told(NamedTuple):
    """Questions about pictures, and answers to them: answer i is one to row `row[i]` of `of`."""

    of: Joint
    answers: Ids
    row: Int[Tensor, " a"]


class OfAnswers(Task):
    """How likely each answer is, by a decoder that reads the fused states of the question.

    An answer begins with [CLS] and ends with [SEP]; its log-likelihood is the sum over all its
    tokens but the first.

    Args:
        embed: words of answers.
        stack: layers with cross-attention, whose memory is the question.
        head: states to logits of words.
    """

    asks = Told

    def __init__(self, embed: nn.Module, stack: Stack, head: nn.Module):
        super().__init__(head)
        self.embed, self.stack = embed, stack

    def forward(self, fuse: Fuse, batch: Told) -> Float[Tensor, "a 1"]:
        logits = self.logits(fuse(batch.of).text, batch.answers, batch.row)
        return likelihood(logits, batch.answers)[:, None]

    def logits(
        self, question: Tokens, answers: Ids, row: Int[Tensor, " a"]
    ) -> Float[Tensor, "t v"]:
        """What follows each token of each answer, in logits; all rows read the same memory."""
        at = question.at
        assert isinstance(at, Ragged)
        memory = question._replace(at=at._replace(rows=at.rows[row], lengths=at.lengths[row]))
        tokens = self.embed(answers)
        tokens = tokens._replace(at=tokens.at._replace(causal=True))
        return self.head(self.stack(tokens, memory=memory).x[0])

    def rank(
        self, fuse: Fuse, batch: Joint, answers: Ids, most: int
    ) -> tuple[Int[Tensor, "b k"], Float[Tensor, "b k"]]:
        """The best of a list of answers to each question, best first, and their probabilities.

        The `most` answers with the likeliest first words are scored by log p(first word) and their
        whole log-likelihood, so that the first word counts twice, as published (`rank_answer` in
        models/model_vqa.py); probabilities are among them alone.

        Raises:
            ValueError: fewer answers than are wanted, or one without a word after its start.
        """
        a, b = len(answers.lengths), len(batch.text.lengths)
        if not 1 <= most <= a:
            raise ValueError(f"the best {most} of {a} answers cannot be had")
        if int(answers.lengths.min()) < 2:
            raise ValueError("an answer has no token after its first: nothing of it can be scored")
        question, device = fuse(batch).text, answers.ids.device
        starts, each = answers.rows[:, 0], torch.arange(b, device=device)
        begun = self.logits(question, alone(answers.ids[starts[:1]].expand(b)), each)
        first = begun.softmax(dim=1)[:, answers.ids[starts + 1]]
        shares, ids = first.topk(most, dim=1)
        told = chosen(answers, ids.flatten())
        logits = self.logits(question, told, each.repeat_interleave(most))
        score = shares.log() + likelihood(logits, told).view(b, most)
        shares, order = score.softmax(dim=1).topk(most, dim=1)
        return ids.gather(1, order), shares


def likelihood(logits: Float[Tensor, "t v"], answers: Ids) -> Float[Tensor, " a"]:
    """The log-likelihood of each answer, given what its tokens say of the next ones."""
    after = answers.ids.roll(-1)
    told = logits.log_softmax(dim=1).gather(1, after[:, None])[:, 0]
    column = torch.arange(answers.rows.shape[1], device=after.device)
    counts = column[None, :] < answers.lengths[:, None] - 1
    return (told[answers.rows] * counts).sum(dim=1)


def alone(ids: Int[Tensor, " b"]) -> Ids:
    """Texts of one token each."""
    place = torch.arange(len(ids), device=ids.device)
    one = torch.ones_like(ids)
    return Ids(ids, torch.zeros_like(ids), place[:, None], place, one)


def chosen(answers: Ids, index: Int[Tensor, " k"]) -> Ids:
    """The answers at these places, possibly repeated."""
    lengths = answers.lengths[index]
    n = int(lengths.max())
    column = torch.arange(n, device=index.device)
    real = column[None, :] < lengths[:, None]
    ids = answers.ids[answers.rows[index][:, :n][real]]
    starts = lengths.cumsum(0) - lengths
    rows = starts[:, None] + torch.minimum(column[None, :], lengths[:, None] - 1)
    back = real.flatten().nonzero()[:, 0]
    return Ids(ids, back % n, rows, back, lengths)
