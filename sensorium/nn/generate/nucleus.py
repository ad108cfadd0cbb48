"""The cut of nucleus sampling without sorting the whole vocabulary: the same set, found sooner.

Sorting fifty thousand scores takes longer than a small model takes to compute them. The most likely
tokens hold nearly all of the probability, so only some of them are looked at first, and all only
where those do not suffice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.generate.pick import Rule

FIRST = 1024  # tokens that are looked at first


def nucleus(top_p: float, temperature: float, first: int = FIRST) -> Rule:
    """A rule that forbids what lies outside the nucleus (Holtzman et al. 2019, section 3.1).

    Drawing at `temperature` with this rule and `top_p` 1 is drawing with `top_p` (`pick.cut`): the
    most likely tokens are kept that together have this probability, the one that reaches it
    included.

    Raises:
        ValueError: no such share, or a temperature that draws nothing.
    """
    if not 0 < top_p <= 1 or not temperature > 0:
        raise ValueError(f"a nucleus of {top_p} at temperature {temperature} means nothing")

    def rule(scores: Float[Tensor, " v"], text: Sequence[int]) -> Float[Tensor, " v"]:
        if top_p == 1:
            return scores
        scaled = scores / temperature
        for count in (min(first, len(scores)), len(scores)):
            best = scaled.topk(count)
            before = (best.values - scaled.logsumexp(0)).exp().cumsum(0)
            inside = int((before < top_p).sum()) + 1  # with the one that reaches it
            if inside <= count or count == len(scores):
                break
        kept = best.indices[:inside]
        return torch.full_like(scores, float("-inf")).index_put((kept,), scores[kept])

    return rule
