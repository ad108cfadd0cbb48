"""Name rules: which parameters learn, how fast, with what decay. The first match wins."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn


class AdamW(NamedTuple):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017); `lr` is the peak rate."""

    lr: float
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8


class Freeze(NamedTuple):
    """The parameter does not learn."""


Rules = Sequence[tuple[str, AdamW | Freeze]]


def match(rules: Rules, names: Sequence[str]) -> dict[str, AdamW | Freeze]:
    """The rule of every parameter name: the first whose pattern is found in it (`re.search`).

    Raises:
        ValueError: a parameter matches no rule, or a rule matches no parameter; all are named.
    """
    found: dict[str, AdamW | Freeze] = {}
    used: set[int] = set()
    for name in names:
        for place, (pattern, rule) in enumerate(rules):
            if re.search(pattern, name):
                found[name] = rule
                used.add(place)
                break
    missing = [name for name in names if name not in found]
    idle = [pattern for place, (pattern, _) in enumerate(rules) if place not in used]
    if missing:
        raise ValueError(f"no rule matches these parameters: {', '.join(missing[:8])}; add one")
    if idle:
        raise ValueError(f"these rules match no parameter: {', '.join(idle)}; mend or drop them")
    return found


def freeze(net: nn.Module, rules: Rules) -> None:
    """Takes the gradient from what the rules freeze; before the net is spread over ranks."""
    by_name = match(rules, [name for name, _ in net.named_parameters()])
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(isinstance(by_name[name], AdamW))


def optimiser(net: nn.Module, rules: Rules) -> torch.optim.Optimizer:
    """AdamW with one group a rule; freezes what the rules freeze. `initial_lr` is the peak rate."""
    freeze(net, rules)
    by_name = match(rules, [name for name, _ in net.named_parameters()])
    groups: dict[AdamW, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        rule = by_name[name]
        if isinstance(rule, AdamW):
            groups.setdefault(rule, []).append(parameter)
    if not groups:
        raise ValueError("every parameter is frozen: nothing would be trained")
    return torch.optim.AdamW(
        [
            dict(params=p, lr=r.lr, initial_lr=r.lr, weight_decay=r.decay, betas=r.betas, eps=r.eps)
            for r, p in groups.items()
        ],
        lr=0.0,
        fused=True,
    )


def table(net: nn.Module, rules: Rules) -> dict[str, str]:
    """Parameter name to shape and rule, for the record; a resume refuses when it has changed."""
    by_name: Mapping[str, AdamW | Freeze] = match(rules, [n for n, _ in net.named_parameters()])
    return {n: f"{tuple(p.shape)} {by_name[n]}" for n, p in net.named_parameters()}
