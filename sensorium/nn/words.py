"""BERT's embedding of words, and the heads that answer with words (Devlin et al. 2018)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.dropout import dropped
from sensorium.types import Ids, Ragged, Tokens


class WordEmbed(nn.Module):
    """Word + position + segment, normalised: BERT's input.

    Args:
        length: number of positions; longer texts are refused.
        types: number of segments.
        norm: what stands behind the sum (Identity where a joint norm follows).
        padding: row of all three tables that stays at zero and never learns (LXMERT's 0).
    """

    def __init__(
        self,
        vocab: int,
        length: int,
        types: int,
        width: int,
        norm: nn.Module,
        drop: float = 0.0,
        padding: int | None = None,
    ):
        super().__init__()
        self.length, self.drop = length, drop
        self.word = nn.Embedding(vocab, width, padding_idx=padding)
        self.pos = nn.Embedding(length, width, padding_idx=padding)
        self.segment = nn.Embedding(types, width, padding_idx=padding)
        self.norm = norm

    def forward(self, text: Ids) -> Tokens:
        if text.rows.shape[1] > self.length:
            longest = text.rows.shape[1]
            raise ValueError(f"a text of {longest} tokens is longer than the net's {self.length}")
        return self.tokens(self.sums(text), text)

    def sums(self, text: Ids) -> Float[Tensor, "t d"]:
        """Word + position + segment, not yet normalised."""
        kind = torch.zeros_like(text.ids) if text.kind is None else text.kind
        return self.word(text.ids) + self.pos(text.pos) + self.segment(kind)

    def tokens(self, x: Float[Tensor, "t d"], text: Ids) -> Tokens:
        """The sums as the tokens that a stack reads."""
        x = dropped(self.norm(x), self.drop, self.training)
        return Tokens(x[None], Ragged(text.rows, text.back, text.lengths, causal=False))


class WithTasks(nn.Module):
    """Words, and names of tasks: an id from the size of the vocabulary on is a task's.

    A task is a row of a table of its own, without position and segment, behind the same norm (Lu et
    al. 2020, "12-in-1", section 3.2). It stands last in its text, so that the words keep their
    positions; where a token stands makes no difference to attention.
    """

    def __init__(self, words: WordEmbed, tasks: int):
        super().__init__()
        self.words, self.tasks = words, nn.Embedding(tasks, words.word.embedding_dim)

    def forward(self, text: Ids) -> Tokens:
        vocab, length = self.words.word.num_embeddings, self.words.length
        task, longest = text.ids >= vocab, text.rows.shape[1]
        if longest > length + 1:
            raise ValueError(f"a text of {longest} tokens is longer than the net's {length}")
        plain = text._replace(ids=text.ids.where(~task, 0), pos=text.pos.where(~task, 0))
        rows = self.tasks((text.ids - vocab).clamp(min=0))
        return self.words.tokens(torch.where(task[:, None], rows, self.words.sums(plain)), text)


class Tied(nn.Module):
    """A linear map whose weight is another part's, with a bias of its own.

    The part is held without being a child, so that its weight has one name and is saved once.
    `turned` uses the weight the other way round (an `nn.Linear` from 2048 back to 2048).
    """

    def __init__(self, source: nn.Embedding | nn.Linear, turned: bool = False):
        super().__init__()
        self.source, self.turned = (source,), turned
        size = source.weight.shape[1 if turned else 0]
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s v"]:
        weight = self.source[0].weight
        return F.linear(x, weight.t() if self.turned else weight, self.bias)


class Transform(nn.Module):
    """Linear, activation, norm: what stands before BERT's decoder (and UNITER's other heads)."""

    def __init__(self, width: int, act: nn.Module, norm: nn.Module):
        super().__init__()
        self.dense, self.act, self.norm = nn.Linear(width, width), act, norm

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s d"]:
        return self.norm(self.act(self.dense(x)))


class Answer(nn.Module):
    """Linear, activation, norm, linear: the head of questions with many answers.

    The hidden layer is twice as wide as the input where no width is said (UNITER, LXMERT).
    """

    def __init__(
        self, width: int, answers: int, act: nn.Module, norm: nn.Module, hidden: int | None = None
    ):
        super().__init__()
        hidden = hidden or 2 * width
        self.up, self.act, self.norm = nn.Linear(width, hidden), act, norm
        self.down = nn.Linear(hidden, answers)

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s v"]:
        return self.down(self.norm(self.act(self.up(x))))


class Behind(nn.Module):
    """A head behind a transform that is another head's too, which saves it (LXMERT's objects)."""

    def __init__(self, transform: nn.Module, head: nn.Module):
        super().__init__()
        self.borrowed, self.head = (transform,), head

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s v"]:
        return self.head(self.borrowed[0](x))


class Dropped(nn.Module):
    """A head behind dropout (the vector it reads is thinned in training)."""

    def __init__(self, drop: float, head: nn.Module):
        super().__init__()
        self.drop, self.head = drop, head

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s v"]:
        return self.head(dropped(x, self.drop, self.training))


def masked_words(width: int, words: nn.Embedding, act: nn.Module, norm: nn.Module) -> nn.Sequential:
    """BERT's head for masked words: transform, then the word table turned round, and a bias."""
    return nn.Sequential(Transform(width, act, norm), Tied(words))


def bert_init(net: nn.Module, std: float = 0.02) -> None:
    """BERT's start: weights from a normal distribution, biases 0, norms 1 and 0."""
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                with torch.no_grad():
                    module.weight[module.padding_idx].zero_()
