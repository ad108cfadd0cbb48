"""From the tokens of a sample to the one vector that stands for it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.block import dropped
from sensorium.nn.sight import FirstOnly, LastOnly, Only
from sensorium.types import Grid, Ragged, Tokens


class First(nn.Module):
    """The first token (the class token), normalised, then projected."""

    def __init__(self, norm: nn.Module, proj: nn.Module):
        super().__init__()
        self.norm, self.proj = norm, proj

    def forward(self, tokens: Tokens) -> Float[Tensor, "b e"]:
        if isinstance(tokens.at, Ragged):
            return self.proj(self.norm(tokens.x[0, tokens.at.rows[:, 0]]))
        return self.proj(self.norm(tokens.x[:, 0]))


def pooler(width: int, embed: int | None = None, act: nn.Module | None = None) -> First:
    """BERT's pooler: the first token through a linear layer and tanh (ViLBERT's through ReLU)."""
    proj = nn.Sequential(nn.Linear(width, embed or width), act if act is not None else nn.Tanh())
    return First(norm=nn.Identity(), proj=proj)


class OfText(nn.Module):
    """Of two streams the text's pooled vector alone (LXMERT)."""

    def __init__(self, pool: nn.Module):
        super().__init__()
        self.pool = pool

    def forward(self, text: Tokens, image: Tokens) -> Float[Tensor, "b e"]:
        return self.pool(text)


class Together(nn.Module):
    """The pooled vectors of both streams, multiplied, and thinned in training (ViLBERT)."""

    def __init__(self, text: nn.Module, image: nn.Module, drop: float):
        super().__init__()
        self.text, self.image, self.drop = text, image, drop

    def forward(self, text: Tokens, image: Tokens) -> Float[Tensor, "b e"]:
        return dropped(self.text(text) * self.image(image), self.drop, self.training)


class Last(nn.Module):
    """The last token of each text, normalised, then projected (CLIP's end-of-text feature)."""

    def __init__(self, norm: nn.Module, proj: nn.Module):
        super().__init__()
        self.norm, self.proj = norm, proj

    def forward(self, tokens: Tokens) -> Float[Tensor, "b e"]:
        if not isinstance(tokens.at, Ragged):
            raise ValueError("pooling the last token needs texts laid end to end (types.Ragged)")
        last = tokens.at.rows[:, -1]  # rows repeat a text's last token to their end
        return self.proj(self.norm(tokens.x[0, last]))


class Mean(nn.Module):
    """The mean of all tokens, normalised, then projected (global average pooling)."""

    def __init__(self, norm: nn.Module, proj: nn.Module):
        super().__init__()
        self.norm, self.proj = norm, proj

    def forward(self, tokens: Tokens) -> Float[Tensor, "b e"]:
        return self.proj(self.norm(tokens.x.mean(dim=1)))


class GridMean(nn.Module):
    """The mean over the cells of a plane, then projected."""

    def __init__(self, proj: nn.Module):
        super().__init__()
        self.proj = proj

    def forward(self, grid: Grid) -> Float[Tensor, "b e"]:
        return self.proj(grid.x.mean(dim=(2, 3)))


class Bag(nn.Module):
    """The sum of a text's tokens over the square root of their number, normalised, then projected.

    The square root keeps the variance of a sum of unlike words the same for long texts and short.
    """

    def __init__(self, norm: nn.Module, proj: nn.Module):
        super().__init__()
        self.norm, self.proj = norm, proj

    def forward(self, tokens: Tokens) -> Float[Tensor, "b e"]:
        if not isinstance(tokens.at, Ragged):
            raise ValueError("a bag of words needs texts laid end to end (types.Ragged)")
        rows, lengths = tokens.at.rows, tokens.at.lengths
        real = torch.arange(rows.shape[1], device=rows.device) < lengths[:, None]
        total = (tokens.x[0][rows] * real[:, :, None]).sum(dim=1)
        return self.proj(self.norm(total / lengths[:, None].sqrt().to(total.dtype)))


def reads(pool: nn.Module, tokens: Tokens) -> Only:
    """The tokens that a pool reads, where they are few; None for all."""
    if isinstance(pool, First) and tokens.at is None:
        return FirstOnly()
    if isinstance(pool, Last) and isinstance(tokens.at, Ragged):
        return LastOnly(tokens.at)
    return None
