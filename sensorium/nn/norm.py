"""Batch normalisation whose statistics are those of the global batch, however many ranks share it.

With one process it is `nn.BatchNorm2d`, kernels and all. With several, mean and variance are taken
over the batches of all ranks together (Ioffe and Szegedy 2015, algorithm 1, with the global batch),
so that the result of a training step does not depend on how many ranks it ran on.
"""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, state-dict names included, over the global batch of all ranks.

    Every rank must call it equally often while training, as every rank does in a training step. In
    evaluation mode nothing is exchanged.
    """

    def forward(self, input: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        alone = not dist.is_initialized() or dist.get_world_size() == 1
        if not self.training or alone:
            return super().forward(input)
        out, mean, var, count = _Global.apply(input, self.weight, self.bias, self.eps)
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None and self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            free = var * (count / (count - 1).clamp(min=1))  # Bessel's correction, as torch does
            self.running_var.lerp_(free.to(self.running_var.dtype), self.momentum)
        return out


class _Global(torch.autograd.Function):
    """Normalises over all ranks; two small exchanges forward and one backward.

    Statistics are worked out in at least float32. The variance is taken around the global mean, and
    not as a difference of large sums. Gradients of weight and bias are this rank's share: whatever
    adds up the gradients of ranks adds them too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_full((1,), x.numel() / x.shape[1])
        sums = torch.cat([wide.sum((0, 2, 3)), count])
        dist.all_reduce(sums)
        mean, count = sums[:-1] / sums[-1], sums[-1:]
        squares = (wide - plane(mean)).square().sum((0, 2, 3))
        dist.all_reduce(squares)
        var = squares / count
        inverse = (var + eps).rsqrt()
        scale, shift = weight * inverse, bias - mean * weight * inverse
        ctx.save_for_backward(x, weight, mean, inverse, count)
        ctx.mark_non_differentiable(mean, var, count)
        return (wide * plane(scale) + plane(shift)).to(x.dtype), mean, var, count

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *unused: Tensor | None):  # type: ignore[override]
        x, weight, mean, inverse, count = ctx.saved_tensors
        wide = grad.to(mean.dtype)
        normal = (x.to(mean.dtype) - plane(mean)) * plane(inverse)
        to_bias, to_weight = wide.sum((0, 2, 3)), (wide * normal).sum((0, 2, 3))
        sums = torch.stack([to_bias, to_weight]) / count
        dist.all_reduce(sums)
        centred = wide - plane(sums[0]) - normal * plane(sums[1])
        to_x = centred * plane(weight * inverse)
        return to_x.to(x.dtype), to_weight.to(weight.dtype), to_bias.to(weight.dtype), None


def plane(x: Float[Tensor, " c"]) -> Float[Tensor, "1 c 1 1"]:
    """One number a channel, to be spread over a batch of feature maps."""
    return x[None, :, None, None]
