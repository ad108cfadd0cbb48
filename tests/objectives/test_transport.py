"""Optimal transport: beside a linear programme, beside the systems' own code, and at the edges."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.optimize import linprog
from torch import Tensor

from sensorium.data.ragged import lay
from sensorium.data.regions import Looked, lay_regions
from sensorium.objectives import matching
from sensorium.objectives.matching import Matching
from sensorium.objectives.passes import OnePass
from sensorium.objectives.transport import UNITER, VILT, Pairs, Transport, costs, distance, plan
from sensorium.types import Fused, Ragged, Tokens
from tests.models.drawn import uniform
from tests.objectives.posed import case, one_by_one, uniter

GOLDEN = Path(__file__).parents[2] / "golden" / "fusion-objectives.safetensors"
RIGHT = torch.tensor([True, False, True, False])


def exact(cost: np.ndarray) -> float:
    """The least cost of moving mass 1/n from each row and 1/m into each column."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    margins = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=margins).fun


def loop(cost: Tensor, beta: float, rounds: int) -> Tensor:
    """IPOT of one pair, number by number."""
    n, m = cost.shape
    moved, word = [[1.0] * m for _ in range(n)], [1 / n] * n
    for _ in range(rounds):
        q = [[float((-cost[i, j] / beta).exp()) * moved[i][j] for j in range(m)] for i in range(n)]
        region = [1 / (m * sum(word[i] * q[i][j] for i in range(n))) for j in range(m)]
        word = [1 / (n * sum(region[j] * q[i][j] for j in range(m))) for i in range(n)]
        moved = [[word[i] * q[i][j] * region[j] for j in range(m)] for i in range(n)]
    return torch.tensor(moved, dtype=torch.float64)


def all_real(cost: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(torch.ones(1, size, dtype=torch.bool) for size in cost.shape)  # type: ignore[return-value]


@pytest.mark.parametrize(("n", "m", "off"), [(7, 10, 0.01), (20, 36, 0.05), (1, 4, 1e-6)])
def test_the_plan_costs_hardly_more_than_the_best_one(n: int, m: int, off: float) -> None:
    text, image = uniform("text", (1, n, 8)).double(), uniform("image", (1, m, 8)).double()
    cost = costs(text, image)[0]
    found = plan(cost[None], *all_real(cost))[0]
    torch.testing.assert_close(
        found.sum(1), torch.full((n,), 1 / n, dtype=torch.float64), atol=1e-9, rtol=0
    )
    torch.testing.assert_close(
        found.sum(0), torch.full((m,), 1 / m, dtype=torch.float64), atol=5e-3, rtol=0
    )
    best, ours = exact(cost.numpy()), float((found * cost).sum())
    assert best - 1e-3 <= ours <= best * (1 + off)


def test_more_rounds_come_nearer() -> None:
    cost = uniform("cost", (6, 9)).double() + 1
    best = exact(cost.numpy())
    found = [(plan(cost[None], *all_real(cost), rounds=r)[0] * cost).sum() for r in (5, 50, 500)]
    assert found[0] > found[1] > found[2] and float(found[2]) == pytest.approx(best, rel=1e-3)


def test_the_plan_is_that_of_a_loop_over_numbers_also_where_pairs_are_filled_up() -> None:
    cost = uniform("cost", (3, 4, 6)).double() + 1
    n, m = torch.tensor([4, 2, 3]), torch.tensor([6, 5, 1])
    real_n, real_m = torch.arange(4) < n[:, None], torch.arange(6) < m[:, None]
    found = plan(cost, real_n, real_m)
    for i in range(3):
        wanted = loop(cost[i, : n[i], : m[i]], 0.5, 50)
        torch.testing.assert_close(found[i, : n[i], : m[i]], wanted)
        assert float(found[i].sum()) == pytest.approx(float(wanted.sum()))  # nothing beyond


def test_two_of_a_kind_go_to_each_other() -> None:
    cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = plan(cost[None], *all_real(cost))[0]
    torch.testing.assert_close(found, torch.eye(2) / 2)
    text, image = torch.eye(3)[:, :2], torch.tensor([[1.0, 0.2], [0.2, 1.0]])
    text[2] = 1
    real = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    found = plan(costs(text[None], image[None]), *real)[0].T
    third = torch.tensor([[1 / 3, 0, 1 / 6], [0, 1 / 3, 1 / 6]])
    torch.testing.assert_close(found, third, atol=2e-4, rtol=0)
    assert float(distance(text[None], image[None], *real)) == pytest.approx(0.0689, abs=1e-4)
    real[0][0, 2] = False
    assert float(distance(text[None], image[None], *real)) == pytest.approx(0.0194, abs=1e-4)


def test_nothing_to_move_costs_nothing_and_has_no_gradient() -> None:
    text, image = uniform("t", (2, 3, 4)).requires_grad_(), uniform("i", (2, 5, 4)).requires_grad_()
    real = torch.tensor([[True] * 3, [True] * 3]), torch.tensor([[False] * 5, [True] * 5])
    found = distance(text, image, *real)
    found.sum().backward()
    assert found[0].item() == 0 and found[1].item() > 0
    assert text.grad is not None and not text.grad[0].any() and text.grad[1].any()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (text, image))


