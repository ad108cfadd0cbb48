"""The running average of the weights (Polyak averaging), which is what is evaluated and saved."""

import copy

import torch
from torch import nn


class Average:
    """Moves by a share of 1 - decay towards the net after each step.

    Early on the decay is lower, (1 + step) / (10 + step), so that the random start is forgotten.
    Buffers that count are copied; running statistics are averaged like weights.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.decay = decay
        self.net = copy.deepcopy(net).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        ours, theirs = self.net.state_dict(), net.state_dict()
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
        for name, value in ours.items():
            if not value.is_floating_point():
                value.copy_(theirs[name])
