"""The tiled losses against their dense twins, loss and every gradient."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.infonce import dense_one_way, dense_symmetric, one_way, symmetric


def pairs(
    rows: int, width: int = 16, scale: float = 100.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors, texts a little like their images, as leaves; log of the scale.

    Only a little: where nothing is left to learn, loss and gradient are differences of almost equal
    numbers, and no relative error of them means anything.
    """
    g = torch.Generator().manual_seed(rows)
    image = F.normalize(torch.randn(rows, width, generator=g, dtype=torch.float64), dim=1)
    noise = F.normalize(torch.randn(rows, width, generator=g, dtype=torch.float64), dim=1)
    text = F.normalize(0.3 * image + noise, dim=1)
    log_scale = torch.tensor([math.log(scale)], dtype=torch.float64)
    return tuple(x.to(dtype).requires_grad_() for x in (image, text, log_scale))  # pyright: ignore


def gradients(loss, *leaves: Tensor) -> list[Tensor]:
    """The two directions weighed differently, so that none hides behind the other."""
    total = loss[0] + 0.3 * loss[1] if isinstance(loss, tuple) else loss
    return [total.detach(), *torch.autograd.grad(total, leaves)]


def assert_same(found: list[Tensor], wanted: list[Tensor], relative: float) -> None:
    for name, a, b in zip(("loss", "image", "text", "log_scale"), found, wanted, strict=True):
        error = (a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30)
        if b.norm() == 0:
            error = a.double().norm()
        assert error <= relative, f"{name}: relative error {float(error):.2e}"


TYPES = [(torch.float64, 1e-12), (torch.float32, 1e-5)]


@pytest.mark.parametrize(("dtype", "relative"), TYPES)
@pytest.mark.parametrize("scale", [1.0, 1 / 0.07, 100.0])
@pytest.mark.parametrize(("rows", "tile"), [(1, 4), (2, 1), (7, 3), (32, 8), (33, 8), (50, 64)])
def test_tiles_equal_the_dense_loss(rows, tile, scale, dtype, relative):
    leaves = pairs(rows, scale=scale, dtype=dtype)
    exact = [x.detach().double().requires_grad_() for x in leaves]
    found = gradients(symmetric(*leaves, tile=tile), *leaves)
    assert_same(found, gradients(dense_symmetric(*exact), *exact), relative)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("repeats", ["mask", "share"])
@pytest.mark.parametrize("groups", [1, 3, 1000])
def test_false_negatives_and_smoothing(groups, repeats, smoothing):
    leaves = pairs(23)
    group = torch.randint(groups, (23,), generator=torch.Generator().manual_seed(0))
    how = {"group": group, "repeats": repeats, "smoothing": smoothing}
    found = gradients(symmetric(*leaves, **how, tile=5), *leaves)
    assert_same(found, gradients(dense_symmetric(*leaves, **how), *leaves), 1e-12)


def test_the_dense_loss_is_clips():
    """Written out from the definition, one row at a time."""
    image, text, log_scale = pairs(5)
    s = log_scale.exp()
    rows = sum(
        -torch.log(torch.exp(s * image[i] @ text[i]) / torch.exp(s * image[i] @ text.T).sum())
        for i in range(5)
    )
    columns = sum(
        -torch.log(torch.exp(s * image[i] @ text[i]) / torch.exp(s * image @ text[i]).sum())
        for i in range(5)
    )
    torch.testing.assert_close(dense_symmetric(image, text, log_scale), (rows, columns))


def test_the_dense_masks_mean_what_they_say():
    """Pairs 0 and 2 are alike: either they do not see each other, or both answer."""
    image, text, log_scale = pairs(4, scale=5.0)
    group = torch.tensor([7, 1, 7, 2])
    logits = 5 * image @ text.T
    masked, _ = dense_symmetric(image, text, log_scale, group)
    without = logits[0, [0, 1, 3]].logsumexp(0) + logits[2, [1, 2, 3]].logsumexp(0)
    rest = logits[1].logsumexp(0) + logits[3].logsumexp(0)
    torch.testing.assert_close(masked, without + rest - logits.trace())
    shared, _ = dense_symmetric(image, text, log_scale, group, "share")
    asked = (logits[0, 0] + logits[0, 2] + logits[2, 0] + logits[2, 2]) / 2
    asked = asked + logits[1, 1] + logits[3, 3]
    torch.testing.assert_close(shared, logits.logsumexp(1).sum() - asked)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_way(smoothing):
    """Queries may be fewer than keys, share a positive, and keys may be nobody's."""
    query, keys, log_scale = pairs(40)
    query = query[:9].detach().requires_grad_()
    positive = torch.tensor([3, 3, 0, 39, 8, 7, 21, 22, 5])
    leaves = (query, keys, log_scale)
    found = gradients(one_way(*leaves, positive, smoothing, tile=7), *leaves)
    assert_same(found, gradients(dense_one_way(*leaves, positive, smoothing), *leaves), 1e-12)


def test_the_denominator_holds_as_many_terms_as_keys():
    """Alike vectors: ln(B), not ln(B + 1), which would count the query against itself."""
    same = torch.ones(8, 1, dtype=torch.float64)
    loss = one_way(same, same, torch.zeros(1, dtype=torch.float64), torch.arange(8))
    assert loss.item() == pytest.approx(8 * math.log(8))
