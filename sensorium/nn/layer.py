"""The layers of language models: branches handed in built, a turn beside the tokens."""

from collections.abc import Iterable

from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.block import Block
from sensorium.nn.grouped import GroupedAttention, MemoryAttention
from sensorium.nn.rope import Rope
from sensorium.nn.slots import Cache, Kept, Source
from sensorium.nn.turn import Turn


class Layer(Block):
    """A `Block` whose branches are given a `Turn`: who is seen, positions, slots, a memory.

    LLaMA's is `Layer(attn=Before(GroupedAttention(...), rms), mlp=Before(GatedMLP(...), rms))`.
    """

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:  # type: ignore[override]
        for branch in self.children():
            x = branch(x, turn)
        return x


class Before(nn.Module):
    """x + f(norm(x))."""

    def __init__(self, f: nn.Module, norm: nn.Module):
        super().__init__()
        self.norm, self.f = norm, f

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        return x + self.f(self.norm(x), turn)


class After(nn.Module):
    """norm(x + f(x)): BART, and the 350M OPT."""

    def __init__(self, f: nn.Module, norm: nn.Module):
        super().__init__()
        self.f, self.norm = f, norm

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        return self.norm(x + self.f(x, turn))


class Beside(nn.Module):
    """x + f(norm(x)) + g(norm(x)): attention and MLP in parallel (GPT-J)."""

    def __init__(self, f: nn.Module, g: nn.Module, norm: nn.Module):
        super().__init__()
        self.norm, self.f, self.g = norm, f, g

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        y = self.norm(x)
        return x + self.f(y, turn) + self.g(y, turn)


class FeedForward(nn.Module):
    """down(act(up(x)))."""

    def __init__(self, width: int, hidden: int, act: nn.Module, bias: bool):
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.act = act
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        return self.down(self.act(self.up(x)))


class GatedMLP(nn.Module):
    """down(act(gate(x)) * up(x)), without biases (Shazeer 2020); gate and up in one product."""

    def __init__(self, width: int, hidden: int, act: nn.Module):
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.act = act
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "1 t d"], turn: Turn) -> Float[Tensor, "1 t d"]:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.act(gate) * up)


class LayerStack(nn.Module):
    """Layers one after the other, and the norm behind the last (Identity where there is none).

    Args:
        rope: the rotation by positions, where they are one.
        bias: the bias by positions, where they are one; all layers share it.
    """

    def __init__(
        self,
        blocks: Iterable[Layer],
        norm: nn.Module | None = None,
        rope: Rope | None = None,
        bias: nn.Module | None = None,
    ):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm if norm is not None else nn.Identity()
        self.rope, self.bias = rope, bias

    def forward(
        self, x: Float[Tensor, "1 t d"], turn: Turn, cache: Cache | None = None
    ) -> Float[Tensor, "1 t d"]:
        """States of the last layer, normalised; with a cache its slots are written and read."""
        if cache is None:
            for block in self.blocks:
                x = block(x, turn)
            return self.norm(x)
        cross = cache.cross or [None] * len(self.blocks)
        for block, kept, memory in zip(self.blocks, cache.layers, cross, strict=True):
            x = block(x, turn._replace(kept=kept, cross=memory, seen=cache.seen))
        return self.norm(x)

    def states(self, x: Float[Tensor, "1 t d"], turn: Turn) -> list[Float[Tensor, "1 t d"]]:
        """What enters the first layer, then what leaves each; the last is before the norm."""
        states = [x]
        for block in self.blocks:
            states.append(block(states[-1], turn))
        return states

    def blank(self, rows: int, room: int, like: Tensor) -> Cache:
        """Empty slots for every layer, of so many rows; device and type are those of `like`."""
        found = [m.heads for m in self.modules() if isinstance(m, GroupedAttention)]
        shapes = [(rows, heads.groups, room, heads.width) for heads in found]
        layers = [Kept(like.new_zeros(shape), like.new_zeros(shape)) for shape in shapes]
        return Cache(layers, [0] * rows)

    def remember(self, memory: Source) -> list[Kept]:
        """Keys and values of a memory for every layer, from those that read one."""
        readers = [m for m in self.modules() if isinstance(m, MemoryAttention)]
        return [reader.remember(memory) for reader in readers]
