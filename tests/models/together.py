"""One training step of every small net, alone or as one of torchrun's ranks.

    python tests/models/together.py FOLDER

writes FOLDER/NAME-HOW.pt: the gradients, and the state after the step.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from sensorium.train.backward import Scale, backward
from sensorium.train.parallel import Place, joined, spread, summed, whole
from sensorium.train.rules import AdamW, optimiser
from sensorium.train.step import Step
from tests.models.nets import TINY, filled, part, posed

ROWS = 8
RULES = ((r".*", AdamW(1e-2, eps=1e-3)),)  # see tests/train/tiny.py


def step(name: str, how: str, place: Place) -> dict[str, torch.Tensor]:
    """Gradients and state after one step on a batch that all ranks share."""
    net = filled(TINY[name]).double()  # so that nothing but a mistake can make a difference
    asked = posed(TINY[name], net, ROWS)
    made = Step(net, {"ask": asked.objective}).train()
    root = spread(made, place, how)
    learn = optimiser(made, RULES)
    own = torch.arange(ROWS).chunk(place.world)[place.rank]
    question = asked.objective.pose(net, part(asked.batch, own), torch.Generator())
    counts = asked.objective.count(question)
    total = summed(torch.tensor([*map(float, counts.values())], device=place.device), place)
    scale = Scale({"ask": {k: 1 / n for k, n in zip(counts, total.tolist(), strict=True)}})
    backward(root, made, [{"ask": question}], scale, place, lambda piece: nullcontext())
    grads = {f"grad of {n}": whole(p.grad).clone() for n, p in made.named_parameters()}
    for group in learn.param_groups:
        group["lr"] = group["initial_lr"]
    learn.step()
    return grads | {n: whole(v).clone() for n, v in made.state_dict().items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as place:
        for name in TINY:
            for how in ("ddp", "fsdp"):
                found = step(name, how, place)
                if place.first:
                    torch.save(found, Path(sys.argv[1]) / f"{name}-{how}.pt")
