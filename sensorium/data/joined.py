"""Data sets put end to end."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any


class Joined(Sequence):
    """Several data sets as one; index i runs through the first, then the second, and so on."""

    def __init__(self, parts: Sequence[Sequence]):
        self.parts = list(parts)
        self.ends = list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside of {len(self)} samples")
        part = bisect_right(self.ends, index)
        return self.parts[part][index - (self.ends[part - 1] if part else 0)]


class Subset(Sequence):
    """The samples of a data set at the given indices."""

    def __init__(self, data: Sequence, indices: Sequence[int]):
        self.data, self.indices = data, list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.data[self.indices[index]]
