"""A fixed cut of any data set into train and test, by a hash of each sample's file or id."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from sensorium.data.joined import Subset

TENTH = 10


def tested(name: str) -> bool:
    """Whether a sample of this id belongs to the test part: one in ten, by SHA-256 of the id."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % TENTH == 0


def part(samples: Sequence[Any], which: Literal["train", "test"]) -> Subset:
    """The samples of one part; adding samples never moves an old one to the other part."""
    ids = getattr(samples, "ids", None) or [samples[i].id for i in range(len(samples))]
    return Subset(samples, [i for i, name in enumerate(ids) if tested(name) == (which == "test")])
