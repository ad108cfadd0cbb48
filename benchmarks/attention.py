"""Attention over short sequences on a processor: torch's kernel against plain products.

    python benchmarks/attention.py

Prints, for shapes that occur in CLIP, the time of torch's kernel over that of `nn.sight.soft`,
forward, and with backward. Ratios above 1 mean that `soft` is faster.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.nn.sight import soft

SHAPES = {"short texts": (256, 2, 12, 64), "texts": (32, 8, 16, 64), "ViT-B/32": (32, 12, 50, 64)}


def median(call: Callable[[], object], times: int = 9) -> float:
    """The median time of a call in milliseconds, after one that is not counted."""
    call()
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return sorted(spent)[times // 2] * 1e3


def back(attend: Callable, q: Tensor, k: Tensor, v: Tensor, pull: Tensor) -> object:
    """Forward and backward through an attention."""
    return torch.autograd.grad(attend(q, k, v), (q, k, v), pull)


def main() -> None:
    ours, kernel = partial(soft, mask=None, causal=False), F.scaled_dot_product_attention
    for dtype in (torch.float32, torch.bfloat16):
        for name, (b, h, n, w) in SHAPES.items():
            q, k, v = (torch.randn(b, h, n, w, dtype=dtype, requires_grad=True) for _ in range(3))
            x = (q, k, v)
            forward = median(partial(kernel, *x)) / median(partial(ours, *x))
            pull = torch.randn(b, h, n, w, dtype=dtype)
            both = median(partial(back, kernel, *x, pull)) / median(partial(back, ours, *x, pull))
            kind = str(dtype).removeprefix("torch.")
            print(f"{kind:9} {name:12} forward {forward:.2f}  with backward {both:.2f}")


if __name__ == "__main__":
    main()
