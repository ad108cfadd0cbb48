"""From positions to batches, in worker processes; corrupt samples are counted, named, replaced."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset

from sensorium.data.errors import DataError
from sensorium.data.order import Order

TRIES = 8  # replacements of one sample before the data set is called broken


class Source(NamedTuple):
    """Where a training's batches come from.

    `inputs(sample, rng)` turns a raw sample into tensors (with `rng` None: no augmentation);
    `collate` turns a list of those into a batch.
    """

    data: Sequence
    order: Order
    inputs: Callable[[Any, np.random.Generator | None], Any]
    collate: Callable[[list], Any]


class Corrupt(NamedTuple):
    """A sample that could not be read."""

    index: int
    id: str
    reason: str

    def named(self) -> str:
        """The reason, with the name in front once."""
        return self.reason if self.reason.startswith(self.id) else f"{self.id}: {self.reason}"


class Loaded(NamedTuple):
    """A batch, the indices it holds, and the samples that had to be replaced."""

    batch: Any
    indices: list[int]
    corrupt: list[Corrupt]


class Positions(Dataset):
    """The samples of a source, addressed by lists of positions (one list a micro-batch)."""

    def __init__(self, source: Source, seed: int):
        self.source, self.seed = source, seed

    def __getitem__(self, positions: list[int]) -> Loaded:
        items, indices, corrupt = [], [], []
        for position in positions:
            index = self.source.order(position)
            rng = np.random.default_rng([self.seed, position])
            item, index, bad = self._read(index, rng)
            items.append(item)
            indices.append(index)
            corrupt += bad
        return Loaded(self.source.collate(items), indices, corrupt)

    def _read(self, index: int, rng: np.random.Generator) -> tuple[Any, int, list[Corrupt]]:
        """The sample at `index`, or the first readable one in a sequence fixed by the index."""
        bad: list[Corrupt] = []
        for again in range(TRIES):
            name = f"sample {index}"
            try:
                sample = self.source.data[index]
                name = getattr(sample, "id", name)
                return self.source.inputs(sample, rng), index, bad
            except (ValueError, OSError) as error:
                bad.append(Corrupt(index, name, str(error)))
                index = replacement(index, again, len(self.source.data))
        named = "; ".join(c.named() for c in bad[:3])
        raise DataError(f"{TRIES} samples in a row could not be read, the first ones: {named}")


def replacement(index: int, again: int, size: int) -> int:
    """The sample that stands in for a corrupt one; fixed, so that later order does not move.

    `again` counts the tries, so that corrupt samples which stand in for one another, or for
    themselves, are left behind.
    """
    return int(np.random.default_rng([index, again, size]).integers(size))


def micro_batches(
    start: int, batch: int, rank: int, world: int, slices: int
) -> Iterator[list[int]]:
    """Positions of this rank's micro-batches, from position `start` on, for ever.

    A global batch is cut into `world` runs, each of those into `slices`: whatever the cut, the same
    samples make up the same global batch.
    """
    share = batch // (world * slices)
    position = start
    while True:
        for piece in range(slices):
            first = position + (rank * slices + piece) * share
            yield list(range(first, first + share))
        position += batch


def load(
    source: Source, positions: Iterator[list[int]], seed: int, workers: int
) -> Iterator[Loaded]:
    """Batches at the given positions, in order, read ahead by `workers` processes (0: none)."""
    if workers == 0:
        dataset = Positions(source, seed)
        return (dataset[p] for p in positions)
    loader = DataLoader(
        Told(source, seed),
        batch_size=None,
        sampler=positions,  # type: ignore[arg-type]  # any iterable will do
        num_workers=workers,
        prefetch_factor=2,
        collate_fn=identity,
        worker_init_fn=courteous,
    )
    return raised(iter(loader))


class Told(Positions):
    """The same, but an error is a value: raised in a worker, its text would be a traceback."""

    def __getitem__(self, positions: list[int]) -> Any:
        try:
            return super().__getitem__(positions)
        except DataError as error:
            return error


def raised(batches: Iterator[Any]) -> Iterator[Loaded]:
    """Batches as they come; an error among them is raised here, in the process that trains."""
    for batch in batches:
        if isinstance(batch, DataError):
            raise batch
        yield batch


def courteous(worker: int) -> None:
    """A worker reads ahead in the time that training leaves over."""
    os.nice(10)


def identity(x: Any) -> Any:
    """Its argument (a named function, so that worker processes can be started in any way)."""
    return x
