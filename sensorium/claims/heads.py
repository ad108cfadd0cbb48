"""Three ways for one image tower to learn from captions, each an arm of the experiment on CLIP.

All read the same pictures and the same words; each classifies by names in the way that its own
training suggests (`marks`: one number a picture and prompt, the larger the likelier).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from sensorium.data.ragged import padded
from sensorium.forms.dual import Dual
from sensorium.forms.encoder import ConvEncoder
from sensorium.nn.activation import activation
from sensorium.nn.block import Stack, layer_norm, pre_layer
from sensorium.nn.pool import GridMean
from sensorium.nn.residual import SmallResNet
from sensorium.types import Ids, ImageText, Layout, Tokens

WIDTH = 64
LOG_SCALE = math.log(1 / 0.07)
LOG_SCALE_MAX = math.log(100)


def image_tower() -> ConvEncoder:
    """The tower that every arm trains from scratch."""
    return ConvEncoder(SmallResNet((1, 1, 1), 16), GridMean(nn.Linear(64, WIDTH)))


class Sums(NamedTuple):
    """A loss of each sample."""

    x: Float[Tensor, " b"]


class Likely:
    """Minus the log-likelihood of a caption, by whatever the net takes it to be."""

    coupled = False

    def pose(self, net: nn.Module, batch: ImageText, g: torch.Generator) -> ImageText:
        return batch

    def count(self, question: ImageText) -> dict[str, int]:
        return {"words": len(question.image)}

    def encode(self, net: nn.Module, question: ImageText) -> Sums:
        return Sums(net(question))

    def mark(self, answers: Sums, question: ImageText) -> dict[str, Tensor]:
        return {"words": answers.x.sum()}

    def after_step(self, net: nn.Module) -> None:
        pass


# --- captioning ----------------------------------------------------------------------------------


class Captioner(nn.Module):
    """A causal transformer that writes the caption behind the picture's feature (VirTex's idea).

    The picture is the first token; the words and an end follow.
    """

    def __init__(self, vocab: int, length: int, end: int, layers: int = 2):
        super().__init__()
        self.image, self.end = image_tower(), end
        self.prefix = nn.Linear(WIDTH, WIDTH)
        self.word = nn.Embedding(vocab, WIDTH)
        self.pos = nn.Parameter(torch.randn(length + 1, WIDTH) * 0.02)
        nn.init.normal_(self.word.weight, std=0.02)
        self.stack = Stack(
            [pre_layer(WIDTH, 4, activation("gelu"), 1e-5) for _ in range(layers)],
            norm=layer_norm(WIDTH, 1e-5),
        )
        self.out = nn.Linear(WIDTH, vocab)

    def likelihood(self, feature: Float[Tensor, "b e"], text: Ids) -> Float[Tensor, " b"]:
        """log p(text | picture): the sum over its words and its end."""
        ids = padded(text, self.end)
        x = torch.cat([self.prefix(feature)[:, None], self.word(ids)], dim=1)
        n = x.shape[1]
        rank = torch.arange(n).expand(len(ids), n)
        same = torch.zeros_like(rank)
        states = self.stack(
            Tokens(x + self.pos[:n], Layout(seg=same, rank=rank, pos=rank, kind=same))
        )
        target = torch.cat([ids, ids.new_full((len(ids), 1), self.end)], dim=1)
        loss = F.cross_entropy(
            self.out(states.x).float().flatten(0, 1), target.flatten(), reduction="none"
        )
        return -(loss.view(len(ids), n) * (rank <= text.lengths[:, None])).sum(1)

    def forward(self, batch: ImageText) -> Float[Tensor, " b"]:
        """Minus log p(caption | picture), a word: longer captions do not weigh more."""
        whole = self.likelihood(self.image(batch.image), batch.text)
        return -whole / (batch.text.lengths + 1)

    def marks(self, image: Float[Tensor, "b 3 y x"], prompts: list[Ids]) -> Float[Tensor, "b v"]:
        """The likelihood of each prompt."""
        feature = self.image(image)
        return torch.stack(
            [self.likelihood(feature, repeated(one, len(feature))) for one in prompts], dim=1
        )


def repeated(text: Ids, times: int) -> Ids:
    """One text, many times over."""
    n = len(text.ids)
    rows = torch.arange(n * times).view(times, n)
    return Ids(
        ids=text.ids.repeat(times),
        pos=text.pos.repeat(times),
        rows=rows,
        back=rows.flatten(),
        lengths=text.lengths.repeat(times),
    )


# --- bag of words --------------------------------------------------------------------------------


class BagPredictor(nn.Module):
    """Predicts which words a caption holds, as one softmax over the vocabulary.

    The target is spread evenly over the caption's words (Joulin et al. 2016, section 3.2).
    """

    def __init__(self, vocab: int):
        super().__init__()
        self.image = image_tower()
        self.out = nn.Linear(WIDTH, vocab)

    def forward(self, batch: ImageText) -> Float[Tensor, " b"]:
        said = F.log_softmax(self.out(self.image(batch.image)).float(), dim=1)
        held = words(batch.text, said.shape[1])
        return -(said * held).sum(1) / held.sum(1)

    def marks(self, image: Float[Tensor, "b 3 y x"], prompts: list[Ids]) -> Float[Tensor, "b v"]:
        """The sum of the log-probabilities of the prompt's words."""
        said = F.log_softmax(self.out(self.image(image)).float(), dim=1)
        return said @ torch.cat([words(one, said.shape[1]) for one in prompts]).float().T


def words(text: Ids, vocab: int) -> Bool[Tensor, "b v"]:
    """Which words each text holds."""
    held = torch.zeros(len(text.lengths), vocab, dtype=torch.bool)
    held[owner(text), text.ids] = True
    return held


def owner(text: Ids) -> Int[Tensor, " t"]:
    """The text that each token belongs to."""
    return torch.repeat_interleave(torch.arange(len(text.lengths)), text.lengths)


# --- contrast ------------------------------------------------------------------------------------


class BagTower(nn.Module):
    """A text tower that sees a bag of words: their mean, mapped linearly.

    The contrastive arm of the paper's figure 2 reads texts so.
    """

    def __init__(self, vocab: int):
        super().__init__()
        self.word = nn.Embedding(vocab, WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, text: Ids) -> Float[Tensor, "b e"]:
        states = self.word(text.ids)
        total = states.new_zeros(len(text.lengths), WIDTH).index_add(0, owner(text), states)
        return self.proj(total / text.lengths[:, None])


class Contrast(Dual):
    """The two towers of CLIP; several prompts of a class are averaged as unit vectors."""

    def __init__(self, vocab: int):
        super().__init__(image_tower(), BagTower(vocab), LOG_SCALE)

    def marks(self, image: Float[Tensor, "b 3 y x"], prompts: list[Ids]) -> Float[Tensor, "b v"]:
        """The cosine with each class: with the mean of the vectors of its prompts."""
        classes = torch.stack([self.embed_text(one).mean(0) for one in prompts])
        return self.embed_image(image) @ F.normalize(classes, dim=1).T
