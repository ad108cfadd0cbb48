"""Which sample stands at which position of training: a pure function of position and seed.

There is no shuffle buffer and nothing to save: an order is asked for position 0, 1, 2, ... for
ever, and a resumed run asks on from the position it had reached.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from sensorium.data.errors import DataError

# Maps a position in the endless sequence of training samples to an index of the data set.
Order = Callable[[int], int]


class Shuffled:
    """Every index once an epoch, each epoch in another seeded order."""

    def __init__(self, size: int, seed: int):
        if size < 1:
            raise DataError("the data set is empty: there is nothing to put in order")
        self.size, self.seed = size, seed
        self._epoch, self._permutation = -1, np.arange(0)

    def __call__(self, position: int) -> int:
        epoch, place = divmod(position, self.size)
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._permutation = epoch, rng.permutation(self.size)
        return int(self._permutation[place])


class Together:
    """Every index once an epoch; members of a group stand together, up to `each` of them.

    So what they share, a picture that several questions are about, is read once for all.

    Args:
        groups: the group of every index.
        each: members that stand side by side; a group of more is met again later in the epoch.
    """

    def __init__(self, groups: Sequence[Hashable], seed: int, each: int):
        if not groups:
            raise DataError("the data set is empty: there is nothing to put in order")
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        self.members, self.each, self.seed = list(members.values()), each, seed
        self.size = len(groups)
        self._epoch, self._order = -1, np.arange(0)

    def __call__(self, position: int) -> int:
        epoch, place = divmod(position, self.size)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._arrange(epoch)
        return int(self._order[place])

    def _arrange(self, epoch: int) -> np.ndarray:
        """Groups in pieces, the pieces in shuffled order."""
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = [rng.permutation(one) for one in self.members]
        pieces = [one[i : i + self.each] for one in shuffled for i in range(0, len(one), self.each)]
        return np.concatenate([pieces[i] for i in rng.permutation(len(pieces))])


class OnePerGroup:
    """Every group once an epoch, represented by one of its members, another one each epoch.

    The epoch is cut to whole batches, so that a batch never holds two members of a group: in a
    contrastive batch they would be each other's negatives. Which groups the cut leaves out changes
    from epoch to epoch.

    Args:
        groups: the group of every index.
        batch: samples in a global batch.

    Raises:
        DataError: there are fewer groups than a batch needs.
    """

    def __init__(self, groups: Sequence[Hashable], seed: int, batch: int):
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        self.members, self.seed = list(members.values()), seed
        self.length = len(self.members) // batch * batch
        if self.length == 0:
            raise DataError(
                f"a batch of {batch} needs as many different samples, the data set has "
                f"{len(self.members)}: lower --batch or add data"
            )
        self._epoch, self._chosen = -1, np.arange(0)

    def __call__(self, position: int) -> int:
        epoch, place = divmod(position, self.length)
        if epoch != self._epoch:
            self._epoch, self._chosen = epoch, self._choose(epoch)
        return int(self._chosen[place])

    def _choose(self, epoch: int) -> np.ndarray:
        """One member of every group, in shuffled order.

        Members take turns: over as many epochs as a group has members, each is shown once.
        """
        rng = np.random.default_rng([self.seed, epoch])
        chosen = np.empty(len(self.members), dtype=np.int64)
        for group, indices in enumerate(self.members):
            turn, place = divmod(epoch, len(indices))
            shuffled = np.random.default_rng([self.seed, group, turn]).permutation(len(indices))
            chosen[group] = indices[shuffled[place]]
        return rng.permutation(chosen)[: self.length]


class Mixed:
    """Several orders drawn by weight; their indices follow each other as in a `Joined` data set.

    Which part a position is drawn from is fixed by seed; a part is asked for its own 0, 1, 2, ...
    Of every `BLOCK` positions a part has its share, rounded to a whole number.

    Raises:
        DataError: not one positive weight a part, or one so small that its part would never come.
    """

    BLOCK = 4096

    def __init__(
        self, orders: Sequence[Order], sizes: Sequence[int], weights: Sequence[float], seed: int
    ):
        if not (len(orders) == len(sizes) == len(weights)) or not all(w > 0 for w in weights):
            raise DataError(f"a mixture needs one positive weight a part, not {list(weights)}")
        self.orders, self.seed = list(orders), seed
        self.offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self.quota = quotas(np.asarray(weights, dtype=float) / sum(weights), self.BLOCK)
        if not all(self.quota):
            raise DataError(
                f"with the weights {list(weights)} a part would have less than one of "
                f"{self.BLOCK} samples: raise the least weight or leave that part out"
            )
        self._block, self._parts, self._places = -1, np.arange(0), np.arange(0)

    def __call__(self, position: int) -> int:
        block, place = divmod(position, self.BLOCK)
        if block != self._block:
            self._block, (self._parts, self._places) = block, self._draw(block)
        part = int(self._parts[place])
        return int(self.offsets[part]) + self.orders[part](int(self._places[place]))

    def _draw(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """The part of each position of a block, and the position inside the part.

        Every block holds the same number of samples of each part, so where a part stands when a
        block begins is known without replaying the blocks before it.
        """
        parts = np.repeat(np.arange(len(self.quota)), self.quota)
        parts = np.random.default_rng([self.seed, block]).permutation(parts)
        places = np.empty(self.BLOCK, dtype=np.int64)
        for part, many in enumerate(self.quota):
            places[parts == part] = block * many + np.arange(many)
        return parts, places


def quotas(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers that add up to `total` and are nearest to these shares of it.

    By largest remainders (Hamilton).
    """
    exact = shares * total
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: total - quota.sum()]] += 1
    return quota
