"""ViLT's embedding of pictures of any shapes, and the kinds that words and pictures are told by."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sensorium.nn.block import dropped
from sensorium.nn.embed import Patches
from sensorium.nn.joint import join
from sensorium.types import Ids, Patched, Pictured, Ragged, Tokens


class PatchedEmbed(nn.Module):
    """Patches of pictures of any shapes, a class token before each picture's, places and kinds.

    The learned grid of positions is stretched over each picture by itself, bilinearly, its corners
    on the picture's corners (`visual_embed` in ViLT's code). The first token of a picture is its
    class token; the patches follow in the order of the batch.

    Args:
        grid: rows and columns of the learned positions.
        kinds: rows of the table of kinds: words, pictures, and second pictures where there are.
        drop: behind the sum of patch and position; the kind is added after it.
        most: pictures of more patches are refused (`data.patched.drawn_patches` thins them out).
    """

    def __init__(
        self, grid: int, patch: int, width: int, kinds: int, drop: float, most: int | None
    ):
        super().__init__()
        self.grid, self.drop, self.most = grid, drop, most
        self.patches = Patches(width, patch, bias=True)
        self.cls = nn.Parameter(torch.randn(width) * 0.02)
        self.pos = nn.Parameter(torch.randn(grid**2 + 1, width) * 0.02)
        self.kind = nn.Embedding(kinds, width)

    def forward(self, image: Pictured) -> Tokens:
        if not isinstance(image, Patched):
            raise ValueError("this net reads pictures as patches: make them by data.patched")
        self.check(image)
        weight = self.patches.weight.flatten(1)
        cut = image.patches.to(weight.dtype)
        x = F.linear(cut, weight, self.patches.bias) + self.places(image)
        x = dropped(x, self.drop, self.training) + self.kind(image.kind + 1)
        cls = dropped(
            (self.cls + self.pos[0]).expand(len(image.grid), -1), self.drop, self.training
        )
        cls = cls + self.kind(image.kind[image.rows[:, 0]] + 1)
        patches = Tokens(x[None], Ragged(image.rows, image.back, image.lengths, causal=False))
        return join(Tokens(cls[:, None].to(x.dtype)), patches)[0]

    def places(self, image: Patched) -> Float[Tensor, "t d"]:
        """The position vector of each patch, in the grid stretched over its picture."""
        sample = image.back // image.rows.shape[1]
        last = (image.grid[sample] - 1).clamp(min=1)
        at = image.place * ((self.grid - 1) / last)  # in rows and columns of the learned grid
        steps = torch.arange(self.grid, device=at.device)
        share = (1 - (at[:, :, None] - steps).abs()).clamp(min=0)  # t 2 grid
        share = (share[:, 0, :, None] * share[:, 1, None, :]).flatten(1)
        return share.to(self.pos.dtype) @ self.pos[1:]

    def check(self, image: Patched) -> None:
        """Refuses what it cannot read."""
        side = self.patches.weight[0].numel()
        if image.patches.shape[1] != side:
            raise ValueError(
                f"this net reads patches of {side} numbers, not {image.patches.shape[1]}"
            )
        if self.most is not None and image.rows.shape[1] > self.most:
            raise ValueError(
                f"a picture of {image.rows.shape[1]} patches, this net reads {self.most} at most:"
                " thin them out by data.patched.drawn_patches"
            )


class WordKind(nn.Module):
    """Embedded words, and row 0 of the pictures' table of kinds, which is borrowed."""

    def __init__(self, words: nn.Module, kind: nn.Embedding):
        super().__init__()
        self.words, self.borrowed = words, (kind,)

    def forward(self, text: Ids) -> Tokens:
        tokens = self.words(text)
        zero: Int[Tensor, " 1"] = torch.zeros(1, dtype=torch.long, device=tokens.x.device)
        return tokens._replace(x=tokens.x + self.borrowed[0](zero))
