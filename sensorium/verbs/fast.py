"""A net's twin for inference on a processor: the same function from weights laid out beforehand.

torch's linear layer gives oneDNN the weights as they are stored, which then reorders them for its
kernels at every call. The twin's linear layers hold them reordered, and an MLP's activation is
worked out inside the product before the result is rounded. It needs no compiler. Nothing else
differs: embeddings, norms and attention are the net's own, with its own parameters. A decoder whose
scores are the products with its word vectors gets a second, reordered copy of that table (Whisper
base: 51,865 x 512, 106 MB in float32), since every token said reads all of it.

QuickGELU(x) is SiLU(1.702 x) / 1.702, and SiLU can be worked out inside the product: 1.702 goes
into the layer before it and 1 / 1.702 into the one behind, in float32 before they are rounded.

The twin gives the net's outputs to rounding: in float32 unit vectors differ by less than 1e-5, in
bfloat16 by less than 2e-2 (tests/verbs/test_fast.py; docs/speed.md tells the speed).
"""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sensorium.forms.decoder import Decoder
from sensorium.nn.activation import QuickGELU
from sensorium.nn.attention import QKV, SelfAttention
from sensorium.nn.block import MLP
from sensorium.nn.keyless import KeylessKV, KeylessQKV
from sensorium.nn.sight import Only

QUICK = 1.702
DTYPES = (torch.float32, torch.bfloat16)


def supported(net: nn.Module) -> bool:
    """Whether `prepared` can help: on a processor, in float32 or bfloat16, with oneDNN in torch."""
    found = {(p.device.type, p.dtype) for p in net.parameters()}
    if not torch.backends.mkldnn.is_available() or len(found) != 1:
        return False
    device, dtype = found.pop()
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return device == "cpu" and dtype in DTYPES


def prepared(net: nn.Module) -> nn.Module:
    """The twin of `net` for inference. It keeps its own copy of the weights of linear layers.

    It follows no later change of the net's weights: see `stamp`.

    Raises:
        ValueError: the net is not one that `supported` says yes to.
    """
    if not supported(net):
        raise ValueError("only a net on a processor, all float32 or all bfloat16, can be prepared")
    shared: dict[int, Any] = {id(p): p for p in (*net.parameters(), *net.buffers())}
    twin = copy.deepcopy(net, shared).eval()
    for module in list(twin.modules()):
        if isinstance(module, MLP):
            _fuse(module)
        elif isinstance(module, SelfAttention):
            module.add_module("qkv", PackedQKV(module.qkv))
        elif isinstance(module, Decoder) and module.head is None:
            del module.head  # None is no module, and its name would be taken
            module.add_module("head", Packed(module.embed.word.weight, None))
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                module.add_module(name, Packed(child.weight, child.bias))
            elif isinstance(child, KeylessQKV | KeylessKV):
                module.add_module(name, Packed(child.weight, child.whole()))
    return twin


def stamp(net: nn.Module) -> tuple[tuple[int, int], ...]:
    """Changes whenever a parameter of `net` is replaced or written to."""
    return tuple((p.data_ptr(), -1 if p.is_inference() else p._version) for p in net.parameters())


class Packed(nn.Module):
    """A linear layer with reordered weights, and an activation worked out inside the product.

    Args:
        weight, bias: of the layer whose function this is; they are not kept.
        act: oneDNN's name of the activation, and of the formula it is approximated by.
        before: what the layer's output is multiplied by before the activation.
        after: what the weight is multiplied by, to undo the `before` of a layer in front.
    """

    def __init__(
        self,
        weight: Float[Tensor, "k n"],
        bias: Float[Tensor, " k"] | None,
        act: tuple[str, str] = ("none", ""),
        before: float = 1.0,
        after: float = 1.0,
    ):
        super().__init__()
        weight, bias = weight.detach(), None if bias is None else bias.detach()
        if before * after != 1.0:
            weight = (weight.float() * (before * after)).to(weight.dtype)
        if bias is not None and before != 1.0:
            bias = (bias.float() * before).to(bias.dtype)
        self.act, self.formula = act
        self.in_features = weight.shape[1]
        self.bias = bias
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b k"]:
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, self.act, [], self.formula
        )


class PackedQKV(nn.Module):
    """`nn.attention.QKV` with reordered weights: queries by themselves, keys with values."""

    def __init__(self, qkv: QKV):
        super().__init__()
        d, weight, bias = qkv.in_features, qkv.weight.detach(), qkv.bias
        if isinstance(qkv, KeylessQKV):
            bias = qkv.whole().detach()
        self.q = Packed(weight[:d], None if bias is None else bias[:d])
        self.kv = Packed(weight[d:], None if bias is None else bias[d:])

    def of(
        self, x: Float[Tensor, "b n d"], only: Only
    ) -> tuple[Float[Tensor, "b q d"], Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """Queries (with `only` of those tokens alone), keys and values."""
        k, v = self.kv(x).chunk(2, dim=2)
        return self.q(x if only is None else only.of(x)), k, v


def _fuse(mlp: MLP) -> None:
    """Puts the activation of an MLP into its first product, where oneDNN has it."""
    act, up, down = mlp.act, mlp.up, mlp.down
    if type(up) is not nn.Linear or type(down) is not nn.Linear:
        return
    if isinstance(act, QuickGELU):
        mlp.add_module("up", Packed(up.weight, up.bias, ("swish", ""), before=QUICK))
        mlp.add_module("down", Packed(down.weight, down.bias, after=1 / QUICK))
    elif isinstance(act, nn.GELU):
        mlp.add_module("up", Packed(up.weight, up.bias, ("gelu", act.approximate)))
    elif isinstance(act, nn.SiLU):
        mlp.add_module("up", Packed(up.weight, up.bias, ("swish", "")))
    elif isinstance(act, nn.ReLU):
        mlp.add_module("up", Packed(up.weight, up.bias, ("relu", "")))
    else:
        return
    mlp.add_module("act", nn.Identity())
