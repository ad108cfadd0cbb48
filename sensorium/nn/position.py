"""Positions as a bias of attention scores: ALiBi, and T5's buckets of distances."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ALiBi(nn.Module):
    """A penalty that grows with distance, steeper for some heads (Press et al. 2021, section 3).

    Slopes are those of MPT: powers of 2^(-most / n) for n heads, n a power of two; for other
    numbers every second of the next power's first, then the others between them.
    """

    def __init__(self, heads: int, most: float = 8.0):
        super().__init__()
        n = 2 ** math.ceil(math.log2(heads))
        slopes = [2.0 ** (-most * k / n) for k in range(1, n + 1)]
        self.slopes = slopes if n == heads else [*slopes[1::2], *slopes[::2]][:heads]

    def forward(self, query: Int[Tensor, "b n"], keys: int) -> Float[Tensor, "b h n k"]:
        """What is added to the scores of queries at these positions, and keys at 0 ... k-1."""
        place = torch.arange(keys, device=query.device)
        distance = (place[None, None, :] - query[:, :, None]).float()
        slope = torch.tensor(self.slopes, device=query.device)
        return distance[:, None] * slope[None, :, None, None]


class Buckets(nn.Module):
    """A learnt bias a head for each bucket of distances (Raffel et al. 2019, section 2.1).

    Args:
        both: whether keys may stand behind the query; half of the buckets are for those then.
        most: the distance from which on all share the last bucket.
    """

    def __init__(self, heads: int, both: bool, buckets: int = 32, most: int = 128):
        super().__init__()
        self.both, self.buckets, self.most = both, buckets, most
        self.weight = nn.Parameter(torch.randn(buckets, heads) * 0.02)

    def bucket(self, ahead: Int[Tensor, "*s"]) -> Int[Tensor, "*s"]:
        """The bucket of a key that stands so far ahead of the query (behind it: below zero)."""
        count, first = self.buckets, torch.zeros_like(ahead)
        if self.both:
            count //= 2
            first = (ahead > 0).long() * count
            distance = ahead.abs()
        else:
            distance = (-ahead).clamp(min=0)
        exact = count // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.most / exact)
        far = (exact + (ratio * (count - exact)).long()).clamp(max=count - 1)
        return first + torch.where(distance < exact, distance, far)

    def forward(self, query: Int[Tensor, "b n"], keys: int) -> Float[Tensor, "b h n k"]:
        """What is added to the scores of queries at these positions, and keys at 0 ... k-1."""
        ahead = torch.arange(keys, device=query.device)[None, None, :] - query[:, :, None]
        return self.weight[self.bucket(ahead)].permute(0, 3, 1, 2)
