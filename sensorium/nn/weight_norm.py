"""A linear layer whose weight is a length times a direction."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class NormedLinear(nn.Linear):
    """Weight normalisation (Salimans and Kingma 2016) with one length for the whole matrix.

    `weight` is the direction, of any length itself; `gain` is the length that it is given.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.gain = nn.Parameter(torch.ones(1))
        with torch.no_grad():
            self.gain.copy_(self.weight.norm().view(1))

    def forward(self, x: Float[Tensor, "*s d"]) -> Float[Tensor, "*s v"]:
        return F.linear(x, self.weight * (self.gain / self.weight.norm()), self.bias)
