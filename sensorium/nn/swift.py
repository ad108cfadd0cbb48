"""A LLaMA that says one token a row in a single call of `nn.kernel`; the rest through torch.

It is the same function of the same weights, in float32 sums: what a prompt's pass computes in
bfloat16 differs from it by bfloat16's rounding, and no more. With weights in bfloat16, a machine
that multiplies such pairs rounds what they are multiplied with, as torch does.
"""

import ctypes
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.nn.grouped import GroupedAttention
from sensorium.nn.kernel import kernel
from sensorium.nn.layer import Before, GatedMLP, LayerStack
from sensorium.nn.lowbit import LowBit
from sensorium.nn.rope import Rope
from sensorium.nn.slots import Cache
from sensorium.types import Ids

ROWS = 16  # that a call takes; more go through torch
WIDEST, LONGEST = 512, 32768  # of a head, and of a row of weights, in the kernel
KINDS = {torch.float32: 0, torch.bfloat16: 1}


class _Weight(ctypes.Structure):
    _fields_ = (
        ("w", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("least", ctypes.c_void_p),
        ("kind", ctypes.c_long),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        ("norm1", ctypes.c_void_p),
        ("qkv", _Weight),
        ("out", _Weight),
        ("norm2", ctypes.c_void_p),
        ("gate_up", _Weight),
        ("down", _Weight),
        ("k", ctypes.c_void_p),
        ("v", ctypes.c_void_p),
    )


_COUNTS = ("layers", "rows", "width", "heads", "groups", "head", "hidden", "vocab", "room", "half")


class _Sizes(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_long) for name in (*_COUNTS, "threads", "bf16")),
        ("eps", ctypes.c_double),
        ("scale", ctypes.c_float),
        ("pad", ctypes.c_float),
    )


def plain(module: nn.Module) -> bool:
    """Whether a linear map is one that the kernel knows."""
    kinds = isinstance(module, LowBit) or (
        type(module) is nn.Linear and module.weight.dtype in KINDS
    )
    return kinds and module.bias is None  # type: ignore[union-attr]


def reads(module: Any) -> int:
    """How many numbers a linear map takes."""
    return module.width if isinstance(module, LowBit) else module.in_features


def swift(net: nn.Module) -> "Swift | None":
    """The net as one that says tokens quickly; None where it cannot be.

    That is where no compiler works, on other devices than processors, and for other shapes than
    LLaMA's.
    """
    stack = dict(net.named_children()).get("stack")
    if not isinstance(stack, LayerStack) or not isinstance(stack.rope, Rope) or stack.bias:
        return None
    if not isinstance(stack.norm, nn.RMSNorm):
        return None
    device, layers = next(net.parameters()).device, []
    for block in stack.blocks:
        parts = dict(block.named_children())
        attn, mlp = parts.get("attn"), parts.get("mlp")
        if set(parts) != {"attn", "mlp"} or type(attn) is not Before or type(mlp) is not Before:
            return None
        a, m = attn.f, mlp.f
        if not isinstance(a, GroupedAttention) or not isinstance(m, GatedMLP):
            return None
        if a.window or a.clip or len(a.norms) or not isinstance(m.act, nn.SiLU):
            return None
        maps: tuple[Any, ...] = (a.qkv, a.out, m.gate_up, m.down)
        norms = (attn.norm, mlp.norm)
        if (
            a.heads.width > WIDEST
            or not all(map(plain, maps))
            or max(map(reads, maps)) > LONGEST
            or not all(isinstance(n, nn.RMSNorm) for n in norms)
        ):
            return None
        layers.append((norms[0], maps[0], maps[1], norms[1], maps[2], maps[3]))
    head = dict(net.named_children()).get("head")
    if head is not None and not plain(head):
        return None
    if device.type != "cpu" or not layers or kernel() is None:
        return None
    return Swift(net, layers)


