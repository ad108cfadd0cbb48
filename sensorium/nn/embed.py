"""From pictures and token ids to tokens."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.types import Ids, Ragged, Tokens


class Patches(nn.Module):
    """Square patches of a picture, each mapped linearly to a token, row by row.

    The weight keeps the shape of the convolution it stands for, (d, c, patch, patch), but the
    patches are cut out by a view and multiplied in one matrix product.
    """

    def __init__(self, width: int, patch: int, bias: bool, channels: int = 3):
        super().__init__()
        self.patch = patch
        self.weight = nn.Parameter(torch.empty(width, channels, patch, patch))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        nn.init.normal_(self.weight, std=(channels * patch * patch) ** -0.5)

    def forward(self, image: Float[Tensor, "b c y x"]) -> Float[Tensor, "b n d"]:
        b, c, y, x = image.shape
        p = self.patch
        if y % p or x % p:
            raise ValueError(f"a picture of {y} x {x} pixels cannot be cut into patches of {p}")
        cut = image.to(self.weight.dtype).view(b, c, y // p, p, x // p, p).permute(0, 2, 4, 1, 3, 5)
        return F.linear(cut.reshape(b, -1, c * p * p), self.weight.flatten(1), self.bias)


class PatchEmbed(nn.Module):
    """Patches, a class token in front, learned positions, and a norm (ViT, equation 1; CLIP).

    Args:
        pixels: side of the picture, a multiple of `patch`.
        norm: what stands behind the sum; CLIP has a layer norm there, ViT nothing.
    """

    def __init__(
        self, pixels: int, patch: int, width: int, bias: bool, norm: nn.Module | None = None
    ):
        super().__init__()
        if pixels % patch:
            raise ValueError(f"pictures of {pixels} pixels cannot be cut into patches of {patch}")
        self.grid = pixels // patch
        self.patches = Patches(width, patch, bias)
        self.cls = nn.Parameter(torch.zeros(width))
        self.pos = nn.Parameter(torch.randn(self.grid**2 + 1, width) * 0.02)
        self.norm = norm if norm is not None else nn.Identity()

    def forward(self, image: Float[Tensor, "b 3 y x"]) -> Tokens:
        x = self.patches(image)
        if x.shape[1] + 1 != self.pos.shape[0]:
            side = self.grid * self.patches.patch
            got = f"{image.shape[2]} x {image.shape[3]}"
            raise ValueError(f"this tower reads {side} x {side} pixels, not {got}")
        cls = self.cls.expand(x.shape[0], 1, -1)
        return Tokens(self.norm(torch.cat([cls.to(x.dtype), x], dim=1) + self.pos), None)


class TextEmbed(nn.Module):
    """Words and learned positions; `causal` says whether a token may see those after it."""

    def __init__(self, vocab: int, length: int, width: int, causal: bool):
        super().__init__()
        self.length, self.causal = length, causal
        self.word = nn.Embedding(vocab, width)
        self.pos = nn.Parameter(torch.randn(length, width) * 0.01)
        nn.init.normal_(self.word.weight, std=0.02)

    def forward(self, text: Ids) -> Tokens:
        if text.rows.shape[1] > self.length:
            longest = text.rows.shape[1]
            raise ValueError(f"a text of {longest} tokens is longer than the tower's {self.length}")
        x = self.word(text.ids) + self.pos[text.pos]
        return Tokens(x[None], Ragged(text.rows, text.back, text.lengths, self.causal))


class Words(nn.Module):
    """A vector for each word, without positions: what order a text has is not seen."""

    def __init__(self, vocab: int, width: int):
        super().__init__()
        self.word = nn.Embedding(vocab, width)
        nn.init.normal_(self.word.weight, std=0.02)

    def forward(self, text: Ids) -> Tokens:
        at = Ragged(text.rows, text.back, text.lengths, causal=False)
        return Tokens(self.word(text.ids)[None], at)