def packed(name: str, lengths: tuple[int, ...], width: int = 8) -> Tokens:
    """The states of the golden file's rows, laid end to end, and leaves to differentiate."""
    rows = uniform(name, (len(lengths), max(lengths), width))
    texts = [[1] * n for n in lengths]
    at = lay(texts)
    x = torch.cat([row[:n] for row, n in zip(rows, lengths, strict=True)])[None].requires_grad_()
    return Tokens(x, Ragged(at.rows, at.back, at.lengths, causal=False))


def filled_up(x: Tensor, lengths: tuple[int, ...]) -> Tensor:
    parts = x.split(lengths)
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)


@pytest.mark.parametrize("system", ["uniter", "vilt"])
def test_the_loss_is_that_of_the_systems_own_code(system: str) -> None:
    golden = load_file(GOLDEN)
    words, regions = (7, 3, 5, 1), (4, 6, 1, 6)
    part, right = UNITER, RIGHT
    if system == "vilt":
        words, regions = (7, 3, 5, 4), (4, 6, 2, 6)
        part, right = VILT, golden["vilt.label"] == 1
    said = Fused(packed("words", words), packed("regions", regions), torch.zeros(4, 1))
    answer = part.read(uniter(), said, Pairs(right))  # type: ignore[arg-type]
    (loss,) = part.mark(answer, Pairs(right)).values()
    (loss / part.count(Pairs(right))[part.name]).backward()
    if system == "uniter":
        torch.testing.assert_close(answer.x, golden["uniter.distance"], atol=1e-6, rtol=1e-5)
        assert said.image.x.grad is not None
        grad = filled_up(said.image.x.grad[0], regions)
        torch.testing.assert_close(grad, golden["uniter.regions"], atol=1e-7, rtol=1e-4)
    wanted = golden["uniter.loss" if system == "uniter" else "vilt.wpa"]
    torch.testing.assert_close(loss / 4, wanted, atol=1e-7, rtol=1e-5)
    assert said.text.x.grad is not None
    grad = filled_up(said.text.x.grad[0], words)
    torch.testing.assert_close(grad, golden[f"{system}.words"], atol=1e-7, rtol=1e-4)


def test_in_a_pass_behind_matching_it_is_that_of_pairs_read_alone() -> None:
    net, batch = uniter(), case()
    objective = OnePass(Matching(matching.UNITER), Transport())
    question = objective.pose(net, batch, torch.Generator().manual_seed(3))
    found = objective.mark(objective.encode(net, question), question)
    wanted = 0.0
    for said, label in zip(one_by_one(net, question.of), question.asked[0].label, strict=True):
        regions = int(said.image.at.lengths)  # type: ignore[union-attr]
        if regions == 0:
            continue
        cost = costs(said.text.x, said.image.x[:, :regions])[0].detach()
        wanted += 0.1 * (1 if label else -1) * float((loop(cost, 0.5, 50) * cost).sum())
    assert set(found) == {"itm", "wra"} and objective.count(question) == {"itm": 6, "wra": 6}
    assert found["wra"].item() == pytest.approx(wanted, rel=1e-8)


def test_pictures_without_a_layout_are_rows_of_equal_length() -> None:
    image = uniform("i", (2, 5, 8))
    text = packed("t", (3, 4))
    dense = UNITER.read(uniter(), Fused(text, Tokens(image), image[:, 0]), Pairs(RIGHT[:2]))
    laid = lay_regions([Looked(row, torch.zeros(5, 4)) for row in image])
    at = Ragged(laid.rows, laid.back, laid.lengths, causal=False)
    ragged = Fused(text, Tokens(image.flatten(0, 1)[None], at), image[:, 0])
    torch.testing.assert_close(dense.x, UNITER.read(uniter(), ragged, Pairs(RIGHT[:2])).x)  # type: ignore[arg-type]
