"""Layers by which a frozen language model looks at pictures: gated, and closed when new.

Flamingo (Alayrac et al. 2022, arXiv 2204.14198, section 3.1.2 and figure 4).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.grouped import Heads
from sensorium.nn.slots import Kept
from sensorium.nn.turn import Turn


class Gate(nn.Module):
    """x + tanh(gate) f(norm(x)); the gate is 0 when new, so that nothing is changed at first."""

    def __init__(self, f: nn.Module, norm: nn.Module):
        super().__init__()
        self.norm, self.f = norm, f
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        return x + self.gate.tanh().to(x.dtype) * self.f(self.norm(x), turn)


class LookAt(nn.Module):
    """Attention of each word to the states of the latest picture before it; without biases.

    Words that have none before them get zeros, and so do texts without pictures: an absent picture
    has the keys and values 0, whose mean is 0.
    """

    def __init__(self, width: int, heads: Heads, memory_width: int):
        super().__init__()
        self.heads = heads
        inner = heads.count * heads.width
        self.q = nn.Linear(width, inner, bias=False)
        self.kv = nn.Linear(memory_width, 2 * inner, bias=False)  # k, then v
        self.out = nn.Linear(inner, width, bias=False)

    def keys(self, x: Float[Tensor, "p m e"]) -> Kept:
        """The keys and values of pictures, to be worked out once for all that look at them."""
        k, v = self.kv(x).unflatten(2, (2, self.heads.count, -1)).unbind(2)
        return Kept(k.transpose(1, 2), v.transpose(1, 2))

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        seen, old = turn.media, turn.cross
        if seen is None and old is None:
            return torch.zeros_like(x)
        q = self.q(x[0]).unflatten(1, (self.heads.count, -1))
        if seen is None:
            assert old is not None
            return self.out(turn.gather(looked(turn.spread(q), old)))
        new = self.keys(seen.x)
        rows, back, which = seen.runs
        if old is None:
            blank = [F.pad(t, (0, 0, 0, 0, 0, 0, 0, 1)) for t in new]
            which = which.clamp(max=len(new.k))
        else:
            blank = [torch.cat(pair) for pair in zip(new, old, strict=True)]
        kept = Kept(*(t.index_select(0, which) for t in blank))
        out = looked(q[rows].transpose(1, 2), kept)
        return self.out(out.transpose(1, 2).flatten(2).flatten(0, 1)[back][None])


def looked(q: Float[Tensor, "s h n w"], kept: Kept) -> Float[Tensor, "s h n w"]:
    """Softmax attention of each row to all of its keys."""
    return F.scaled_dot_product_attention(q, kept.k, kept.v)
