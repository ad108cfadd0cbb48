"""Orders: every sample at its rate, as a pure function of the position."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sensorium.data.errors import DataError
from sensorium.data.order import Mixed, OnePerGroup, Shuffled, Together

GROUPS = [g for g, size in enumerate((1, 2, 3, 5, 1, 2, 4, 1, 3, 2)) for _ in range(size)]


def orders() -> dict:
    """One of each, made anew."""
    return {
        "shuffled": Shuffled(7, seed=1),
        "grouped": OnePerGroup(GROUPS, seed=1, batch=4),
        "together": Together(GROUPS, seed=1, each=2),
        "mixed": Mixed([Shuffled(7, 1), Shuffled(30, 2)], [7, 30], [1.0, 3.0], seed=1),
    }


@pytest.mark.parametrize("name", orders())
def test_a_position_alone_decides(name: str) -> None:
    """In whatever order positions are asked for: after a resume, in another worker."""
    first = orders()[name]
    straight = [first(p) for p in range(200)]
    one, places = orders()[name], np.random.default_rng(0).permutation(200)
    assert [one(int(p)) for p in places] == [straight[p] for p in places]
    for p in (150, 3, 199):
        assert orders()[name](p) == straight[p]


def test_shuffled_shows_every_sample_once_an_epoch_in_changing_order() -> None:
    order = Shuffled(7, seed=0)
    epochs = [tuple(order(7 * e + i) for i in range(7)) for e in range(20)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) > 15
    other = Shuffled(7, seed=1)
    assert epochs[0] != tuple(other(i) for i in range(7))


def test_members_of_a_group_stand_together() -> None:
    order, size = Together(GROUPS, seed=0, each=2), len(GROUPS)
    epochs = [[order(size * e + i) for i in range(size)] for e in range(20)]
    assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 20
    pieces = Counter(GROUPS)
    for epoch in epochs:
        groups = [GROUPS[i] for i in epoch]
        met = sum(a == b for a, b in pairwise(groups))
        assert met >= sum(count // 2 for count in pieces.values())


def test_no_batch_holds_two_of_a_group() -> None:
    batch = 4
    order = OnePerGroup(GROUPS, seed=0, batch=batch)
    for first in range(0, 100 * batch, batch):
        assert len({GROUPS[order(p)] for p in range(first, first + batch)}) == batch


def test_members_of_a_group_take_turns() -> None:
    """Where whole batches hold all groups, 60 epochs show a group's every member equally often."""
    order, sizes = OnePerGroup(GROUPS, seed=0, batch=5), Counter(GROUPS)
    shown = Counter(order(p) for p in range(60 * len(sizes)))
    assert shown == {i: 60 // sizes[g] for i, g in enumerate(GROUPS)}


def test_all_groups_come_although_an_epoch_is_cut_to_whole_batches() -> None:
    order = OnePerGroup(GROUPS, seed=0, batch=4)
    shown = Counter(GROUPS[order(p)] for p in range(8 * 200))
    assert min(shown.values()) > 130 and max(shown.values()) < 190  # 160 each on average


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(DataError, match="the data set has 10"):
        OnePerGroup(GROUPS, seed=0, batch=11)
    with pytest.raises(DataError, match="empty"):
        Shuffled(0, seed=0)


def test_a_mixture_asks_each_part_for_its_own_positions_one_after_the_other() -> None:
    """Across the ends of blocks, too: nothing is left out and nothing comes twice."""
    asked: list[list[int]] = [[], [], []]

    def noting(part: int):
        return lambda place: asked[part].append(place) or place % 10

    weights = [5.0, 3.0, 0.011]
    order = Mixed([noting(0), noting(1), noting(2)], [10, 10, 10], weights, seed=0)
    indices = [order(p) for p in range(3 * Mixed.BLOCK)]
    assert all(places == list(range(len(places))) for places in asked)
    assert Counter(i // 10 for i in indices) == {part: len(p) for part, p in enumerate(asked)}
    exact = 3 * Mixed.BLOCK * np.array(weights) / sum(weights)
    assert np.abs(np.array([len(p) for p in asked]) - exact).max() < 3


def test_parts_of_a_mixture_are_well_mixed() -> None:
    order = Mixed([Shuffled(10, 0), Shuffled(10, 1)], [10, 10], [1.0, 1.0], seed=0)
    parts = np.array([order(p) // 10 for p in range(2 * Mixed.BLOCK)])
    assert parts[: Mixed.BLOCK].sum() == Mixed.BLOCK // 2
    assert (parts[: Mixed.BLOCK] != parts[Mixed.BLOCK :]).any()
    assert 0.4 < (parts[1:] != parts[:-1]).mean() < 0.6


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (1e6, 1.0)])
def test_weights_that_would_leave_a_part_out_are_refused(weights: tuple) -> None:
    with pytest.raises(DataError):
        Mixed([Shuffled(10, 0), Shuffled(10, 1)], [10, 10], weights, seed=0)
