"""One gradient from slices, with objectives of both kinds and a net that draws."""

from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sensorium.train.backward import Scale, backward
from sensorium.train.parallel import Place
from sensorium.train.step import Step

ROWS, SLICES = 6, 3
ALONE = Place(0, 1, torch.device("cpu"))


class Said(NamedTuple):
    x: Tensor
    gain: Tensor


class Ask:
    """Sums over rows; with `coupled`, over all pairs of rows. Keeps what the net said."""

    def __init__(self, coupled: bool):
        self.coupled, self.heard = coupled, []

    def pose(self, net: nn.Module, batch: Tensor, g: torch.Generator) -> Tensor:
        return batch

    def count(self, question: Tensor) -> dict[str, int]:
        return {"loss": len(question)}

    def after_step(self, net: nn.Module) -> None:
        pass

    def encode(self, net: nn.Module, question: Tensor) -> Said:
        said = Said(net(question), net.get_parameter("gain"))
        self.heard.append(said.x.detach().clone())
        return said

    def mark(self, answers: Said, question) -> dict[str, Tensor]:
        x = answers.x * answers.gain
        return {"loss": (x @ x.T).tanh().sum() if self.coupled else x.square().sum()}


class Net(nn.Sequential):
    def __init__(self, chance: float):
        torch.manual_seed(0)
        super().__init__(nn.Linear(4, 5), nn.Dropout(chance), nn.Tanh())
        self.double()
        self.register_parameter("gain", nn.Parameter(torch.full((1,), 0.7).double()))

    def forward(self, x: Tensor) -> Tensor:
        return self[2](self[1](self[0](x)))


@contextmanager
def around(piece: int):
    torch.manual_seed(piece)
    yield


def gradient(chance: float, slices: int) -> tuple[list[Tensor], dict, dict[str, Ask]]:
    asked = {"free": Ask(False), "pairs": Ask(True)}  # the one that is not cached comes first
    step = Step(Net(chance), asked)
    x = torch.randn(2, ROWS, 4, generator=torch.Generator().manual_seed(1)).double()
    cut = [dict(zip(asked, part, strict=True)) for part in x.split(ROWS // slices, dim=1)]
    scale = Scale({"free": {"loss": 0.5}, "pairs": {"loss": 2.0}})
    sums = backward(step, step, cut, scale, ALONE, around)
    return [p.grad for p in step.parameters()], sums, asked


def test_slices_of_two_objectives_give_the_gradient_of_the_whole() -> None:
    whole, sums, _ = gradient(0.0, 1)
    cut, again, _ = gradient(0.0, SLICES)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(whole, cut, strict=True))
    assert all(torch.allclose(sums[n]["loss"], again[n]["loss"], rtol=1e-12) for n in sums)


def test_a_slice_that_is_encoded_twice_says_the_same_twice() -> None:
    """Else the gradient of one drawing of a dropout would be carried into another."""
    _, _, asked = gradient(0.5, SLICES)
    heard = asked["pairs"].heard
    assert len(heard) == 2 * SLICES
    assert all(torch.equal(a, b) for a, b in zip(heard[:SLICES], heard[SLICES:], strict=True))
