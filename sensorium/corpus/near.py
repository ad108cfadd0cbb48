"""Near duplicates: MinHash LSH over all documents of a language, without a second look.

As published (The Stack v1.2): whatever shares a band is joined, and so on, and the first of each
group is kept. Files too short for a shingle are all kept here (the published code keeps one of
them all); `short="first"` does as it does.
"""

import hashlib
from functools import partial
from typing import Literal

import numpy as np

from sensorium.corpus.document import Across, Document
from sensorium.corpus.minhash import Settings, band_keys, bands

Short = Literal["keep", "first"]


def keys(document: Document, settings: Settings, short: Short, apart: bool) -> np.ndarray | None:
    """The bands of a document; with `apart`, those of different languages never agree."""
    found = band_keys(document.content, settings)
    if found is None:
        if short == "keep":
            return None
        b, _ = bands(settings.threshold, settings.permutations)
        found = np.full(b, 2**64 - 1, np.uint64)
    if apart:
        digest = hashlib.sha1(document.lang.encode(), usedforsecurity=False).digest()
        found = found ^ np.frombuffer(digest[:8], np.uint64)
    return found


def near(settings: Settings = Settings(), short: Short = "keep", apart: bool = True) -> Across:  # noqa: B008 (a constant)
    """Of documents that are near duplicates, the first is kept."""
    b, r = bands(settings.threshold, settings.permutations)
    about = settings._asdict() | {"bands": b, "rows": r, "short": short, "by_language": apart}
    look = partial(keys, settings=settings, short=short, apart=apart)
    return Across("near duplicate", look, about)
