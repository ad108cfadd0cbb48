"""One gradient from a global batch, however it is cut into slices and ranks.

Losses come as sums, and what they are divided by is known before the first backward pass, so the
gradient is that of the whole batch whatever the cut. Where rows depend on one another (a contrast)
the slices are encoded twice: once without a graph, to mark all of them together; once with it, to
carry the gradient of the answers into the net (GradCache, Gao et al. 2021, arXiv 2101.06983).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sensorium.train.parallel import Place, synced
from sensorium.train.step import Step

Questions = Mapping[str, Any]


class Scale(NamedTuple):
    """What each loss is multiplied by: its weight over its count, by ask and loss name."""

    factors: Mapping[str, Mapping[str, float]]

    def total(self, sums: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        parts = [
            value * self.factors[ask][name]
            for ask, losses in sums.items()
            for name, value in losses.items()
        ]
        return torch.stack([part.reshape(()) for part in parts]).sum()


def backward(
    root: nn.Module,
    step: Step,
    slices: Sequence[Questions],
    scale: Scale,
    place: Place,
    around: Callable[[int], AbstractContextManager],
) -> dict[str, dict[str, Tensor]]:
    """Leaves the gradient of the global batch in the parameters; returns this rank's sums.

    Args:
        root: the module to call (`step`, possibly wrapped).
        slices: this rank's questions, slice by slice.
        around: the context of a slice's forward pass: its random state and its precision.
    """
    coupled = [name for name in slices[0] if step.asked[name].coupled]
    if len(slices) == 1 or not coupled:
        return _each(root, slices, scale, place, around)
    return _cached(root, step, slices, coupled, scale, place, around)


def _each(root, slices, scale, place, around) -> dict[str, dict[str, Tensor]]:
    totals: dict[str, dict[str, Tensor]] = {}
    for number, questions in enumerate(slices):
        with synced(root, number == len(slices) - 1):
            with around(number):
                sums = root(questions, True)
            (scale.total(sums) * place.world).backward()
        _add(totals, sums)
    return totals


def _cached(root, step, slices, coupled, scale, place, around) -> dict[str, dict[str, Tensor]]:
    answers: list[dict[str, Any]] = []
    for number, questions in enumerate(slices):
        with torch.no_grad(), around(number):
            answers.append(root({name: questions[name] for name in coupled}, False))
    totals: dict[str, dict[str, Tensor]] = {}
    pulls: list[dict[str, list[Tensor | None]]] = [{} for _ in slices]
    for name in coupled:
        leaves, joined = _joined([a[name] for a in answers])
        sums = step.asked[name].mark(joined, [questions[name] for questions in slices])
        (scale.total({name: sums}) * place.world).backward()
        _add(totals, {name: sums})
        for number, fields in enumerate(leaves):
            pulls[number][name] = [None if leaf is None else leaf.grad for leaf in fields]
    for number, posed in enumerate(slices):
        # the coupled ones first, as above: a net that draws (dropout) must draw the same again
        questions = {n: posed[n] for n in (*coupled, *(n for n in posed if n not in coupled))}
        with synced(root, number == len(slices) - 1):
            with around(number):
                said = root(questions, False)
                free = {
                    name: step.asked[name].mark(said[name], questions[name])
                    for name in said
                    if name not in coupled
                }
            pairs = [
                (field, grad)
                for name in coupled
                for field, grad in zip(said[name], pulls[number][name], strict=True)
                if grad is not None and field.requires_grad
            ]
            tensors, grads = [t for t, _ in pairs], [g for _, g in pairs]
            if free:
                tensors.append(scale.total(free) * place.world)
                grads.append(torch.ones_like(tensors[-1]))
            torch.autograd.backward(tensors, grads)
        _add(totals, free)
    return totals


def _joined(parts: list[Any]) -> tuple[list[list[Tensor | None]], Any]:
    """Leaves that collect gradients, slice by slice and field by field, and all rows together.

    A field of shape (1,) is shared by all slices: it is a leaf of the last one alone.
    """
    leaves = [
        [None if f.shape == (1,) else f.detach().requires_grad_(True) for f in part]
        for part in parts
    ]
    fields = []
    for place, field in enumerate(parts[-1]):
        if field.shape == (1,):
            leaves[-1][place] = field.detach().requires_grad_(True)
            fields.append(leaves[-1][place])
        else:
            fields.append(torch.cat([x for row in leaves if (x := row[place]) is not None]))
    return leaves, type(parts[0])(*fields)


def _add(totals: dict[str, dict[str, Tensor]], sums: Mapping[str, Mapping[str, Tensor]]) -> None:
    for ask, losses in sums.items():
        for name, value in losses.items():
            kept = totals.setdefault(ask, {})
            kept[name] = kept.get(name, torch.zeros_like(value)) + value.detach()
