"""The transformer layer, as residual branches handed in built, and the stack of them."""

from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.attention import CrossAttention, SelfAttention
from sensorium.nn.dropout import dropped
from sensorium.nn.sight import FirstOnly, LastOnly, Only, View, across, sight
from sensorium.types import Tokens


class MLP(nn.Module):
    """Two linear layers with an activation between them, applied to each token alone.

    `drop` sets shares of the hidden layer to zero in training (timm's and ViLT's; BERT has none).
    """

    def __init__(
        self, width: int, hidden: int, act: nn.Module, bias: bool = True, drop: float = 0.0
    ):
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.act, self.drop = act, drop
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b n d"]:
        return self.down(dropped(self.act(self.up(x)), self.drop, self.training))


class Pre(nn.Module):
    """x + drop(f(norm(x))): the branch of ViT, CLIP, GPT-2 and LLaMA."""

    def __init__(self, f: nn.Module, norm: nn.Module, drop: float = 0.0):
        super().__init__()
        self.norm, self.f, self.drop = norm, f, drop

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b n d"]:
        out = x + dropped(self.f(self.norm(x), view), self.drop, self.training)
        return kept(self.f, x, out, view)


class Post(nn.Module):
    """norm(x + drop(f(x))): the branch of the first transformer and of BERT."""

    def __init__(self, f: nn.Module, norm: nn.Module, drop: float = 0.0):
        super().__init__()
        self.f, self.norm, self.drop = f, norm, drop

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b n d"]:
        out = self.norm(x + dropped(self.f(x, view), self.drop, self.training))
        return kept(self.f, x, out, view)


def kept(
    f: nn.Module, x: Float[Tensor, "b n d"], out: Float[Tensor, "b n d"], view: View
) -> Float[Tensor, "b n d"]:
    """Tokens that have nothing to read keep their state: no bias and no norm of the branch."""
    if view.blind is None or not isinstance(f, CrossAttention):
        return out
    return torch.where(view.blind, x, out)


class Block(nn.Module):
    """A layer: residual branches in the order they are named.

    The single unit of compiling, sharding and activation checkpointing. ViT's layer is
    `Block(attn=Pre(SelfAttention(d, h), ln(d)), mlp=Pre(MLP(d, 4 * d, act), ln(d)))`.
    """

    def __init__(self, **branches: nn.Module):
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Float[Tensor, "b n d"], view: View) -> Float[Tensor, "b q d"]:
        if view.only is None:
            for branch in self.children():
                x = branch(x, view)
            return x
        return self.narrowed(x, view, view.only)

    def narrowed(
        self, x: Float[Tensor, "b n d"], view: View, only: FirstOnly | LastOnly
    ) -> Float[Tensor, "b q d"]:
        """The states of some tokens only: what follows the attention is worked out for no others.

        Saves five sixths of a layer's products (its queries, output and MLP). Other layers than
        `Pre(SelfAttention)` and `Pre(MLP)` work out all tokens, and the wanted ones are taken.
        """
        first, *others = self.children()
        all_tokens = view._replace(only=None)
        if narrows(first, others):
            x = only.of(x) + dropped(first.f(first.norm(x), view), first.drop, first.training)
            for branch in others:
                x = branch(x, all_tokens)
            return x
        for branch in (first, *others):
            x = branch(x, all_tokens)
        return only.of(x)


def narrows(first: nn.Module, others: list[nn.Module]) -> TypeGuard[Pre]:
    """Whether the layer's branches are attention before everything, then MLPs."""
    attends = isinstance(first, Pre) and isinstance(first.f, SelfAttention)
    return attends and all(isinstance(b, Pre) and isinstance(b.f, MLP) for b in others)


class Stack(nn.Module):
    """Blocks one after the other, and the norm behind the last (Identity where there is none)."""

    def __init__(self, blocks: list[Block], norm: nn.Module | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm if norm is not None else nn.Identity()

    def forward(self, tokens: Tokens, memory: Tokens | None = None, only: Only = None) -> Tokens:
        """States of the last block, normalised; `memory` is what cross-attention reads.

        With `only` the last block gives no other tokens than those, with the same states.
        """
        x, view = tokens.x, self.view(tokens, memory)
        if only is None:
            for block in self.blocks:
                x = block(x, view)
            return tokens._replace(x=self.norm(x))
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, view if number < len(self.blocks) else view._replace(only=only))
        return only.tokens(self.norm(x if len(self.blocks) else only.of(x)))

    def states(self, tokens: Tokens, memory: Tokens | None = None) -> list[Float[Tensor, "b n d"]]:
        """What enters the first block, then what leaves each block; the last is before the norm."""
        x, view = tokens.x, self.view(tokens, memory)
        states = [x]
        for block in self.blocks:
            x = block(x, view)
            states.append(x)
        return states

    @staticmethod
    def view(tokens: Tokens, memory: Tokens | None) -> View:
        """The masks, worked out once for the whole stack."""
        if memory is None:
            return View(see=sight(tokens.at))
        see, blind = across(tokens, memory)
        return View(see=sight(tokens.at), memory=memory.x, see_memory=see, blind=blind)


def layer_norm(width: int, eps: float) -> nn.LayerNorm:
    """Layer normalisation; `eps` has no default, since published models differ in it."""
    return nn.LayerNorm(width, eps=eps)


def pre_layer(
    width: int,
    heads: int,
    act: nn.Module,
    eps: float,
    hidden: int | None = None,
    drop: float = 0.0,
) -> Block:
    """The pre-norm layer of ViT and CLIP (Dosovitskiy et al. 2020, equations 2 and 3).

    `drop`: behind the attention's and the MLP's projections and inside the MLP, as timm has it.
    """
    mlp = MLP(width, hidden or 4 * width, act, drop=drop)
    return Block(
        attn=Pre(SelfAttention(width, heads), layer_norm(width, eps), drop),
        mlp=Pre(mlp, layer_norm(width, eps), drop),
    )


def post_layer(
    width: int,
    heads: int,
    act: nn.Module,
    eps: float,
    hidden: int | None = None,
    drop: float = 0.0,
) -> Block:
    """The post-norm layer of BERT (Devlin et al. 2018).

    `drop`: behind both projections and on the shares of attention, as BERT has it.
    """
    return Block(
        attn=Post(SelfAttention(width, heads, drop=drop), layer_norm(width, eps), drop),
        mlp=Post(MLP(width, hidden or 4 * width, act), layer_norm(width, eps), drop),
    )


def cross_layer(
    width: int,
    heads: int,
    act: nn.Module,
    eps: float,
    hidden: int | None = None,
    drop: float = 0.0,
    memory_width: int | None = None,
) -> Block:
    """BERT's layer with a look at a memory between its two branches (ALBEF's upper layers)."""
    look = CrossAttention(width, heads, memory_width, drop=drop)
    return Block(
        attn=Post(SelfAttention(width, heads, drop=drop), layer_norm(width, eps), drop),
        cross=Post(look, layer_norm(width, eps), drop),
        mlp=Post(MLP(width, hidden or 4 * width, act), layer_norm(width, eps), drop),
    )
