"""Starting weights from another net: BERT's into the systems that read words by its layers, and
what grows when a pre-trained net is given a task it was not made for."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sensorium.weights.errors import WeightsError


def start_from(net: nn.Module, state: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    """Puts another net's tensors into `net`; returns the names of `net` that keep their own values.

    Args:
        state: the other net's state dict, in our names.
        names: beginnings of its names and of ours, the first that fits counts; "" leaves a tensor
            out: `{"embed.": "text.", "stack.": "stack.", "heads.": ""}`.

    Raises:
        WeightsError: a tensor fits no beginning, has no place, or another shape; then nothing is
            changed.
    """
    own = net.state_dict()
    found: dict[str, Tensor] = {}
    wrong: list[str] = []
    for name, tensor in state.items():
        start = next((start for start in names if name.startswith(start)), None)
        if start is None:
            wrong.append(f"{name} fits none of {list(names)}")
        elif names[start]:
            place = names[start] + name[len(start) :]
            if place not in own or own[place].shape != tensor.shape:
                has = tuple(own[place].shape) if place in own else "nothing"
                wrong.append(f"{name} {tuple(tensor.shape)} has no place: {place} is {has}")
            found[place] = tensor
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise WeightsError(f"starting weights do not fit: {'; '.join(wrong[:4])}{more}")
    with torch.no_grad():
        for place, tensor in found.items():
            own[place].copy_(tensor)
    return [place for place in own if place not in found]


def grown(table: Tensor, rows: int, like: int) -> Tensor:
    """A table with more rows, each new one a copy of row `like`.

    NLVR2's second picture starts as the first, VCR's answer and rationale as the question.

    Raises:
        WeightsError: fewer rows than there are.
    """
    if rows < len(table):
        raise WeightsError(f"a table of {len(table)} rows cannot grow to {rows}")
    return torch.cat([table, table[like : like + 1].expand(rows - len(table), -1)])


@torch.no_grad()
def rank_by_match(rank: nn.Linear, match: nn.Linear, label: int) -> None:
    """A ranking head starts as the row of the matching head that says "they belong together"."""
    rank.weight.copy_(match.weight[label : label + 1])
    rank.bias.copy_(match.bias[label : label + 1])
