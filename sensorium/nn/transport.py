"""The cheapest way to carry an even mass from words to regions: optimal transport by IPOT.

Xie et al. 2018, arXiv 1802.04307, algorithm 1, as UNITER and ViLT align words with what is seen.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

BETA, ROUNDS = 0.5, 50


def costs(
    text: Float[Tensor, "b n d"], image: Float[Tensor, "b m d"], eps: float = 1e-5
) -> Float[Tensor, "b n m"]:
    """1 - the cosine of every word and every region."""
    x, y = F.normalize(text, dim=2, eps=eps), F.normalize(image, dim=2, eps=eps)
    return 1 - x @ y.transpose(1, 2)


@torch.no_grad()
def plan(
    cost: Float[Tensor, "b n m"],
    text_real: Bool[Tensor, "b n"],
    image_real: Bool[Tensor, "b m"],
    beta: float = BETA,
    rounds: int = ROUNDS,
) -> Float[Tensor, "b n m"]:
    """How much of each word's mass goes to each region: rows add up to 1 / words, columns (nearly)
    to 1 / regions, and where a token is not real nothing is moved.

    Each round the kernel exp(-cost / beta) is multiplied onto the plan, which is then brought back
    to both margins once.

    Args:
        beta: the size of a round's step.
        rounds: their number; with more of them the cost falls towards the linear programme's.
    """
    both = text_real[:, :, None] & image_real[:, None, :]
    kernel = (-cost / beta).exp() * both
    moved = both.to(cost.dtype)
    words = text_real.sum(1).clamp(min=1).to(cost.dtype)[:, None, None]
    regions = image_real.sum(1).clamp(min=1).to(cost.dtype)[:, None, None]
    word = text_real.to(cost.dtype)[:, :, None] / words  # what a word's row is scaled by
    # a margin of nothing is scaled by 1e-4 and not by 1 / 0: its entries are zeros
    some = (text_real.any(1) & image_real.any(1))[:, None]
    no_word = (~(text_real & some))[:, :, None] * 1e4
    no_region = (~(image_real & some))[:, None, :] * 1e4
    for _ in range(rounds):
        moved = kernel * moved
        region = 1 / (regions * (word.transpose(1, 2) @ moved) + no_region)
        word = 1 / (words * (moved @ region.transpose(1, 2)) + no_word)
        moved = moved.mul_(word).mul_(region)
    return moved
