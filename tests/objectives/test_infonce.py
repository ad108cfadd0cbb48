"""The tiled losses against their dense twins, loss and every gradient."""
# pyright: reportCallIssue=false, reportArgumentType=false

import math

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.objectives.infonce import dense_one_way, dense_symmetric, one_way, symmetric
from sensorium.objectives.ring import ring_symmetric
from sensorium.objectives.sigmoid import dense_sigmoid_pairs, sigmoid_pairs


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_only_the_inputs(dtype):
    """Logits near 100 have steps of 0.5 in bfloat16; computed in float32 they do not."""
    leaves = pairs(70, width=64, dtype=dtype)
    leaves = (*leaves[:2], leaves[2].detach().float().requires_grad_())
    exact = [x.detach().double().requires_grad_() for x in leaves]
    found = gradients(symmetric(*leaves, tile=16), *leaves)
    wanted = gradients(dense_symmetric(*exact), *exact)
    assert found[0].dtype == torch.float32
    assert [x.dtype for x in found[1:]] == [dtype, dtype, torch.float32]
    step = torch.finfo(dtype).eps  # gradients are rounded once, on the way out
    for a, b, relative in zip(found, wanted, (1e-5, step, step, 1e-5), strict=True):
        assert (a.double() - b).norm() <= relative * b.norm()


def test_autocast_changes_nothing():
    leaves = pairs(20, dtype=torch.float32)
    wanted = gradients(symmetric(*leaves, tile=8), *leaves)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(symmetric(*leaves, tile=8), *leaves)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)


def test_duplicates_are_negatives_of_each_other_unless_grouped():
    image, text, log_scale = (x.detach() for x in pairs(6))
    image, text = image.repeat(2, 1), text.repeat(2, 1)
    plain = symmetric(image, text, log_scale)
    masked = symmetric(image, text, log_scale, group=torch.arange(6).repeat(2))
    once = symmetric(image[:6], text[:6], log_scale)
    for direction in range(2):
        assert masked[direction].item() > 2 * once[direction].item() - 1e-9
        assert plain[direction].item() >= masked[direction].item()
    # every softmax holds its terms twice: ln 2 more a row
    torch.testing.assert_close(plain[0], 2 * once[0] + 12 * math.log(2))


@pytest.mark.parametrize("loss", [symmetric, ring_symmetric])
def test_no_pairs_give_no_loss_and_no_gradient(loss):
    image, text, log_scale = pairs(3)
    down, across = loss(image[:0], text[:0], log_scale)
    (down + across).backward()
    assert down == across == 0
    assert log_scale.grad is not None and log_scale.grad.shape == (1,) and log_scale.grad == 0
    assert image.grad is not None and not image.grad.any()


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 2), (0, 1)])
def test_frozen_inputs_get_nothing_and_the_rest_is_unchanged(frozen):
    leaves = pairs(11)
    whole = dict(enumerate(gradients(symmetric(*leaves, tile=4), *leaves)[1:]))
    inputs = [x.detach() if k in frozen else x for k, x in enumerate(leaves)]
    learning = [k for k in range(3) if k not in frozen]
    found = gradients(symmetric(*inputs, tile=4), *(inputs[k] for k in learning))
    for k, gradient in zip(learning, found[1:], strict=True):
        torch.testing.assert_close(gradient, whole[k])


def test_a_number_that_is_not_finite_stays_visible():
    image, text, log_scale = (x.detach() for x in pairs(9))
    image[4, 2] = math.nan
    down, across = symmetric(image, text, log_scale, tile=4)
    assert down.isnan() and across.isnan()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users run it: signatures are checked at run time only in tests."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": torch.ones(4, 16)}, "4 texts"),
        ({"text": torch.ones(5, 8)}, "width"),
        ({"text": torch.ones(5, 16).double()}, "one floating type"),
        ({"log_scale": torch.ones(2)}, "one number"),
        ({"group": torch.arange(4)}, "one integer a pair"),
        ({"group": torch.ones(5)}, "one integer a pair"),
        ({"repeats": "drop"}, "'mask' or 'share'"),
        ({"smoothing": 1.0}, "less than 1"),
        ({"tile": 0}, "at least one row"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    fits = {"image": torch.ones(5, 16), "text": torch.ones(5, 16), "log_scale": torch.ones(1)}
    with pytest.raises(ValueError, match=words):
        symmetric(**(fits | change))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("positive", [[0, 5], [-1, 0], [0]])
def test_a_positive_that_is_no_key_is_refused(positive):
    with pytest.raises(ValueError, match="positive"):
        one_way(torch.ones(2, 4), torch.ones(5, 4), torch.ones(1), torch.tensor(positive))


@pytest.mark.parametrize(("dtype", "relative"), TYPES)
@pytest.mark.parametrize("groups", [None, 4])
@pytest.mark.parametrize("start", [-10.0, 0.0])
def test_sigmoid_pairs(start, groups, dtype, relative):
    leaves = (*pairs(19, scale=10.0, dtype=dtype), torch.full((1,), start, dtype=dtype))
    leaves[3].requires_grad_()
    exact = [x.detach().double().requires_grad_() for x in leaves]
    group = None if groups is None else torch.arange(19) % groups
    wanted = dense_sigmoid_pairs(*exact, group)
    found = sigmoid_pairs(*leaves, group, tile=6)
    assert abs(found.item() - wanted.item()) <= relative * wanted.item()
    for a, b in zip(
        torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, exact), strict=True
    ):
        assert (a.double() - b).norm() <= relative * b.norm()


def test_sigmoid_pairs_start_near_ten_a_pair():
    """Not a divergence: the bias of -10 makes every positive wrong at first."""
    image, text, log_scale = (x.detach() for x in pairs(64, width=64, scale=10.0))
    loss = sigmoid_pairs(image, text, log_scale, torch.full((1,), -10.0)) / 64
    assert 6 < loss < 11


@pytest.mark.usefixtures("unchecked")
@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo looks at what it is given
def test_compile_steps_around_the_loss():
    leaves = pairs(12, dtype=torch.float32)

    def loss(image, text, log_scale):
        down, across = symmetric(image * 1.0, text * 1.0, log_scale, tile=5)
        return (down + across) / 2

    compiled = torch.compile(loss, backend="eager")
    assert_same(gradients(compiled(*leaves), *leaves), gradients(loss(*leaves), *leaves), 1e-6)
