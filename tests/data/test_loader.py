"""From positions to batches."""

from itertools import islice
from typing import NamedTuple

import numpy as np
import pytest

from sensorium.data.errors import DataError
from sensorium.data.loader import Positions, Source, load, micro_batches, replacement

SIZE = 20


class Sample(NamedTuple):
    value: int
    id: str


class Inputs(NamedTuple):
    corrupt: tuple[int, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator | None) -> tuple[int, float]:
        if sample.value in self.corrupt:
            raise ValueError("torn")
        return sample.value, rng.random() if rng is not None else 0.0


class Backwards(NamedTuple):
    size: int

    def __call__(self, position: int) -> int:
        return self.size - 1 - position % self.size


def source(size: int = SIZE, corrupt: tuple[int, ...] = ()) -> Source:
    data = [Sample(i, f"number {i}") for i in range(size)]
    return Source(data, Backwards(size), Inputs(corrupt), list)


@pytest.mark.parametrize(("world", "slices"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_every_cut_makes_up_the_same_global_batches(world: int, slices: int) -> None:
    feeds = [micro_batches(24, 12, rank, world, slices) for rank in range(world)]
    for batch in range(3):
        pieces = [p for feed in feeds for p in islice(feed, slices)]
        assert {len(p) for p in pieces} == {12 // (world * slices)}
        first = 24 + 12 * batch
        assert [p for piece in pieces for p in piece] == list(range(first, first + 12))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_position_gives_depends_on_nothing_else(workers: int) -> None:
    """Augmentation included; so a run may be resumed at any position."""
    straight = list(islice(load(source(), micro_batches(0, 4, 0, 1, 1), 5, 0), 6))
    later = list(islice(load(source(), micro_batches(8, 4, 0, 1, 1), 5, workers), 4))
    assert later == straight[2:]
    assert [i for one in straight[:5] for i in one.indices] == list(range(SIZE))[::-1]
    other = next(load(source(), micro_batches(0, 4, 0, 1, 1), 6, 0))
    assert other.indices == straight[0].indices and other.batch != straight[0].batch


def test_a_corrupt_sample_is_named_and_replaced_by_a_fixed_one() -> None:
    whole, torn = (Positions(source(corrupt=c), 0)[[0, 1, 2, 3]] for c in ((), (17,)))
    stand_in = replacement(17, 0, SIZE)
    assert torn.corrupt == [(17, "number 17", "torn")]
    assert torn.indices == [19, 18, stand_in, 16] and torn.batch[2][0] == stand_in
    assert [torn.batch[i] for i in (0, 1, 3)] == [whole.batch[i] for i in (0, 1, 3)]
    assert Positions(source(corrupt=(17,)), 0)[[22]].indices == [stand_in]


def test_a_corrupt_sample_does_not_stand_in_for_itself_for_good() -> None:
    """In a small set the first stand-in is, now and then, the sample itself."""
    for size in range(20, 40):
        for torn in range(size):
            loaded = Positions(source(size, (torn,)), 0)[[size - 1 - torn]]
            assert loaded.indices != [torn]


def test_a_data_set_of_corrupt_samples_is_an_error() -> None:
    with pytest.raises(DataError, match=r"8 samples in a row.*number 19: torn"):
        Positions(source(corrupt=tuple(range(SIZE))), 0)[[0]]
