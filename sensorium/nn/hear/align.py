"""When each token was said: the cheapest path through what cross-attention looked at.

Radford et al.'s released code; dynamic time warping after Sakoe and Chiba (1978).
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

MEDIAN = 7  # steps of 20 ms over which attention is smoothed


def looked(scores: Float[Tensor, "a t n"]) -> Float[Tensor, "t n"]:
    """What heads looked at together, token by token: larger where more.

    `scores` are those before the softmax, of the steps of the window that hold sound.
    """
    shares = scores.float().softmax(-1)
    deviation, mean = torch.std_mean(shares, dim=-2, keepdim=True, unbiased=False)
    return smoothed((shares - mean) / deviation).mean(0)


def smoothed(x: Float[Tensor, "a t n"], width: int = MEDIAN) -> Float[Tensor, "a t n"]:
    """The median of `width` neighbours along the last axis, mirrored at its ends."""
    half = width // 2
    if x.shape[-1] <= half:
        return x
    wide = F.pad(x, (half, half), mode="reflect")
    return wide.unfold(-1, width, 1).sort()[0][..., half]


def path(
    cost: Float[np.ndarray, "t n"],
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The cheapest way from the first token and step to the last, one of either or both at a time.

    Both are moved on only where that is strictly cheapest, then the token, else the step. Worked
    out diagonal by diagonal.
    """
    rows, columns = cost.shape
    best = np.full((rows + 1, columns + 1), np.inf, np.float32)
    best[0, 0] = 0
    move = np.zeros((rows + 1, columns + 1), np.int8)
    move[0, :], move[:, 0] = 2, 1
    for total in range(2, rows + columns + 1):
        i = np.arange(max(1, total - columns), min(rows, total - 1) + 1)
        j = total - i
        both, token, step = best[i - 1, j - 1], best[i - 1, j], best[i, j - 1]
        diagonal = (both < token) & (both < step)
        down = ~diagonal & (token < both) & (token < step)
        move[i, j] = np.where(diagonal, 0, np.where(down, 1, 2))
        least = np.where(diagonal, both, np.where(down, token, step))
        best[i, j] = cost[i - 1, j - 1].astype(np.float64) + least
    i, j, places = rows, columns, []
    while i > 0 or j > 0:
        places.append((i - 1, j - 1))
        way = move[i, j]
        i, j = i - (way != 2), j - (way != 1)
    back = np.array(places[::-1])
    return back[:, 0], back[:, 1]
