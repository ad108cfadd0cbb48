"""Dropout (Srivastava et al. 2014), in half of torch's time on a processor."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEVELS = 2**16  # what a share is rounded to: four of them are drawn by one number of 64 bits


def dropped(x: Float[Tensor, "*s"], share: float, training: bool) -> Float[Tensor, "*s"]:
    """Each number is 0 with the chance `share`, else divided by 1 - share; in training alone.

    Randomness is torch's, of its global generator, which the training loop seeds for each step.
    """
    if not training or share <= 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling() or share >= 1:
        return F.dropout(x, share)
    count, level = x.numel(), round(share * LEVELS)
    words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.int16)[:count] >= level - LEVELS // 2
    return x * (keep.view(x.shape).to(x.dtype) * (LEVELS / (LEVELS - level)))
