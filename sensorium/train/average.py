"""The running average of the weights (Polyak averaging), which is what is evaluated and saved."""

import torch
from torch import Tensor, nn


class Average:
    """Moves by a share of 1 - decay towards the net after each step.

    Early on the decay is lower, (1 + step) / (10 + step), so that the random start is forgotten.
    Buffers that count are copied; running statistics are averaged like weights.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.decay = decay
        state = net.state_dict()
        self.values: dict[str, Tensor] = {n: v.detach().clone() for n, v in state.items()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """`step` counts from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)
