"""What attends to what: the shares of attention of a stack, for people to look at."""

import torch
from jaxtyping import Float
from torch import Tensor

from sensorium.nn.attention import SelfAttention
from sensorium.nn.block import Block, Post, Pre, Stack
from sensorium.nn.sight import HIDDEN, Across, Even, PerText, Sight
from sensorium.types import Layout, Ragged, Tokens


@torch.no_grad()
def shares(stack: Stack, tokens: Tokens) -> list[Float[Tensor, "b h n n"]]:
    """Of each layer, the share of every token that each token's heads take in; rows sum to 1.

    Samples laid end to end are spread out to the longest (`rows` of their `Ragged`): what stands
    behind a sample's last token means nothing. Plain products: slow, and only to be looked at.

    Raises:
        ValueError: a layer's first branch is not self-attention.
    """
    view, x, out = Stack.view(tokens, None), tokens.x, []
    for block in stack.blocks:
        out.append(_of(block, x, tokens.at, view.see))
        x = block(x, view)
    return out


def _of(block: torch.nn.Module, x: Tensor, at: Layout | Ragged | None, see: Sight) -> Tensor:
    branch = next(block.children()) if isinstance(block, Block) else None
    if not isinstance(branch, (Pre, Post)) or not isinstance(branch.f, SelfAttention):
        raise ValueError("only layers that start with self-attention have shares to show")
    parts = branch.f.qkv(branch.norm(x) if isinstance(branch, Pre) else x).chunk(3, dim=2)
    q, k = (part.unflatten(2, (branch.f.heads, -1)) for part in parts[:2])
    if isinstance(at, Ragged):
        q, k = q[0][at.rows], k[0][at.rows]
    score = torch.einsum("bqhw,bkhw->bhqk", q, k) * q.shape[3] ** -0.5
    mask = None if see is None or isinstance(see, (Even, Across)) else see.mask
    if mask is None and isinstance(see, PerText):  # causal
        mask = torch.ones_like(score[0, 0], dtype=torch.bool).tril()
    if mask is not None:
        score = score.masked_fill(~mask, HIDDEN)
    return score.softmax(dim=-1)
