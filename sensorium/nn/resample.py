"""The Perceiver resampler: a few learnt queries read a picture's, or a clip's, many states.

Flamingo (Alayrac et al. 2022, arXiv 2204.14198, section 3.1 and figure 5) after the Perceiver
(Jaegle et al. 2021, arXiv 2103.03206).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import CrossAttention
from sensorium.nn.block import MLP, Block, Pre, Stack, layer_norm
from sensorium.nn.grouped import Heads
from sensorium.nn.sight import View
from sensorium.types import Tokens


class Sip(nn.Module):
    """x + f(norm(x), what x reads): the states, normalised, and the queries themselves."""

    def __init__(self, f: CrossAttention, norm: nn.Module, norm_media: nn.Module):
        super().__init__()
        self.norm, self.norm_media, self.f = norm, norm_media, f

    def forward(self, x: Float[Tensor, "p m d"], view: View) -> Float[Tensor, "p m d"]:
        if view.memory is None:
            raise ValueError("queries were given no states to read: pass `memory=` to the stack")
        asks = self.norm(x)
        both = torch.cat([self.norm_media(view.memory), asks], dim=1)
        return x + self.f(asks, view._replace(memory=both))


class Resampler(nn.Module):
    """As many queries as are learnt, whatever is read: 64 in Flamingo.

    Args:
        heads: of attention; their width need not divide the model's. Groups are not shared.
        acts: one activation a layer.
        frames: how many frames of a clip have a learnt vector of their time; 0: none has.
    """

    def __init__(
        self,
        width: int,
        queries: int,
        heads: Heads,
        acts: list[nn.Module],
        frames: int = 0,
        eps: float = 1e-5,
    ):
        super().__init__()
        inner = heads.count * heads.width

        def layer(act: nn.Module) -> Block:
            attention = CrossAttention(width, heads.count, bias=False, inner=inner)
            mlp = MLP(width, 4 * width, act, bias=False)
            norms = layer_norm(width, eps), layer_norm(width, eps)
            return Block(attn=Sip(attention, *norms), mlp=Pre(mlp, layer_norm(width, eps)))

        self.queries = nn.Parameter(torch.randn(queries, width))
        self.time = nn.Parameter(torch.randn(frames, width)) if frames else None
        self.stack = Stack([layer(act) for act in acts], layer_norm(width, eps))

    def forward(self, x: Float[Tensor, "p f n d"]) -> Float[Tensor, "p m d"]:
        """States of clips, frame by frame (of a picture one), to the states of the queries."""
        if self.time is not None:
            x = x + self.times(x.shape[1])[:, None].to(x.dtype)
        queries = self.queries.to(x.dtype).expand(len(x), -1, -1)
        return self.stack(Tokens(queries), Tokens(x.flatten(1, 2))).x

    def times(self, frames: int) -> Float[Tensor, "f d"]:
        """The vectors of the first so many frames; of more than are learnt, drawn out linearly.

        Flamingo learns 8 and is asked with 30 (section 3.1).
        """
        assert self.time is not None
        learnt = len(self.time)
        if frames <= learnt:
            return self.time[:frames]
        at = torch.linspace(0, learnt - 1, frames, device=self.time.device)
        low = at.floor().long().clamp(max=max(learnt - 2, 0))
        share = (at - low)[:, None].to(self.time.dtype)
        high = (low + 1).clamp(max=learnt - 1)
        return self.time[low] * (1 - share) + self.time[high] * share