class Swift:
    """See `nn.generate.speaks.Speaks`; made by `swift`. It follows later changes of no weights."""

    def __init__(self, net: Any, layers: list[tuple[Any, ...]]):
        self.net, self.layers = net, layers
        found = kernel()
        assert found is not None
        self._step = found.step
        self._step.restype = None
        attention = net.stack.blocks[0].attn.f
        self.heads = attention.heads
        self.length, self.vocab = net.length, net.vocab
        self.held: list[Tensor] = []  # what the kernel points to
        self.words = self._weight(net.head if net.head is not None else net.embed.word)
        self.last = self._floats(net.stack.norm.weight)
        self.made = [
            (
                *(self._floats(a.weight), self._weight(b), self._weight(c)),
                *(self._floats(d.weight), self._weight(e), self._weight(f)),
            )
            for a, b, c, d, e, f in layers
        ]
        self.hidden = reads(net.stack.blocks[0].mlp.f.down)
        self._bound: tuple[tuple[int, ...], Any] = ((), None)

    def _floats(self, x: Tensor) -> int:
        self.held.append(x.detach().float().contiguous())
        return self.held[-1].data_ptr()

    def _weight(self, module: Any) -> _Weight:
        if isinstance(module, LowBit):
            parts = [module.get_buffer(n) for n in ("packed", "scale", "least")]
            self.held += parts
            return _Weight(*(p.data_ptr() for p in parts), 2 if module.bits == 8 else 3)
        weight = module.weight.detach().contiguous()
        self.held.append(weight)
        return _Weight(weight.data_ptr(), None, None, KINDS[weight.dtype])

    def blank(self, rows: int, room: int) -> Cache:
        """As the net's."""
        return self.net.blank(rows, room)

    def extend_all(self, text: Ids, cache: Cache) -> Float[Tensor, "t v"]:
        """As the net's, through torch."""
        return self.net.extend_all(text, cache)

    def extend(self, text: Ids, cache: Cache) -> Float[Tensor, "b v"]:
        """As the net's; for one token a row in one call."""
        b = len(cache.lengths)
        if text.rows.shape[1] != 1 or b > ROWS or cache.layers[0].k.dtype not in KINDS:
            return self.net.extend(text, cache)
        self.net.fits(text, cache)
        cache.grow([1] * b)
        h, g, w, scale = self.heads
        x = self.net.embed.word.weight[text.ids].float()
        pos = torch.tensor(cache.lengths)
        turned = self.net.stack.rope(pos, torch.float32)
        cos, sin = turned.cos[:, 0].contiguous(), turned.sin[:, 0].contiguous()
        d, room, bf16 = x.shape[1], cache.room, cache.layers[0].k.dtype == torch.bfloat16
        work = torch.empty(b * (d + (h + 2 * g) * w + h * w + self.hidden + h * room))
        logits = torch.empty(b, self.vocab)
        sizes = _Sizes(
            *(len(self.layers), b, d, h, g, w, self.hidden, self.vocab, room, cos.shape[1]),
            *(torch.get_num_threads(), bf16),
            *(self.net.stack.norm.eps, scale or w**-0.5, 0.0),
        )
        tensors = (pos, cos, sin, x, work, logits)
        self._step(
            ctypes.byref(sizes),
            self._layers(cache),
            ctypes.c_void_p(self.last),
            ctypes.byref(self.words),
            *(ctypes.c_void_p(t.data_ptr()) for t in tensors),
        )
        cache.lengths = [n + 1 for n in cache.lengths]
        return logits

    def _layers(self, cache: Cache) -> Any:
        """The layers with this cache's slots, made anew when the slots are others."""
        places = tuple(t.data_ptr() for kept in cache.layers for t in kept)
        if self._bound[0] != places:
            pairs = zip(self.made, cache.layers, strict=True)
            made = [_Layer(*one, k.data_ptr(), v.data_ptr()) for one, (k, v) in pairs]
            self._bound = places, (_Layer * len(made))(*made)
        return self._bound[1]
